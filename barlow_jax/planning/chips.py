"""Published peak figures of TPU chips and GPUs."""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peak figures of a chip."""

    flops: float  # bfloat16 operations per second, without sparsity
    hbm_bytes: float
    hbm_bandwidth: float  # bytes per second
    link_bandwidth: float  # bytes per second and direction of a link; a torus has two per axis
    dcn_bandwidth: float  # bytes per second to other slices: a chip's part of its host's network cards
    wraps: int  # an axis whose length is a multiple of this is a ring, a shorter one a line; 0: a switch


# cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}, as of November 2026. The data center bandwidth of v4 is not
# published; that of v5p is assumed.
TPUS = {
    "v4": Chip(275e12, 32 * 2**30, 1200e9, 50e9, 6.25e9, 4),
    "v5e": Chip(197e12, 16 * 2**30, 819e9, 50e9, 3.125e9, 16),
    "v5p": Chip(459e12, 95 * 2**30, 2765e9, 100e9, 6.25e9, 4),
    "v6e": Chip(918e12, 32 * 2**30, 1638e9, 100e9, 12.5e9, 16),
}
# NVIDIA's data sheets of the SXM modules (A100: nvidia-a100-datasheet, H100, H200) and of the L4: dense
# bfloat16, and one direction of NVLink (L4: of PCIe 4). The network between hosts is not a GPU's property.
GPUS = {
    "A100-40GB": Chip(312e12, 40e9, 1555e9, 300e9, 0.0, 0),
    "A100-80GB": Chip(312e12, 80e9, 2039e9, 300e9, 0.0, 0),
    "H100": Chip(989e12, 80e9, 3350e9, 450e9, 0.0, 0),
    "H200": Chip(989e12, 141e9, 4800e9, 450e9, 0.0, 0),
    "L4": Chip(121e12, 24e9, 300e9, 32e9, 0.0, 0),
}
CHIPS = TPUS | GPUS
# What jax reports as `device_kind`. Cards for PCIe (H100 PCIe, H100 NVL, A100-PCIE) have other peaks.
_KINDS = {
    r"TPU v4": "v4",
    r"TPU v5 ?(lite|e)": "v5e",
    r"TPU v5p?": "v5p",
    r"TPU v6 ?(lite|e)": "v6e",
    r"NVIDIA A100-SXM\d?-40GB": "A100-40GB",
    r"NVIDIA A100-SXM\d?-80GB": "A100-80GB",
    r"NVIDIA H100 80GB HBM3": "H100",
    r"NVIDIA H200": "H200",
    r"NVIDIA L4": "L4",
}


def chip_name(device_kind: str) -> str | None:
    """Return the name in `CHIPS` of a device kind; None if its peak figures are unknown.

    >>> chip_name("NVIDIA H100 80GB HBM3"), chip_name("NVIDIA L40S"), chip_name("cpu")
    ('H100', None, None)
    """
    return next((name for kind, name in _KINDS.items() if re.fullmatch(kind, device_kind)), None)
