"""Formatting of numbers, durations, counts and config values for reading."""

from collections.abc import Mapping
import math
import shlex
from typing import Any

from barlow_jax.config.method_facts import method_facts
from barlow_jax.io.paths import Path

TIMES = "\N{MULTIPLICATION SIGN}"


def number(value: float | None, digits: int = 3) -> str:
    """Return `value` with this many significant digits, without an exponent from 1e-4 to 1e6.

    >>> number(131.6468), number(1234567.0), number(None)
    ('132', '1.23e+06', '-')
    """
    if value is None or not math.isfinite(value):
        return "-" if value is None else "not finite"
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e6:
        decimals = digits - 1 - math.floor(math.log10(abs(value)))
        return f"{round(value, decimals):,.{max(0, decimals)}f}"
    return f"{value:.{digits - 1}e}"


def duration(seconds: float | None) -> str:
    """Return a duration such as "45 s", "2 min 17 s", "3 h 05 min" or "4 d 7 h"."""
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


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Return a count with its noun, such as "1 step" or "2 steps"."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


def command(name: str, workdir: Path, *arguments: str) -> str:
    """Return the shell command line that runs a barlow_jax command on a workdir."""
    return shlex.join(["python", "-m", "barlow_jax", name, "--workdir", str(workdir), *arguments])


def method(config: Mapping[str, Any]) -> str:
    """Return the title of the method in a flat config; the papers number W-MSE by its views."""
    name = config.get("objective.name")
    title = method_facts(str(name or "unknown method")).title
    views = {key.split(".")[2] for key in config if key.startswith("recipe.views.")}
    return f"{title} {len(views)}" if name == "w_mse" else title
