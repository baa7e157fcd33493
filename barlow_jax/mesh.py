"""Devices, and what lies where on them. The only file that says Mesh or PartitionSpec."""

from collections.abc import Sequence
import dataclasses
from functools import partial
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
import numpy as np

from barlow_jax.types import Batch, Reshard


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """One `data` axis over the given devices, or over all devices of all processes.

    The axis is Auto: the step is written for global arrays, and the compiler places the collectives.
    """
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), ("data",), (AxisType.Auto,), devices=devices)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where arrays live: batches split by rows over `data`, everything else on every device."""

    mesh: Mesh

    @property
    def batch(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec("data"))

    @property
    def replicated(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def reshard(self) -> Reshard:
        """Embeddings `[N, D]` from rows to features, for the loss."""
        by_features = NamedSharding(self.mesh, PartitionSpec(None, "data"))
        return Reshard(partial(jax.lax.with_sharding_constraint, shardings=by_features), self.mesh.size)

    def place(self, batch: Batch) -> Batch:
        """This process's rows, `[B / processes, ...]` host arrays, as its part of the global batch."""
        return jax.tree.map(
            lambda rows: jax.make_array_from_process_local_data(self.batch, np.asarray(rows)), batch
        )

    def replicate(self, tree: Any) -> Any:
        """All of some global arrays on every device, so that every host can read them."""
        return jax.jit(_identity, out_shardings=self.replicated)(tree)

    def abstract(self, tree: Any) -> Any:
        """Shapes and dtypes of a state with this layout's shardings: what a restore is asked for."""
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=self.replicated), tree
        )


def _identity(tree: Any) -> Any:  # one function, not a lambda a call: jit compiles it once
    return tree
