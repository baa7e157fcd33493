"""Setup section: recipe, differences from the paper's, code, devices, time and starts."""

from collections.abc import Mapping, Sequence
import shlex
from typing import Any

from markupsafe import Markup

from barlow_jax.config import reference
from barlow_jax.reporting import cost, formatting, rendering
from barlow_jax.reporting.schema import Run
from barlow_jax.workdir import provenance

_CODE = Markup("<code>{}</code>")


def render(runs: Sequence[Run]) -> Markup:
    """Return the section."""
    keys = sorted({key for run in runs for key in run.changed})
    return rendering.render(
        "setup.html",
        runs=runs,
        keys=keys,
        changes=_changes(runs, keys),
        starts={run.name: _starts(run) for run in runs},
        formatting=formatting,
        value=reference.format_value,
        extensions=provenance.extensions,
        devices=_devices,
        command=_command,
        cost=cost.facts,
    )


def _changes(runs: Sequence[Run], keys: Sequence[str]) -> Markup:
    rows = []
    for key in keys:
        default = next(run.changed[key][0] for run in runs if key in run.changed)
        values = [run.changed[key][1] if key in run.changed else run.config.get(key, default) for run in runs]
        rows.append([_CODE.format(key), *map(reference.format_value, (*values, default))])
    heads = ["key", *(["this run"] if len(runs) == 1 else [run.name for run in runs]), "paper"]
    return rendering.table(heads, rows, "Differences from the paper's ImageNet recipe", first_number=None)


def _starts(run: Run) -> dict[str, Any] | None:
    if not run.provenance:
        return None
    heads = ["first", "last", "starts", "version", "commit", "devices", "Python", "command"]
    rows = []
    for entry in run.provenance:
        facts = [entry.get(name) for name in ("first", "last", "starts", "version")]
        code = [(entry.get("commit") or "-")[:12], _devices(entry), entry.get("python")]
        rows.append([*facts, *code, _CODE.format(_command(entry))])
    starts = formatting.count(sum(entry["starts"] for entry in run.provenance), "start")
    summary = f"{starts} with {formatting.count(len(rows), 'combination')} of code, packages and devices"
    table = rendering.table(heads, rows, f"Starts of {run.name}", first_number=None)
    return {"summary": summary, "table": table}


def _devices(entry: Mapping[str, Any]) -> str:
    devices = entry.get("devices") or {}
    return f"{devices.get('count', '?')} {formatting.TIMES} {devices.get('kind', '?')}"


def _command(entry: Mapping[str, Any]) -> str:
    return "python -m barlow_jax " + shlex.join(map(str, entry.get("command") or ()))
