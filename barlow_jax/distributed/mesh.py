"""Device mesh, and the sharding of batches and states on it.

The mesh is `(slice, data)`: chips of one slice communicate over their interconnect, slices over the data
center network. Rows of a batch are split over all chips. A sharded projector splits its output features over
the P chips of a slice and is replicated on each slice, so that only 1/P of its gradient crosses between
slices.
"""

from collections.abc import Sequence
import dataclasses
from functools import partial
from typing import Any, Literal

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
import numpy as np

from barlow_jax.distributed.parallel_linear import parallel_linear, torus_sizes
from barlow_jax.types import ParallelLinear, Reshard

_ROWS = ("slice", "data")
# Path component of the state that is sharded with the projector; the optimizer's copies have it as well.
_PROJECTOR = "projector"


def make_mesh(devices: Sequence[jax.Device] | None = None, slices: int | None = None) -> Mesh:
    """Return a mesh with the axes `slice` and `data`.

    The axes are Auto: the step is written for global arrays, and the compiler inserts the collectives.

    Args:
      devices: the same number from each slice; default: all devices of all processes.
      slices: number of equal parts into which the devices are split, in their order; None: the hardware's
        slices.
    """
    devices = jax.devices() if devices is None else devices
    groups: dict[int, list[jax.Device]] = {}
    for index, device in enumerate(devices):
        group = getattr(device, "slice_index", 0) if slices is None else index * slices // len(devices)
        groups.setdefault(group, []).append(device)
    # If a slice is a torus, neighbors on the axis are neighbors in the torus.
    grid = [mesh_utils.create_device_mesh(torus_sizes(group), group).ravel() for group in groups.values()]
    return Mesh(np.stack(grid), _ROWS, axis_types=(AxisType.Auto,) * 2)


def choose_projector(
    sizes: Sequence[int], batch_size: int, num_devices: int, bytes_per_activation: int
) -> Literal["replicated", "sharded"]:
    """Return the projector layout that costs a chip less time.

    A replicated projector sums its gradient over the chips, 4 bytes per weight, twice on the wire, and moves
    about 50 bytes per weight through memory for LARS and its gradient. A sharded projector, for each of two
    views, gathers every layer's input and scatters the sum of that input's gradient, which some topologies do
    as an all-reduce: 3 times its bytes on the wire, 5 times through memory. A byte in memory counts a fifth
    of a byte on the wire (memory is 4 to 8 times as fast on v5e, 5 times on v5p). The byte counts come from
    compiled steps (`plan`, v5e:8x8). One chip, or a width that the chips of a slice do not divide, means
    "replicated".

    Args:
      sizes: H and the width of each layer, `(H, width, ..., D)`.
      batch_size: images per step, over all devices.
      num_devices: number of devices per slice.
      bytes_per_activation: 2 for bfloat16.
    """
    if num_devices == 1 or any(width % num_devices for width in sizes[1:]):
        return "replicated"
    weights = sum(inputs * outputs for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True))
    activations = 2 * batch_size * sum(sizes[:-1]) * bytes_per_activation
    return "sharded" if (3 + 5 / 5) * activations < (8 + 50 / 5) * weights else "replicated"


@dataclasses.dataclass(frozen=True)
class Layout:
    """Sharding of arrays on a mesh: batches split by rows over all chips, the state replicated.

    With projector "sharded", its weights, their gradients and their optimizer state are split by output
    features over `data`. With embeddings "rows", the loss takes the embeddings in the projector's own layout.
    """

    mesh: Mesh
    projector: Literal["replicated", "sharded"] = "replicated"
    embeddings: Literal["features", "rows"] = "features"

    @property
    def batch(self) -> NamedSharding:
        """Sharding of an array by rows over all devices."""
        return self._sharding(_ROWS)

    @property
    def replicated(self) -> NamedSharding:
        """Sharding of an array that every device holds in full."""
        return self._sharding()

    @property
    def reshard(self) -> Reshard | None:
        """Resharding of the embeddings `[N, D]` from rows to features for the loss; None keeps rows."""
        if self.embeddings == "rows":
            return None
        by_features = partial(jax.lax.with_sharding_constraint, shardings=self._sharding(None, _ROWS))
        return Reshard(by_features, self.mesh.size)

    @property
    def parallel_linear(self) -> ParallelLinear | None:
        """Linear layer of a sharded projector; None for a replicated one."""
        return None if self.projector == "replicated" else parallel_linear(self.mesh)

    def state_shardings(self, tree: Any) -> Any:
        """Return the shardings of a state or a part of it, from its shapes.

        An objective's memory is split by rows if the number of devices divides them.
        """

        def sharding(path: Any, leaf: Any) -> NamedSharding:
            if path and _name(path[0]) == "memory" and leaf.ndim > 1 and leaf.shape[0] % self.mesh.size == 0:
                return self.batch
            if self.projector == "sharded" and leaf.ndim and any(_name(key) == _PROJECTOR for key in path):
                return self._sharding(*(None,) * (leaf.ndim - 1), "data")
            return self.replicated

        return jax.tree.map_with_path(sharding, tree)

    def shard(self, batch: Any) -> Any:
        """Return the global batch, given this process's rows of it: host arrays `[B / processes, ...]`."""
        return jax.make_array_from_process_local_data(self.batch, jax.tree.map(np.asarray, batch))

    def copy(self, tree: Any) -> Any:
        """Copy host arrays, which must be equal on all processes, in full to every device."""
        return jax.make_array_from_process_local_data(self.replicated, jax.tree.map(np.asarray, tree))

    def replicate(self, tree: Any) -> Any:
        """Gather global arrays in full on every device, so that every host can read them."""
        return jax.jit(_identity, out_shardings=self.replicated)(tree)

    def abstract(self, tree: Any) -> Any:
        """Return the shapes, dtypes and shardings of a state, as a checkpoint restore takes them."""
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            tree,
            self.state_shardings(tree),
        )

    def _sharding(self, *axes: Any) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(*axes))


def describe_devices() -> dict[str, Any]:
    """Return `kind`, `count` and `processes` of the devices of all processes."""
    kind = jax.devices()[0].device_kind
    return {"kind": kind, "count": jax.device_count(), "processes": jax.process_count()}


def _name(key: Any) -> Any:
    return getattr(key, "key", getattr(key, "name", None))


def _identity(tree: Any) -> Any:  # not a lambda in each call, which jit would compile again
    return tree
