"""Kernels that a device ran, from the data of jax's profiler."""

import collections
from collections.abc import Callable
import pathlib
import re
import tempfile
from typing import Any

import jax

_DEVICE = re.compile(r"/device:(GPU|TPU):0\b")
_LINES = re.compile(r"Stream\b|XLA Ops$")  # of a GPU; of a TPU


def profile(run: Callable[[], None], steps: int) -> dict[str, Any] | None:
    """Profile a call that makes `steps` steps, and return `summarize` of the first device's kernels."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            run()
        files = sorted(pathlib.Path(folder).rglob("*.xplane.pb"))
        return summarize(jax.profiler.ProfileData.from_file(str(files[0])), steps) if files else None


def summarize(data: jax.profiler.ProfileData, steps: int, top: int = 12) -> dict[str, Any] | None:
    """Return launches, seconds and the kernels with the most seconds, per step; None without a device's data.

    The profiler records no kernels of a CPU.
    """
    seconds, launches = collections.Counter[str](), collections.Counter[str]()
    for plane in data.planes:
        for line in plane.lines if _DEVICE.match(plane.name) else ():
            for event in line.events if _LINES.match(line.name) else ():
                seconds[event.name] += event.duration_ns * 1e-9 / steps
                launches[event.name] += 1
    if not seconds:
        return None
    return {
        "launches": launches.total() / steps,
        "kernel_seconds": seconds.total(),
        "kernels": [
            {"name": name, "seconds": time, "launches": launches[name] / steps}
            for name, time in seconds.most_common(top)
        ],
    }
