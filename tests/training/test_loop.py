from barlow_jax.training.loop import every, fit
from barlow_jax.types import TrainState


class _Feed:
    def __init__(self):
        self.asked = []

    def next(self, running):
        self.asked.append(running)
        return len(self.asked)


def _step(state, batch):
    return state._replace(step=state.step + 1), {"loss": batch}


def _state(step=0):
    return TrainState(step, None, None, None)


def test_fit_goes_on_from_the_states_step():
    feed, seen = _Feed(), []
    state = fit(
        _step, _state(3), feed, num_steps=7, hooks=[lambda done, s, m: seen.append((done, s.step, m["loss"]))]
    )
    assert state.step == 7
    assert seen == [(4, 4, 1), (5, 5, 2), (6, 6, 3), (7, 7, 4)]


def test_a_finished_run_asks_for_no_batch():
    feed = _Feed()
    assert fit(_step, _state(7), feed, num_steps=7).step == 7 and feed.asked == []


def test_the_feed_is_told_which_step_is_running():
    feed = _Feed()
    fit(_step, _state(), feed, num_steps=3)
    assert feed.asked == [None, 1, 2]


def test_every_runs_at_multiples_and_at_the_end():
    seen = []
    hook = every(3, lambda done, s, m: seen.append(done), last=8)
    for done in range(1, 9):
        hook(done, None, None)
    assert seen == [3, 6, 8]
