"""The training loop; everything besides the step is a hook."""

from collections.abc import Callable, Sequence

import jax

from barlow_jax.training.preemption import Finished
from barlow_jax.training.prefetch import DevicePrefetcher
from barlow_jax.types import Batch, Metrics, TrainState

# Called after every step with the number of updates done, the new state and the step's metrics.
Hook = Callable[[int, TrainState, Metrics], None]


def fit(
    step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]],
    state: TrainState,
    batches: DevicePrefetcher,
    *,
    num_steps: int,
    hooks: Sequence[Hook] = (),
) -> TrainState:
    """Run `step` from the updates that `state` counts until `num_steps` updates are done.

    The order of operations is a contract:

    1. Take the next batch, while the previous step runs.
    2. Wait for the last but one step, so that the host is at most one step ahead. (Simulated devices share a
       few threads, and with many steps under way XLA's collectives can starve.)
    3. Dispatch the step, which takes over the memory of the state.
    4. Call the hooks in their order. They must be done with the state when they return. An exception that a
       hook raises ends the loop; after `Finished`, the state is returned.
    """
    last_but_one = running = None
    for done in range(int(state.step) + 1, num_steps + 1):
        batch = batches.next(running)
        jax.block_until_ready(last_but_one)
        state, metrics = step(state, batch)
        last_but_one, running = running, metrics["loss"]
        try:
            for hook in hooks:
                hook(done, state, metrics)
        except Finished:
            break
    return state


def every(num_steps: int, hook: Hook, *, last: int | None = None) -> Hook:
    """Return the hook restricted to multiples of `num_steps` and to step `last`."""

    def sometimes(done: int, state: TrainState, metrics: Metrics) -> None:
        if done % num_steps == 0 or done == last:
            hook(done, state, metrics)

    return sometimes
