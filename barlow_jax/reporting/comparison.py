"""Table and plot of a comparison of methods over seeds."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from barlow_jax.io.paths import Path
from barlow_jax.papers.scores import parse_scores

# From one run's results to a cell; None if the run has no such value.
_Column = Callable[[Mapping[str, Any]], float | None]
Rows = Mapping[str, Sequence[Mapping[str, Any]]]  # by method: its runs, one per seed


def table(rows: Rows) -> str:
    """Return one line per method: mean and, for several seeds, standard deviation."""
    columns = _columns(rows)
    lines = [f"{'mean ± std over seeds':<28}" + "".join(f"{name:>15}" for name in columns)]
    for method, runs in rows.items():
        cells = (_cell([column(run) for run in runs]) for column in columns.values())
        lines.append(f"{method:<28}" + "".join(f"{cell:>15}" for cell in cells))
    return "\n".join(lines)


def _columns(rows: Rows) -> dict[str, _Column]:
    scores = parse_scores(next(iter(rows.values()))[0]["scores"])
    k = next(score.k for score in scores if score.command == "knn")
    columns: dict[str, _Column] = {}
    for score in scores:
        title = "linear" if score.command == "probe" else f"{score.k}-NN"
        if score.metric == "top1" and score.k in (None, k) and score.distance != "euclidean":
            columns[f"{title} {score.label_fraction:.0%}"] = partial(_value, score.setting)
    return columns | {
        "rank": lambda run: run.get("representation_rank"),
        "rank of z": lambda run: run.get("embedding_rank"),
        "std of z": lambda run: run.get("embedding_std"),
        "s / step": lambda run: run.get("step_seconds"),
        "MB": lambda run: run["step_bytes"] / 1e6 if "step_bytes" in run else None,
    }


def _value(setting: tuple, run: Mapping[str, Any]) -> float:
    return next(score.value for score in parse_scores(run["scores"]) if score.setting == setting)


def _cell(values: Sequence[float | None]) -> str:
    present = [value for value in values if value is not None]
    if not present:
        return "-"
    mean = float(np.mean(present))
    digits = 1 if abs(mean) >= 1 else 3
    if len(present) == 1:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {float(np.std(present, ddof=1)):.{digits}f}"


def draw(rows: Rows, out: Path, data_name: str) -> None:
    """Write a plot of linear accuracies: a panel per label fraction, a point per run, mean ± std."""
    from matplotlib.figure import Figure

    first = parse_scores(next(iter(rows.values()))[0]["scores"])
    panels = [score for score in first if (score.command, score.metric) == ("probe", "top1")]
    figure = Figure(figsize=(4 * len(panels), 0.4 * len(rows) + 1.5), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for panel, score in zip(axes, panels, strict=True):
        for line, runs in enumerate(rows.values()):
            points = [_value(score.setting, run) for run in runs]
            panel.plot(points, [line] * len(points), "o", color="tab:blue", alpha=0.6)
            panel.plot([np.mean(points)], [line], "|", color="black", markersize=16)
            if len(points) > 1:
                std = np.std(points, ddof=1)
                panel.errorbar(np.mean(points), line, xerr=std, color="black", capsize=4)
        panel.set_xlabel(f"linear top-1, %; {score.label_fraction:.0%} of the labels")
        panel.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(rows)), rows)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)  # the first method on top
    figure.suptitle(data_name)
    figure.savefig(out)
