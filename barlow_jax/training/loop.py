"""The one training loop. What happens beside the step is hooks."""

from collections.abc import Callable, Sequence

import jax

from barlow_jax.training.prefetch import DevicePrefetcher
from barlow_jax.types import Batch, Metrics, TrainState

# Called after every step with the number of updates done, the new state and the step's metrics.
Hook = Callable[[int, TrainState, Metrics], None]


def fit(
    step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]],
    state: TrainState,
    feed: DevicePrefetcher,
    *,
    num_steps: int,
    hooks: Sequence[Hook] = (),
) -> TrainState:
    """Runs `step` until `num_steps` updates are done, from wherever `state` is.

    Hooks run in order and must be done with `state` when they return: the next step takes its memory.
    A step is dispatched when the last but one is done: one runs, one waits, and the host runs no further
    ahead. (Simulated devices share a few threads, and with many steps under way XLA's collectives can starve.)
    """
    before = running = None
    for done in range(int(state.step) + 1, num_steps + 1):
        batch = feed.next(running)
        jax.block_until_ready(before)
        state, metrics = step(state, batch)
        before, running = running, metrics["loss"]
        for hook in hooks:
            hook(done, state, metrics)
    return state


def every(num_steps: int, hook: Hook, *, last: int | None = None) -> Hook:
    """The hook at multiples of `num_steps`, and at step `last`."""

    def sometimes(done: int, state: TrainState, metrics: Metrics) -> None:
        if done % num_steps == 0 or done == last:
            hook(done, state, metrics)

    return sometimes
