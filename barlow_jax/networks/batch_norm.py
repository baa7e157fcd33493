"""BatchNorm over a batch that interleaves several views, each normalized by its own statistics.

The views of one size go through the network in one pass, as `[B V, ...]` rows: image 0 of each view, image 1
of each view, and so on, so that every row stays on its device. Per view v and feature:

    y = (x - mean_v) / sqrt(var_v + eps) * scale + bias
    running = momentum * running + (1 - momentum) * statistic_v        for v = 0, then v = 1, ...

as in V passes of one view each. Sums are over positions first, then over images: only small `[B V, C]` arrays
are ever split into images and views, since that would change the layout of activations on a TPU.
"""

from flax import nnx
import jax
import jax.numpy as jnp


class BatchNorm(nnx.BatchNorm):
    """`nnx.BatchNorm` with statistics per view. The first axis of its input is that of images and views."""

    batch: tuple[int, int] = (1, 1)  # images B and views V of the current pass

    def __call__(self, x: jax.Array, use_running_average: bool | None = None) -> jax.Array:
        """Normalize `[B V, ..., C]` activations; an axis may also be merged into the first one, after V."""
        frozen = self.use_running_average if use_running_average is None else use_running_average
        if frozen or self.batch[1] == 1:
            return super().__call__(x, use_running_average=frozen)
        scale, bias = (p if p is None else p[...] for p in (self.scale, self.bias))
        x, scale, bias = self.promote_dtype((x, scale, bias), dtype=self.dtype)
        dtype, x = x.dtype, x.astype(jnp.promote_types(x.dtype, jnp.float32))
        positions = tuple(i for i in range(1, x.ndim) if i != self.axis % x.ndim)

        def mean_by_view(x: jax.Array) -> jax.Array:
            rows = jnp.mean(x, positions, keepdims=True)
            return jnp.mean(rows.reshape(*self.batch, -1, *rows.shape[1:]), (0, 2), keepdims=True)

        def by_row(x_v: jax.Array) -> jax.Array:
            shape = *self.batch, len(x) // (self.batch[0] * self.batch[1]), *x_v.shape[3:]
            return jnp.broadcast_to(x_v, shape).reshape(-1, *x_v.shape[3:])

        mean = mean_by_view(x)
        if self.use_fast_variance:
            var = jnp.maximum(0.0, mean_by_view(jnp.square(x)) - jnp.square(mean))
        else:
            var = mean_by_view(jnp.square(x - by_row(mean)))
        for running, by_view in ((self.mean, mean), (self.var, var)):
            for statistic in by_view.reshape(self.batch[1], -1):
                running[...] = self.momentum * running[...] + (1 - self.momentum) * statistic
        factor = jax.lax.rsqrt(var + self.epsilon)
        if scale is not None:
            factor *= scale.reshape(1, 1, 1, *mean.shape[3:])
        y = (x - by_row(mean)) * by_row(factor)
        return (y if bias is None else y + bias.reshape(1, *mean.shape[3:])).astype(dtype)
