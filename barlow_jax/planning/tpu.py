"""Topologies: Cloud TPUs as devices for which programs can be compiled, or the devices of this machine."""

from collections.abc import Sequence
import contextlib
import dataclasses
import importlib.util
import math
import os
import pathlib
import re
from typing import Any

from barlow_jax.errors import UserError, first_line
from barlow_jax.planning.chips import CHIPS, TPUS, Chip, chip_name


@dataclasses.dataclass(frozen=True)
class Topology:
    """Slices of chips, such as `v5e:8x8*2` (two slices of 64 chips), or the devices of this machine."""

    name: str
    generation: str
    dims: tuple[int, ...]
    slices: int
    is_local: bool = False  # the devices of this machine

    @classmethod
    def parse(cls, name: str) -> "Topology":
        """Return the topology of a name.

        Raises:
          UserError: the name is malformed, or its generation has another number of axes.
        """
        match = re.fullmatch(r"(v\w+):(\d+(?:x\d+){1,2})(?:\*(\d+))?", name)
        if not match or match[1] not in TPUS:
            raise UserError(
                f"--topology: {name!r} is not a topology; write v5e:8x8, v4:2x2x4 or v5e:16x16*2 (two "
                f"slices), with one of {', '.join(TPUS)}"
            )
        dims = tuple(int(n) for n in match[2].split("x"))
        axes = 2 if match[1] in ("v5e", "v6e") else 3
        slices = int(match[3] or 1)
        if len(dims) != axes or min(*dims, slices) < 1:
            raise UserError(
                f"--topology: {name!r} is not a topology: {match[1]} has {axes} axes of at least 1 chip"
            )
        return cls(name, match[1], dims, slices)

    @classmethod
    def local(cls) -> "Topology":
        """Return the topology of this machine's devices.

        Raises:
          UserError: their peak figures are unknown, as are those of a CPU.
        """
        import jax

        devices = jax.devices()
        kind, generation = devices[0].device_kind, chip_name(devices[0].device_kind)
        if generation is None:
            raise UserError(
                f"this machine has {len(devices)} x {kind}, whose peak figures are not known, so the time of "
                f"a step cannot be estimated for it; known: {', '.join(CHIPS)}"
            )
        dims: tuple[int, ...] = (len(devices),)
        if generation in TPUS:
            axes = zip(*(device.coords for device in devices), strict=True)
            dims = tuple(max(axis) - min(axis) + 1 for axis in axes)
        return cls(f"{len(devices)} x {kind}", generation, dims, 1, is_local=True)

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
        import jax

        if self.is_local:
            return jax.devices()
        if importlib.util.find_spec("libtpu") is None:
            raise UserError("compiling for a TPU requires libtpu: pip install -e '.[tpu]'")
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
                    f"--topology: libtpu does not support {self.name!r} ({first_line(error)})"
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
            "barlow_jax[cuda13], [cuda12] or [tpu] and the device's driver, or set JAX_PLATFORMS=cpu"
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
