"""Cloud TPU chips, and topologies as devices for which programs can be compiled.

The peak figures of the chips are from cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}, as of November 2026.
"""

from collections.abc import Sequence
import contextlib
import dataclasses
import importlib.util
import math
import os
import pathlib
import re
from typing import Any

from barlow_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peak figures of a chip."""

    flops: float  # bfloat16 operations per second
    hbm_bytes: float
    hbm_bandwidth: float  # bytes per second
    link_bandwidth: float  # bytes per second and direction of a link; a torus has two per axis
    dcn_bandwidth: float  # bytes per second to other slices: a chip's part of its host's network cards
    wraps: int  # an axis whose length is a multiple of this is a ring, a shorter one a line


CHIPS = {
    # The data center bandwidth of v4 is not published; that of v5p is assumed.
    "v4": Chip(275e12, 32 * 2**30, 1200e9, 50e9, 6.25e9, 4),
    "v5e": Chip(197e12, 16 * 2**30, 819e9, 50e9, 3.125e9, 16),
    "v5p": Chip(459e12, 95 * 2**30, 2765e9, 100e9, 6.25e9, 4),
    "v6e": Chip(918e12, 32 * 2**30, 1638e9, 100e9, 12.5e9, 16),
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """Slices of chips, such as `v5e:8x8`, or `v5e:8x8*2` for two slices of 64 chips."""

    name: str
    generation: str
    dims: tuple[int, ...]
    slices: int

    @classmethod
    def parse(cls, name: str) -> "Topology":
        """Return the topology of a name.

        Raises:
          UserError: the name is malformed, or its generation has another number of axes.
        """
        match = re.fullmatch(r"(v\w+):(\d+(?:x\d+){1,2})(?:\*(\d+))?", name)
        if not match or match[1] not in CHIPS:
            raise UserError(
                f"--topology: {name!r} is not a topology; write v5e:8x8, v4:2x2x4 or v5e:16x16*2 (two "
                f"slices), with one of {', '.join(CHIPS)}"
            )
        dims = tuple(int(n) for n in match[2].split("x"))
        axes = 2 if match[1] in ("v5e", "v6e") else 3
        slices = int(match[3] or 1)
        if len(dims) != axes or min(*dims, slices) < 1:
            raise UserError(
                f"--topology: {name!r} is not a topology: {match[1]} has {axes} axes of at least 1 chip"
            )
        return cls(name, match[1], dims, slices)

    @property
    def chip(self) -> Chip:
        """Peak figures of each chip."""
        return CHIPS[self.generation]

    @property
    def num_chips(self) -> int:
        """Number of chips of all slices."""
        return math.prod(self.dims) * self.slices

    def devices(self) -> Sequence[Any]:
        """Return jax devices for which programs can be compiled.

        Raises:
          UserError: libtpu is missing, or does not support the topology.
        """
        if importlib.util.find_spec("libtpu") is None:
            raise UserError("compiling for a TPU requires libtpu: pip install -e '.[tpu]'")
        import jax
        from jax.experimental import topologies

        # A host has 2 x 2 chips, unless the slice has fewer.
        fewer = {"chips_per_host_bounds": (*self.dims, 1)[:3]} if min(self.dims[:2]) < 2 else {}
        with _quiet():
            try:
                return topologies.get_topology_desc(
                    f"{self.generation}:{'x'.join(map(str, self.dims))}",
                    platform="tpu",
                    num_slices=self.slices,
                    # jax runs the two cores of a v4 chip as one device, as libtpu always does for v5p.
                    chip_config_name="megacore" if self.generation == "v4" else "default",
                    **fewer,
                ).devices
            except jax.errors.JaxRuntimeError as error:
                raise UserError(
                    f"--topology: libtpu does not support {self.name!r} ({str(error).splitlines()[0]})"
                ) from None


def without_tpu() -> bool:
    """Return whether libtpu is installed on a machine without a TPU, where it would only print warnings."""
    return importlib.util.find_spec("libtpu") is not None and not _has_tpu()


def _has_tpu() -> bool:
    """Look for device files, a Google PCI device other than a network card, or GKE's environment variable."""
    if any([*pathlib.Path("/dev").glob("accel*"), *pathlib.Path("/dev/vfio").glob("[0-9]*")]):
        return True
    for vendor in pathlib.Path("/sys/bus/pci/devices").glob("*/vendor"):
        device = vendor.with_name("device").read_text().strip()
        if vendor.read_text().strip() == "0x1ae0" and device != "0x0042":
            return True
    return "TPU_WORKER_ID" in os.environ


def hide_libtpu() -> None:
    """Keep jax from searching for a missing TPU; call it before jax initializes its devices."""
    if not without_tpu() or os.environ.get("JAX_PLATFORMS"):
        return
    import jax

    plugin = any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
    cuda = plugin and pathlib.Path("/dev/nvidiactl").exists()
    jax.config.update("jax_platforms", "cuda,cpu" if cuda else "cpu")


def missing_devices() -> str:
    """Return the error message if jax cannot use the devices that JAX_PLATFORMS names; "" if it can."""
    import jax

    if _has_tpu():  # libtpu might wait for the other hosts of its slice
        return ""
    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:  # the former where a GPU or its driver is missing
        reason = f" ({error})" if str(error) else ""
        return (
            f"JAX_PLATFORMS is {jax.config.jax_platforms}, but jax cannot use such a device{reason}. Install "
            "barlow_jax[cuda] or barlow_jax[tpu] and the device's driver, or set JAX_PLATFORMS=cpu"
        )
    return ""


@contextlib.contextmanager
def _quiet():
    """Set the values for which libtpu would query the metadata server, with warnings where it has none."""
    settings = {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # two cost estimates may run at once
    }
    if not without_tpu():
        settings = {}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
