"""List the runs below a folder: progress, health, scores, cost, and what differs between their configs."""

import argparse
from collections.abc import Mapping, Sequence
import difflib
import operator
import os
import re
from typing import Any

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config import reference
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.io import files, log, paths
from barlow_jax.io.paths import Path
from barlow_jax.papers.scores import PRETRAINED, read_evaluations
from barlow_jax.reporting import cost, formatting, load_run
from barlow_jax.training import diagnostics, verdict
from barlow_jax.workdir import lock, saved_run

COMMAND = Command(
    examples=(
        "runs runs",
        "runs runs --sort probe_top1 --filter 'knn_top1>80' --filter objective.name=vicreg",
        "runs runs --sort +loss --out runs.parquet",
    ),
    checks="runs",
    workdir="none",
    single_process=True,
)
Row = dict[str, Any]
_SHOWN = ("run", "state", "epoch", "loss", "knn_top1", "best_knn_top1", "probe_top1", "health", "hours")
_COMPARISONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "=": "eq", "!=": "ne"}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the folder, sorting, filters and the file to write."""
    parser.add_argument("root", type=flags.path, metavar="ROOT", help="folder that is searched for runs")
    parser.add_argument(
        "--sort", metavar="NAME", help="field or config key to sort by, highest first; +NAME: lowest first"
    )
    parser.add_argument(
        "--filter",
        metavar="EXPR",
        action="append",
        default=[],
        help="list only runs with NAME=VALUE, or !=, <, <=, >, >=. NAME is a field of the results, whose "
        "accuracies are in percent, or a config key. Several filters must all hold",
    )
    parser.add_argument("--out", type=flags.path, metavar="FILE", help="also write a .json or .parquet file")


def check(args: argparse.Namespace, config: Config | None) -> list[str]:
    """Check the flags."""
    problems = [f"--config.{key}: runs reads no config. Leave it out." for key, _ in args.overrides]
    if args.out and (not args.out.endswith((".json", ".parquet")) or os.path.isdir(args.out)):
        problems.append(f"--out is {args.out}, but must be a file that ends in .json or .parquet.")
    return problems


def run(config: Config, workdir: Path | None, args: argparse.Namespace) -> Row:
    """Return `runs`, one flat record each, and `not_read`, the reason by folder. Only files are read."""
    root, rows, configs, not_read = Path(args.root), [], [], {}
    for path, names, _ in paths.walk(root):
        names.sort()
        if saved_run.is_run(path):
            names[:] = [name for name in names if name != saved_run.CHECKPOINTS]
            try:
                row, run_config = read(Path(path))
            except (UserError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                not_read[path] = str(error)
                log.warning(f"{path} is left out: {error}")
            else:
                rows.append({"run": os.path.relpath(path, str(root))} | row)
                configs.append(run_config)
    if not rows:
        raise UserError(f"{root} holds no run. Pass the workdir of a run, or a folder above it.")
    keys = dict.fromkeys(key for config in configs for key in config)
    different = [key for key in keys if any(other.get(key) != configs[0].get(key) for other in configs)]
    order = select([c | row for c, row in zip(configs, rows, strict=True)], args.sort or "+run", args.filter)
    rows = [rows[i] | {key: configs[i].get(key) for key in different} for i in order]
    log.info(_table(rows, [*_SHOWN, (args.sort or "run").lstrip("+"), *different]))
    if args.out:
        _write(Path(args.out), rows)
    return {"runs": rows, "not_read": not_read}


def read(folder: Path) -> tuple[Row, Mapping[str, Any]]:
    """Return the fields of a run, and its config by flat key.

    Raises:
      UserError: the folder holds something else, or its config is damaged.
    """
    saved = saved_run.saved_config(folder)
    if saved_run.saved_status(folder) is None and "objective" not in (saved or {}):
        raise UserError("its files are not those of a run")
    content = load_run.read_run(folder)
    row: Row = {}
    for name, value in (item for values in content.metrics for item in values.items()):
        row[name] = value
        if value is not None and name.endswith(("_top1", "_accuracy")):
            row[name] = value * 100
            row[f"best_{name}"] = max(row[name], row.get(f"best_{name}", 0.0))
    status = content.status or {}
    state = verdict.judge(content.metrics, content.config).state
    row["health"] = diagnostics.NAMES.get(state, state).partition(":")[0]
    row |= {
        name: status[name] for name in ("step", "num_steps", "epoch", "restarts", "state") if name in status
    }
    if row.get("state") not in (None, "finished", "stopped") and not lock.holder(folder):
        row["state"] += ", no process here"
    evaluation = read_evaluations(content.results).get(PRETRAINED)
    for score in evaluation.scores if evaluation else ():
        name = (
            f"{score.command}{score.k or ''}{'_euclidean' * (score.distance == 'euclidean')}_{score.metric}"
        )
        row[name + (f"@{score.label_fraction:g}" if score.label_fraction < 1 else "")] = score.value
    spent = cost.run_cost(content)
    hours = spent.wall_seconds / 3600 if spent.wall_seconds is not None else None
    return row | {"hours": hours, "device_hours": spent.device_hours}, content.config


def select(rows: Sequence[Row], sort: str, filters: Sequence[str]) -> list[int]:
    """Return the indices of the rows for which all filters hold, sorted; rows without the value come last.

    Raises:
      UserError: a filter is no comparison, or no row has the name.
    """
    matches = [re.fullmatch(r"\s*([\w.@]+)\s*([<>!]=|[=<>])\s*(.+?)\s*", text) for text in filters]
    if None in matches:
        wrong = filters[matches.index(None)]
        raise UserError(f"--filter {wrong!r} is no comparison such as knn_top1>80 or objective.name=vicreg")
    name, sign = sort.lstrip("+"), 1 if sort.startswith("+") else -1
    known = list(dict.fromkeys(name for row in rows for name in row))
    for unknown in {*(match[1] for match in matches), name} - {*known}:
        near = difflib.get_close_matches(unknown, known, 3) or known
        raise UserError(f"no run has {unknown!r}. Choose from {', '.join(near)}.")

    def key(i: int) -> tuple[Any, ...]:
        value = rows[i].get(name)
        number = isinstance(value, int | float)
        return value is None, not number, sign * value if number else reference.format_value(value)

    holds = (i for i, row in enumerate(rows) if all(_holds(row.get(m[1]), m[2], m[3]) for m in matches))
    return sorted(holds, key=key)


def _holds(value: Any, comparison: str, text: str) -> bool:
    compare = getattr(operator, _COMPARISONS[comparison])
    try:
        return compare(float(value), float(text))
    except (TypeError, ValueError):  # not two numbers
        left, right = (re.sub(r"[() ]", "", part) for part in (reference.format_value(value), text))
        return comparison in ("=", "!=") and compare(left, right)


def _table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Return a line per run; columns without a value are left out."""
    names = [name for name in dict.fromkeys(names) if any(row.get(name) is not None for row in rows)]
    lines = [names]
    for row in rows:
        values = [row.get(name) for name in names]
        rounded = [formatting.number(v, 4) if v is None or type(v) is float else v for v in values]
        lines.append([reference.format_value(value) for value in rounded])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _write(path: Path, rows: Sequence[Row]) -> None:
    if path.suffix == ".json":
        return files.write_json(path, rows)
    import pyarrow as pa
    from pyarrow import parquet

    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    files.write(path, lambda file: parquet.write_table(table, file))
