from barlow_jax.training.loop import every, fit
from barlow_jax.types import TrainState


class _Prefetcher:
    def __init__(self):
        self.running = []

    def next(self, running):
        self.running.append(running)
        return len(self.running)


def _step(state, batch):
    return state._replace(step=state.step + 1), {"loss": batch}


def _state(step=0):
    return TrainState(step, None, None, None)


def test_fit_resumes_from_the_states_step():
    prefetcher, seen = _Prefetcher(), []
    state = fit(
        _step,
        _state(3),
        prefetcher,
        num_steps=7,
        hooks=[lambda done, s, m: seen.append((done, s.step, m["loss"]))],
    )
    assert state.step == 7
    assert seen == [(4, 4, 1), (5, 5, 2), (6, 6, 3), (7, 7, 4)]


def test_a_finished_run_takes_no_batch():
    prefetcher = _Prefetcher()
    assert fit(_step, _state(7), prefetcher, num_steps=7).step == 7 and prefetcher.running == []


def test_the_prefetcher_receives_the_output_of_the_running_step():
    prefetcher = _Prefetcher()
    fit(_step, _state(), prefetcher, num_steps=3)
    assert prefetcher.running == [None, 1, 2]


def test_every_runs_at_multiples_and_at_the_end():
    seen = []
    hook = every(3, lambda done, s, m: seen.append(done), last=8)
    for done in range(1, 9):
        hook(done, None, None)
    assert seen == [3, 6, 8]
