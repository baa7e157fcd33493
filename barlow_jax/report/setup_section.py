"""What ran: the recipe and what differs from the paper's, the code, the machines, the time."""

from collections.abc import Mapping, Sequence
import shlex
from typing import Any

from barlow_jax.report import cost, formatting
from barlow_jax.report.html import Html, Section, definitions, details, element, joined, paragraph, table
from barlow_jax.report.schema import Run

_MOST_ROWS = 12  # of a table that is open


def section(runs: Sequence[Run], chip_hour_price: float | None) -> Section:
    body: list[Html] = []
    for run in runs:
        body += [element("h3", run.name)] if len(runs) > 1 else []
        body.append(element("div", *_cards(run, chip_hour_price), class_="verdicts"))
    body += [
        element("h3", "Its config beside the paper's recipe"),
        *_changes(runs),
        element("h3", "Starts"),
        *(_starts(run, len(runs) > 1) for run in runs),
    ]
    return Section("setup", "What ran", joined(body))


def _cards(run: Run, chip_hour_price: float | None) -> list[Html]:
    told = {
        "Recipe": _recipe(run),
        "Code and devices": _code(run),
        "Time and cost": _time(run, chip_hour_price),
    }
    return [
        element("div", element("h4", name), definitions(facts), class_="card") for name, facts in told.items()
    ]


def _recipe(run: Run) -> Mapping[str, Any]:
    config, status = run.config, run.status or {}
    if not config:
        return {"config": "config.json is missing or cannot be read"}
    width = config.get("network.width")
    encoder = f"{config.get('network.encoder')}" + (f", width {width}" if width not in (None, 64) else "")
    projector = config.get("network.projector") or ()
    size = config.get("data.image_size")
    return {
        "Method": formatting.method(run.config),
        "Data": f"{config.get('data.name')}, split {config.get('data.train_split')}, {size} {formatting.TIMES} {size} pixels",
        "Encoder": encoder,
        "Projector": " → ".join(map(str, projector)) or "none",
        "Batch": formatting.count(config.get("train.batch_size", 0), "image"),
        "Length": f"{formatting.value(config.get('train.num_epochs'))} epochs"
        + (f", {status['num_steps']:,} steps" if "num_steps" in status else ""),
        "Optimizer": f"{config.get('optim.name')}, rate {formatting.value(config.get('optim.learning_rate'))} per 256 images",
        "Seed": config.get("seed"),
    }


def _code(run: Run) -> Mapping[str, Any]:
    if not run.provenance:
        return {"code": "not recorded: there is no provenance.json, which younger runs have"}
    entry = run.provenance[-1]
    devices, commit = entry.get("devices") or {}, entry.get("commit")
    code = "not from a repository"
    if commit:
        shown = element("code", commit.rstrip("+")[:12], title=commit)
        code = joined([shown, " (with changed files)" if commit.endswith("+") else None])
    return {
        "barlow_jax": entry.get("version"),
        "Commit": code,
        "Devices": f"{devices.get('count', '?')} {formatting.TIMES} {devices.get('kind', '?')}, "
        + formatting.count(devices.get("processes", 1), "process", "processes"),
        "Python": entry.get("python"),
        "Platform": entry.get("platform"),
        "Packages": ", ".join(f"{name} {version}" for name, version in entry["packages"].items()),
        "Command": element("code", _command(entry)),
    }


def _time(run: Run, chip_hour_price: float | None) -> Mapping[str, Any]:
    status, spent = run.status or {}, cost.of(run, chip_hour_price)
    checkpoint = status.get("checkpoint") or {}
    return {
        "State": status.get("state", "not known: there is no status.json"),
        "Steps": f"{status['step']:,} of {status['num_steps']:,}" if "num_steps" in status else None,
        "Last start": status.get("started"),
        "Figures of": status.get("updated"),
        "Last checkpoint": f"step {checkpoint['step']:,}, {checkpoint.get('time')}" if checkpoint else None,
        "Wall time": formatting.span(spent.wall_seconds),
        "Goodput": formatting.share(cost.goodput(spent)),
        "Restarts": spent.restarts,
        "Lost to restarts": formatting.span(spent.lost_seconds) if spent.restarts else None,
        "Chip-hours": formatting.number(spent.chip_hours),
        "Cost": None if spent.price is None else f"{spent.price:,.2f}, at {chip_hour_price:,.2f} a chip-hour",
    }


def _changes(runs: Sequence[Run]) -> list[Html]:
    keys = sorted({key for run in runs for key in run.changed})
    if not any(run.config for run in runs):
        return [paragraph("config.json is missing or cannot be read.")]
    if not keys:
        return [paragraph("Nothing: this is the paper's recipe.")]
    rows = []
    for key in keys:
        default = next(run.changed[key][0] for run in runs if key in run.changed)
        ours = [run.changed[key][1] if key in run.changed else run.config.get(key, default) for run in runs]
        rows.append([element("code", key), formatting.value(default), *map(formatting.value, ours)])
    heads = ["config", "paper", *(["this run"] if len(runs) == 1 else [run.name for run in runs])]
    made = table(heads, rows, "Keys that are not as in the paper's recipe for ImageNet")
    told = f"Not as in the paper's recipe for ImageNet, which the defaults are: {formatting.count(len(keys), 'key')}."
    if len(keys) <= _MOST_ROWS:
        return [paragraph(told), made]
    return [paragraph(told), details("Show them", made)]


def _starts(run: Run, named: bool) -> Html:
    name = f"{run.name}: " if named else ""
    if not run.provenance:
        return paragraph(f"{name}not recorded; there is no provenance.json.")
    heads = ["first", "last", "starts", "version", "commit", "devices", "Python", "command"]
    rows = []
    for entry in run.provenance:
        devices = entry.get("devices") or {}
        told = f"{devices.get('count', '?')} {formatting.TIMES} {devices.get('kind', '?')}"
        rows.append(
            [
                entry["first"],
                entry["last"],
                entry["starts"],
                entry.get("version"),
                (entry.get("commit") or "-")[:12],
                told,
                entry.get("python"),
                element("code", _command(entry)),
            ]
        )
    starts = sum(entry["starts"] for entry in run.provenance)
    told = f"{name}{formatting.count(starts, 'start')} by {formatting.count(len(rows), 'set')} of code, packages and devices"
    return details(told, table(heads, rows, f"Starts of {run.name}"))


def _command(entry: Mapping[str, Any]) -> str:
    return "python -m barlow_jax " + shlex.join(map(str, entry.get("command") or ()))
