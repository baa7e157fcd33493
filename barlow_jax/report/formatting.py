"""Numbers as a person reads them."""

from collections.abc import Mapping
import math
import pathlib
import shlex
from typing import Any

from barlow_jax.config.methods import TITLES

TIMES = "\N{MULTIPLICATION SIGN}"


def number(value: float | None, digits: int = 3) -> str:
    """So many significant digits, without an exponent between a ten-thousandth and a million."""
    if value is None or not math.isfinite(value):
        return "-" if value is None else "not finite"
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e6:
        places = digits - 1 - math.floor(math.log10(abs(value)))
        return f"{round(value, places):,.{max(0, places)}f}"
    return f"{value:.{digits - 1}e}"


def percent(value: float | None) -> str:
    """Of what is in percent already."""
    return "-" if value is None else f"{value:.1f}%"


def share(value: float | None) -> str:
    """Of what is in 0..1."""
    return "-" if value is None else f"{100 * value:.1f}%"


def span(seconds: float | None) -> str:
    """ "45 s", "2 min 17 s", "3 h 05 min", "4 d 7 h"."""
    if seconds is None:
        return "-"
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 48:
        return f"{hours} h {minutes:02} min"
    return f"{hours // 24} d {hours % 24} h"


def size(num_bytes: float | None) -> str:
    if num_bytes is None:
        return "-"
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"


def count(number: int, thing: str, things: str | None = None) -> str:
    """ "1 step", "2 steps", "2 processes"."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


def command(program: str, workdir: pathlib.Path, *more: str) -> str:
    """To be copied to a shell."""
    return shlex.join(["python", "-m", "barlow_jax", program, "--workdir", str(workdir), *more])


def value(it: Any) -> str:
    """Of a config: as it is written in a config file, and shorter."""
    if it is None:
        return "none"
    if isinstance(it, bool):
        return str(it).lower()
    if isinstance(it, float):
        return f"{it:g}"
    if isinstance(it, list | tuple):
        return f"({', '.join(map(value, it))})"
    if isinstance(it, Mapping):
        return ", ".join(f"{key}: {value(one)}" for key, one in it.items()) or "{}"
    return str(it)


def method(config: Mapping[str, Any]) -> str:
    """Of a config by flat keys."""
    name = config.get("objective.name")
    return TITLES.get(name, str(name or "a method that config.json does not say"))
