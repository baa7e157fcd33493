"""Learning rates as functions of the step."""

import optax


def warmup_cosine(*, peak: float, warmup_steps: int, num_steps: int, final_scale: float) -> optax.Schedule:
    """Linear from 0 at step 0 to `peak` at `warmup_steps`, then half a cosine to `final_scale * peak`.

    The first update has rate 0, as in the official code, whose steps count from 0.
    """
    cosine = optax.cosine_decay_schedule(peak, max(1, num_steps - warmup_steps), alpha=final_scale)
    if warmup_steps == 0:
        return cosine
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup_steps), cosine], [warmup_steps])
