"""Statistics of a study: how well metrics without labels predict the accuracy of runs and of checkpoints."""

from collections.abc import Mapping, Sequence
import itertools
import json
from typing import Any

import numpy as np

from barlow_jax.config import shipped
from barlow_jax.errors import UserError
from barlow_jax.io import jsonl
from barlow_jax.io.paths import Path
from barlow_jax.papers.scores import parse_scores
from barlow_jax.reporting import formatting
from barlow_jax.workdir import saved_run

Row = Mapping[str, Any]
Table = dict[str, dict[str, float | None]]  # by metric, or run, and column
# Metrics, turned so that higher is better. The exponent of the best representations is near 1.
_QUALITY = {
    **dict.fromkeys(("rankme", "rankme_embedding", "lidar"), lambda value: value),
    **dict.fromkeys(("view_retrieval_top1", "knn_top1"), lambda value: value),
    **dict.fromkeys(("alignment", "uniformity", "loss"), lambda value: -value),
    "alpha_req": lambda value: -abs(value - 1),
    "random": lambda value: 0.0,  # all are equal
    "newest": lambda value: value,  # the step
}
_CORRELATION = "Spearman correlation of each metric with {} accuracy, over runs"
_RUN_REGRET = "Regret of the run that a metric selects: points of {} accuracy below the best run"
_CHECKPOINT_REGRET = (
    "Regret of the checkpoint that a metric selects: points of k-NN accuracy below the best one"
)


def read_grid(source: str) -> list[dict[str, str]]:
    """Return the config overrides of each combination in a grid: JSON, a file, or the name of a shipped one.

    Raises:
      UserError: the file is missing, or holds something else.
    """
    try:
        is_json = source.lstrip()[:1] in ("{", "[")
        content = json.loads(
            source if is_json else shipped.config_path(source, ".json", "--grid").read_text()
        )
        cells = [
            dict(zip(group, cell, strict=True))
            for group in (content if isinstance(content, list) else [content])
            for cell in itertools.product(*(v if isinstance(v, list) else [v] for v in group.values()))
        ]
        if not cells:
            raise ValueError("it has no runs")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"--grid {source}: {error}; needs JSON objects of config keys and values") from None
    texts = [{k: v if isinstance(v, str) else json.dumps(v) for k, v in cell.items()} for cell in cells]
    return [{key: "none" if text == "null" else text for key, text in cell.items()} for cell in texts]


def checkpoints(run_dir: Path) -> list[dict[str, Any]]:
    """Return the metrics of each kept checkpoint that the monitor measured, with `random` and `newest`."""
    rows: dict[int, dict[str, Any]] = {}
    for row in jsonl.read(run_dir / "metrics.jsonl")[0]:
        rows.setdefault(row["step"], {"random": 0, "newest": row["step"]}).update(row)
    kept = [rows[step] for step in saved_run.checkpoint_steps(run_dir) if step in rows]
    names = ("step", *_QUALITY)
    return [{name: row.get(name) for name in names} for row in kept if {"rankme", "knn_top1"} & row.keys()]


def accuracies(run: Row) -> dict[str, float]:
    """Return the top-1 of a run's probe and k-NN with all labels, in percent."""
    return {
        "linear" if score.command == "probe" else "k-NN": score.value
        for score in reversed(parse_scores(run["scores"]))  # of several k, the first
        if (score.metric, score.label_fraction) == ("top1", 1.0) and score.distance != "euclidean"
    }


def spearman(pairs: Sequence[tuple[float | None, float]]) -> float | None:
    """Return the rank correlation of pairs; equal values have their mean rank. None if it is not defined.

    >>> spearman([(1, 10), (2, 20), (3, 40), (4, 30)])
    0.8
    """
    x, y = np.array([pair for pair in pairs if pair[0] is not None], float).reshape(-1, 2).T
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    ranks = []
    for values in (x, y):
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[inverse])
    return round(float(np.corrcoef(*ranks)[0, 1]), 12)


def regret(pairs: Sequence[tuple[float | None, float]]) -> float | None:
    """Return the best accuracy minus the one with the highest quality, or the mean of several such.

    A pair is quality, None where it was not measured, and accuracy.
    """
    top = max((quality for quality, _ in pairs if quality is not None), default=None)
    if top is None or len(pairs) < 2:
        return None
    return max(a for _, a in pairs) - float(np.mean([a for quality, a in pairs if quality == top]))


def statistics(runs: Sequence[Row]) -> dict[str, Table]:
    """Return tables by title: a row per metric, a column per method, for all runs, and the methods' mean.

    Runs have `method`, `scores` and `checkpoints`; those without checkpoints are left out.
    """
    runs = [run for run in runs if run["checkpoints"]]
    methods = dict.fromkeys(run["method"] for run in runs)
    groups = {method: [run for run in runs if run["method"] == method] for method in methods}
    groups["all runs"] = runs

    def newest(metric: str, group: Sequence[Row], target: str) -> list[tuple[float | None, float]]:
        return [(_quality(metric, run["checkpoints"][-1]), accuracies(run)[target]) for run in group]

    def of_checkpoints(metric: str, group: Sequence[Row]) -> float | None:
        measured = [[row for row in run["checkpoints"] if row["knn_top1"] is not None] for run in group]
        return _mean(
            [regret([(_quality(metric, r), 100 * r["knn_top1"]) for r in rows]) for rows in measured]
        )

    tables = {}
    for target in ("linear", "k-NN"):
        for title, function in ((_CORRELATION, spearman), (_RUN_REGRET, regret)):
            tables[title.format(target)] = {
                metric: {name: function(newest(metric, group, target)) for name, group in groups.items()}
                for metric in _QUALITY
                if metric != "newest"
            }
    tables[_CHECKPOINT_REGRET] = {
        metric: {name: of_checkpoints(metric, group) for name, group in groups.items()} for metric in _QUALITY
    }
    for row in (row for table in tables.values() for row in table.values()):
        row["mean of methods"] = _mean([value for name, value in row.items() if name != "all runs"])
    return {
        title: {metric: row for metric, row in table.items() if {*row.values()} - {None}}
        for title, table in tables.items()
    }


def _quality(metric: str, row: Row) -> float | None:
    return None if row.get(metric) is None else _QUALITY[metric](row[metric])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def markdown(runs: Sequence[Row], tables: Mapping[str, Table]) -> str:
    """Return the statistics, and the runs with their newest metrics, as Markdown."""
    rows: Table = {}
    for run in runs:
        changes = ", ".join(f"{key}={value}" for key, value in run["changes"].items())
        newest = (run["checkpoints"] or [{}])[-1]
        measured = {k: v for k, v in newest.items() if v is not None and k not in ("random", "newest")}
        rows[f"{run['run']}: {changes}"] = accuracies(run) | measured
    lines = []
    for title, table in (pair for pair in {**tables, "Runs": rows}.items() if pair[1]):
        columns = list(dict.fromkeys(name for row in table.values() for name in row))
        lines += [f"## {title}", "", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        for name, row in table.items():
            lines.append(f"| {' | '.join([name, *(formatting.number(row.get(c)) for c in columns)])} |")
        lines.append("")
    return "\n".join(lines)
