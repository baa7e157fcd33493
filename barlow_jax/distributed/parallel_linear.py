"""Linear layer whose weight columns are split over the devices of a slice."""

from collections.abc import Sequence
from functools import partial
import math

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from barlow_jax.types import ParallelLinear


def parallel_linear(mesh: Mesh) -> ParallelLinear:
    """Return the function x W for a mesh on which each device holds a part of W's columns.

    Forward, x is gathered: all rows of the slice, all features. Backward, each device holds a partial sum of
    the gradient of x and keeps its own shard of the total: a reduce-scatter. XLA turns it into an all-reduce,
    twice the bytes, if all axes of a torus have the same length; scattering along one axis after the other
    avoids that, which is why the axes need names.
    """
    torus = _torus(mesh)
    names = torus.axis_names[1:]
    stages = names if len(set(torus.devices.shape[1:])) < len(names) else (names,)
    columns = PartitionSpec(None, names)

    def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec(*axes)))

    def scatter(gradient: jax.Array, weights: jax.Array, rows: bool) -> jax.Array:
        def local(gradient: jax.Array, weights: jax.Array) -> jax.Array:
            total = gradient @ weights.T
            for stage in stages:
                total = jax.lax.psum_scatter(total, stage, scatter_dimension=0 if rows else 1, tiled=True)
            return total

        out = PartitionSpec(("slice", *names)) if rows else PartitionSpec("slice", names)
        specs = (PartitionSpec("slice", names), columns)
        return jax.shard_map(local, mesh=torus, in_specs=specs, out_specs=out)(gradient, weights)

    @partial(jax.custom_vjp, nondiff_argnums=(2,))
    def linear(x: jax.Array, weights: jax.Array, rows: bool) -> jax.Array:
        return forward(x, weights, rows)[0]

    def forward(x: jax.Array, weights: jax.Array, rows: bool):
        x = constrain(x, "slice")
        return constrain(x @ weights, "slice", "data"), (x, weights)

    def backward(rows: bool, residuals, gradient: jax.Array):
        x, weights = residuals
        return scatter(gradient, weights, rows), constrain(x.T @ gradient, None, "data")

    linear.defvjp(forward, backward)
    return linear


def _torus(mesh: Mesh) -> Mesh:
    """Return a mesh of the same devices in the same order, with the axes of the torus instead of `data`."""
    sizes = torus_sizes(mesh.devices[0].tolist())
    names = tuple(f"torus_{axis}" for axis in range(len(sizes)))
    return Mesh(mesh.devices.reshape(-1, *sizes), ("slice", *names))


def torus_sizes(devices: Sequence[jax.Device]) -> tuple[int, ...]:
    """Return the lengths of a slice's axes longer than one chip; devices without a torus form a line."""
    if not hasattr(devices[0], "coords"):
        return (len(devices),)
    lengths = [len(set(positions)) for positions in zip(*(device.coords for device in devices), strict=True)]
    sizes = tuple(length for length in lengths if length > 1) or (1,)
    return sizes if math.prod(sizes) == len(devices) else (len(devices),)
