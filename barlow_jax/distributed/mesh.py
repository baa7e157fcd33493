"""Devices, and what lies where on them. The only file that says Mesh or PartitionSpec.

The mesh is `(slice, data)`: chips of one slice talk over their interconnect, slices over the data centre
network. Rows of a batch are split over all chips. A sharded projector splits its output features over the
chips of a slice and is repeated on each slice, so that what crosses between slices is 1/P of its gradient.
"""

from collections.abc import Callable, Sequence
import dataclasses
from functools import partial
import math
from typing import Any, Literal

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
import numpy as np

from barlow_jax.types import Batch, ParallelLinear, Reshard

_ROWS = ("slice", "data")
# The part of the state that a sharded projector owns; the optimizer's copies of it have it in their path.
_PROJECTOR = "projector"


def make_mesh(devices: Sequence[jax.Device] | None = None, slices: int | None = None) -> Mesh:
    """Axes `slice` and `data` over the given devices, or over all devices of all processes.

    The axes are Auto: the step is written for global arrays, and the compiler places the collectives.

    Args:
      devices: equally many of each slice.
      slices: None asks the devices; a number takes equal parts of them, in their order.
    """
    devices = jax.devices() if devices is None else devices
    groups: dict[int, list[jax.Device]] = {}
    for place, device in enumerate(devices):
        group = getattr(device, "slice_index", 0) if slices is None else place * slices // len(devices)
        groups.setdefault(group, []).append(device)
    # Neighbours on the axis are neighbours in the torus, where a slice is one.
    grid = [mesh_utils.create_device_mesh(_torus_sizes(group), group).ravel() for group in groups.values()]
    return Mesh(np.stack(grid), _ROWS, axis_types=(AxisType.Auto,) * 2)


def choose_projector(
    sizes: Sequence[int], batch_size: int, num_devices: int, bytes_per_activation: int
) -> Literal["replicated", "sharded"]:
    """Which projector costs a chip less; `sizes` are H and the width of each layer.

    A replicated one sums its gradient over the chips, 4 bytes a weight, twice on the wire, and moves about
    50 bytes a weight through memory for LARS and its gradient. A sharded one, for each of two views, gathers
    every layer's input and scatters the sum of that input's gradient, which some topologies do as an
    all-reduce: 3 times its bytes on the wire, 5 times through memory. A byte in memory counts a fifth of one
    on the wire (v5e 4 to 8, v5p 5 times as fast). Widths that the chips of a slice do not divide, and one
    chip, leave it replicated. The bytes are those of compiled steps (`plan`, v5e:8x8).

    Args:
      sizes: `(H, width, ..., D)`.
      batch_size: images a step, over all devices.
      num_devices: of one slice.
      bytes_per_activation: 2 for bfloat16.
    """
    if num_devices == 1 or any(width % num_devices for width in sizes[1:]):
        return "replicated"
    weights = sum(inputs * outputs for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True))
    activations = 2 * batch_size * sum(sizes[:-1]) * bytes_per_activation
    return "sharded" if (3 + 5 / 5) * activations < (8 + 50 / 5) * weights else "replicated"


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where arrays live: batches split by rows over all chips, the state on every chip.

    With projector "sharded" its weights, their gradients and their optimizer state are split by output
    features over `data` instead. With embeddings "rows" the loss takes them as the projector leaves them.
    """

    mesh: Mesh
    projector: Literal["replicated", "sharded"] = "replicated"
    embeddings: Literal["features", "rows"] = "features"

    @property
    def batch(self) -> NamedSharding:
        return self._sharding(_ROWS)

    @property
    def replicated(self) -> NamedSharding:
        return self._sharding()

    @property
    def reshard(self) -> Reshard | None:
        """Embeddings `[N, D]` from rows to features, for the loss; None leaves them by rows."""
        if self.embeddings == "rows":
            return None
        by_features = self._constraint(None, _ROWS)
        return Reshard(by_features, self.mesh.size)

    @property
    def parallel_linear(self) -> ParallelLinear | None:
        """For the projector; None where it is replicated."""
        return None if self.projector == "replicated" else _parallel_linear(self.mesh)

    def state(self, tree: Any) -> Any:
        """The shardings of a state or a part of it, from its shapes.

        What an objective remembers is split by rows where they divide over all chips.
        """

        def sharding(path: Any, leaf: Any) -> NamedSharding:
            if path and _name(path[0]) == "memory" and leaf.ndim > 1 and leaf.shape[0] % self.mesh.size == 0:
                return self.batch
            owned = self.projector == "sharded" and any(_name(key) == _PROJECTOR for key in path)
            return (
                self._sharding(*(None,) * (leaf.ndim - 1), "data") if owned and leaf.ndim else self.replicated
            )

        return jax.tree.map_with_path(sharding, tree)

    def place(self, batch: Batch) -> Batch:
        """This process's rows, `[B / processes, ...]` host arrays, as its part of the global batch."""
        return jax.tree.map(
            lambda rows: jax.make_array_from_process_local_data(self.batch, np.asarray(rows)), batch
        )

    def copy(self, tree: Any) -> Any:
        """Host arrays that every process has alike, whole on every device."""
        return jax.tree.map(
            lambda array: jax.make_array_from_process_local_data(self.replicated, np.asarray(array)), tree
        )

    def replicate(self, tree: Any) -> Any:
        """All of some global arrays on every device, so that every host can read them."""
        return jax.jit(_identity, out_shardings=self.replicated)(tree)

    def abstract(self, tree: Any) -> Any:
        """Shapes and dtypes of a state with this layout's shardings: what a restore is asked for."""
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            tree,
            self.state(tree),
        )

    def _sharding(self, *axes: Any) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(*axes))

    def _constraint(self, *axes: Any) -> Callable[[jax.Array], jax.Array]:
        return partial(jax.lax.with_sharding_constraint, shardings=self._sharding(*axes))


def _torus(mesh: Mesh) -> Mesh:
    """The same devices, in the same order, with the axes of the torus for `data`."""
    sizes = _torus_sizes(mesh.devices[0].tolist())
    names = tuple(f"torus_{axis}" for axis in range(len(sizes)))
    return Mesh(mesh.devices.reshape(-1, *sizes), ("slice", *names))


def _torus_sizes(devices: Sequence[jax.Device]) -> tuple[int, ...]:
    """Of the axes that are longer than one chip; other devices are a line."""
    if not hasattr(devices[0], "coords"):
        return (len(devices),)
    lengths = [len(set(places)) for places in zip(*(device.coords for device in devices), strict=True)]
    sizes = tuple(length for length in lengths if length > 1) or (1,)
    return sizes if math.prod(sizes) == len(devices) else (len(devices),)


def _parallel_linear(mesh: Mesh) -> ParallelLinear:
    """x W with each device's share of W's columns.

    Forward, x is gathered: all rows of the slice, all features. Backward, each device has a part of the sum
    that is the gradient of x, and keeps the share of the sum that is its own: a reduce-scatter. XLA makes an
    all-reduce of it, twice the bytes, where all axes of a torus are of one length; one axis after the other
    does not suffer that. This is what needs the axes by name.
    """
    torus = _torus(mesh)
    names = torus.axis_names[1:]
    stages = names if len(set(torus.devices.shape[1:])) < len(names) else (names,)
    columns = PartitionSpec(None, names)

    def constrain(x: jax.Array, *axes: Any) -> jax.Array:
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


def _name(key: Any) -> Any:
    return getattr(key, "key", getattr(key, "name", None))


def _identity(tree: Any) -> Any:  # one function, not a lambda a call: jit compiles it once
    return tree
