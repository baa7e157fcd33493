"""Learning rates as functions of the step, and of the epoch."""

from collections.abc import Sequence
import math

import optax


def warmup_cosine(*, peak: float, warmup_steps: int, num_steps: int, final_scale: float) -> optax.Schedule:
    """Linear from 0 at step 0 to `peak` at `warmup_steps`, then half a cosine to `final_scale * peak`.

    The first update has rate 0, as in the official code, whose steps count from 0.
    """
    cosine = optax.cosine_decay_schedule(peak, max(1, num_steps - warmup_steps), alpha=final_scale)
    if warmup_steps == 0:
        return cosine
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup_steps), cosine], [warmup_steps])


def by_epoch(
    kind: str, num_epochs: int, *, milestones: Sequence[float] = (), decay: float = 1.0
) -> list[float]:
    """The factor of the learning rate in each epoch, as classifiers are trained: it moves once an epoch.

    Args:
      kind: "cosine", half a cosine from 1 towards 0; "steps", times `decay` from each milestone on.
      num_epochs: of the whole training.
      milestones: shares of it, in 0..1.
      decay: of "steps".
    """
    if kind == "cosine":
        return [(1 + math.cos(math.pi * epoch / num_epochs)) / 2 for epoch in range(num_epochs)]
    # A share times the epochs may come out a rounding above the whole number that is meant.
    starts = [share * num_epochs - 1e-6 for share in milestones]
    return [decay ** sum(epoch >= start for start in starts) for epoch in range(num_epochs)]
