"""Learning-rate schedules by step and by epoch."""

from collections.abc import Sequence
import math

import optax


def warmup_cosine(*, peak: float, warmup_steps: int, num_steps: int, final_scale: float) -> optax.Schedule:
    """Return a linear warmup from 0 to `peak`, then half a cosine to `final_scale * peak` at `num_steps`.

    The first update has rate 0, as in the official code, which counts steps from 0.
    """
    cosine = optax.cosine_decay_schedule(peak, max(1, num_steps - warmup_steps), alpha=final_scale)
    if warmup_steps == 0:
        return cosine
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup_steps), cosine], [warmup_steps])


def epoch_factors(
    schedule: str, num_epochs: int, *, milestones: Sequence[float] = (), decay: float = 1.0
) -> list[float]:
    """Return the learning rate of each epoch relative to its peak, for classifiers; constant within an epoch.

    The factors are float64, as in torch. `optax.cosine_decay_schedule` computes in float32 and differs by
    up to 1.5e-7.

    Args:
      schedule: "cosine" is half a cosine from 1 towards 0; "steps" multiplies by `decay` at each milestone.
      num_epochs: Length of the training.
      milestones: Fractions of the training, from 0 to 1.
      decay: Factor of "steps".
    """
    if schedule == "cosine":
        return [(1 + math.cos(math.pi * epoch / num_epochs)) / 2 for epoch in range(num_epochs)]
    # Rounding may put a fraction of the epochs just above the intended whole number.
    starts = [fraction * num_epochs - 1e-6 for fraction in milestones]
    return [decay ** sum(epoch >= start for start in starts) for epoch in range(num_epochs)]
