"""Setup section: recipe, differences from the paper's, code, devices, time and starts."""

from collections.abc import Mapping, Sequence
import shlex
from typing import Any

from markupsafe import Markup

from barlow_jax.config import reference
from barlow_jax.reporting import cost, formatting, rendering
from barlow_jax.reporting.schema import Run
from barlow_jax.workdir import provenance

_MAX_OPEN_ROWS = 12  # a longer table of differences is folded
_CODE = Markup("<code>{}</code>")


def render(runs: Sequence[Run]) -> Markup:
    """Return the section."""
    keys = sorted({key for run in runs for key in run.changed})
    return rendering.render(
        "setup.html",
        # Facts by title of the card; None is left out.
        cards={
            r.name: {"Recipe": _recipe(r), "Code and devices": _code(r), "Time and cost": _time(r)}
            for r in runs
        },
        has_config=any(run.config for run in runs),
        num_changes=len(keys),
        changes=_changes(runs, keys),
        is_open=len(keys) <= _MAX_OPEN_ROWS,
        starts={run.name: _starts(run) for run in runs},
    )


def _recipe(run: Run) -> Mapping[str, Any]:
    config, status = run.config, run.status or {}
    if not config:
        return {"Config": "config.json is missing or cannot be read"}
    width = config.get("network.width")
    projector = config.get("network.projector") or ()
    size = config.get("data.image_size")
    steps = f", {status['num_steps']:,} steps" if "num_steps" in status else ""
    rate = reference.format_value(config.get("optim.learning_rate"))
    return {
        "Method": formatting.method(config),
        "Data": f"{config.get('data.name')}, split {config.get('data.train_split')}, "
        f"{size} {formatting.TIMES} {size} pixels",
        "Encoder": f"{config.get('network.encoder')}"
        + (f", width {width}" if width not in (None, 64) else ""),
        "Projector": " → ".join(map(str, projector)) or "none",
        "Batch size": formatting.count(config.get("train.batch_size", 0), "image"),
        "Length": f"{reference.format_value(config.get('train.num_epochs'))} epochs{steps}",
        "Extended": "; ".join(provenance.extensions(run.provenance)) or None,
        "Optimizer": f"{config.get('optim.name')}, learning rate {rate} per 256 images",
        "Seed": config.get("seed"),
    }


def _code(run: Run) -> Mapping[str, Any]:
    if not run.provenance:
        return {"Code": "not recorded: provenance.json is missing"}
    entry = run.provenance[-1]
    commit, code = entry.get("commit"), "not in a repository"
    if commit:
        changed = " (with uncommitted changes)" if commit.endswith("+") else ""
        code = Markup('<code title="{}">{}</code>{}').format(commit, commit.rstrip("+")[:12], changed)
    processes = run.devices.get("processes", 1)
    return {
        "barlow_jax": entry.get("version"),
        "Commit": code,
        "Devices": f"{_devices(entry)}, {formatting.count(processes, 'process', 'processes')}",
        "Python": entry.get("python"),
        "Platform": entry.get("platform"),
        "Packages": ", ".join(f"{name} {version}" for name, version in entry["packages"].items()),
        "Command": _CODE.format(_command(entry)),
    }


def _time(run: Run) -> Mapping[str, Any]:
    status = run.status or {}
    checkpoint = status.get("checkpoint") or {}
    return {
        "State": status.get("state", "unknown: status.json is missing"),
        "Steps": f"{status['step']:,} of {status['num_steps']:,}" if "num_steps" in status else None,
        "Last start": status.get("started"),
        "Last update": status.get("updated"),
        "Last checkpoint": f"step {checkpoint['step']:,}, {checkpoint.get('time')}" if checkpoint else None,
    } | cost.facts(run)


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
