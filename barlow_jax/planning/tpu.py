"""Cloud TPU chips, and their topologies as devices that programs can be compiled for.

Peak figures of a chip are those of cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}, read in November 2026.
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
    flops: float  # bfloat16 a second
    hbm_bytes: float
    hbm_bandwidth: float  # bytes a second
    link_bandwidth: float  # bytes a second and direction, of one of two links along each axis of the torus
    dcn_bandwidth: float  # bytes a second to other slices, a chip's share of its host's network cards
    wraps: int  # an axis of a multiple of so many chips is a ring, a shorter one a line


CHIPS = {
    # v4's share of the data centre network is not published; v5p's is assumed.
    "v4": Chip(275e12, 32 * 2**30, 1200e9, 50e9, 6.25e9, 4),
    "v5e": Chip(197e12, 16 * 2**30, 819e9, 50e9, 3.125e9, 16),
    "v5p": Chip(459e12, 95 * 2**30, 2765e9, 100e9, 6.25e9, 4),
    "v6e": Chip(918e12, 32 * 2**30, 1638e9, 100e9, 12.5e9, 16),
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """Slices of chips: `v5e:8x8`, or `v5e:8x8*2` for two slices of 64."""

    name: str
    generation: str
    dims: tuple[int, ...]
    slices: int

    @classmethod
    def parse(cls, name: str) -> "Topology":
        match = re.fullmatch(r"(v\w+):(\d+(?:x\d+){1,2})(?:\*(\d+))?", name)
        if not match or match[1] not in CHIPS:
            raise UserError(
                f"--topology: {name!r} is not one; it looks like v5e:8x8, v4:2x2x4 or v5e:16x16*2 (two slices), "
                f"of {', '.join(CHIPS)}"
            )
        dims = tuple(int(n) for n in match[2].split("x"))
        axes = 2 if match[1] in ("v5e", "v6e") else 3
        slices = int(match[3] or 1)
        if len(dims) != axes or min(*dims, slices) < 1:
            raise UserError(f"--topology: {name!r}: a {match[1]} has {axes} axes of one chip or more")
        return cls(name, match[1], dims, slices)

    @property
    def chip(self) -> Chip:
        return CHIPS[self.generation]

    @property
    def num_chips(self) -> int:
        return math.prod(self.dims) * self.slices

    def devices(self) -> Sequence[Any]:
        """jax devices to compile for. UserError where libtpu is missing or does not know the topology."""
        if importlib.util.find_spec("libtpu") is None:
            raise UserError("compiling for a TPU needs libtpu: pip install -e '.[tpu]'")
        import jax
        from jax.experimental import topologies

        # A host has 2 x 2 chips, unless there are fewer.
        fewer = {"chips_per_host_bounds": (*self.dims, 1)[:3]} if min(self.dims[:2]) < 2 else {}
        with _quiet():
            try:
                return topologies.get_topology_desc(
                    f"{self.generation}:{'x'.join(map(str, self.dims))}",
                    platform="tpu",
                    num_slices=self.slices,
                    # jax runs the two cores of a v4 as one device; libtpu knows a v5p no other way.
                    chip_config_name="megacore" if self.generation == "v4" else "default",
                    **fewer,
                ).devices
            except jax.errors.JaxRuntimeError as error:
                raise UserError(
                    f"--topology: libtpu knows no {self.name!r} ({str(error).splitlines()[0]})"
                ) from None


def without_tpu() -> bool:
    """Whether libtpu is installed on a machine without a TPU, where it would only print warnings."""
    return importlib.util.find_spec("libtpu") is not None and not _has_tpu()


def _has_tpu() -> bool:
    """By device files, by a Google device on PCI that is no network card, or by what GKE says."""
    if any([*pathlib.Path("/dev").glob("accel*"), *pathlib.Path("/dev/vfio").glob("[0-9]*")]):
        return True
    for vendor in pathlib.Path("/sys/bus/pci/devices").glob("*/vendor"):
        if (
            vendor.read_text().strip() == "0x1ae0"
            and vendor.with_name("device").read_text().strip() != "0x0042"
        ):
            return True
    return "TPU_WORKER_ID" in os.environ


def hide_libtpu() -> None:
    """Keeps jax from looking for a TPU that is not there; to be called before its first device."""
    if not without_tpu() or os.environ.get("JAX_PLATFORMS"):
        return
    import jax

    cuda = any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
    jax.config.update(
        "jax_platforms", "cuda,cpu" if cuda and pathlib.Path("/dev/nvidiactl").exists() else "cpu"
    )


@contextlib.contextmanager
def _quiet():
    """libtpu looks for the machine that it thinks it is on; these answers keep it from asking and warning."""
    answers = {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # two plans at once
    }
    if not without_tpu():
        answers = {}
    before = {name: os.environ.get(name) for name in answers}
    os.environ.update(answers)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
