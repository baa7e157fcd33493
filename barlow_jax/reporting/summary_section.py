"""Summary section: health, quality and cost of each run."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from barlow_jax.papers import tables
from barlow_jax.papers.scores import read_evaluations
from barlow_jax.papers.tables import SourceRow
from barlow_jax.reporting import cost, formatting, health, rendering, series
from barlow_jax.reporting.health import FAILURE, INFO, OK, WARNING, Check
from barlow_jax.reporting.schema import ModelInspection, Run

_HEALTH = {OK: "Healthy", WARNING: "Needs attention", FAILURE: "Unhealthy", INFO: "Unknown"}
_QUALITY = {
    OK: "Better than the baselines",
    WARNING: "No better than raw pixels",
    FAILURE: "No better than without training",
    INFO: "No baseline",
}
_BASELINES = {"pixels": "raw pixels", "untrained": "untrained encoder"}


def render(runs: Sequence[Run], inspection: ModelInspection | None) -> Markup:
    """Return the section; `inspection` belongs to the first run."""
    inspections = [inspection, *[None] * (len(runs) - 1)]
    cards = {run.name: _cards(run, i) for run, i in zip(runs, inspections, strict=True)}
    overview = _overview(runs) if len(runs) > 1 else None
    return rendering.render("summary.html", cards=cards, overview=overview)


def quality(run: Run) -> list[Check]:
    """Compare the encoder with its baselines and with published numbers."""
    headlines = headline_scores(run)
    results = [_against_baselines(headline) for headline in headlines]
    online = series.read(run, "knn_top1")
    if len(online.finite):
        first, last, best = (100 * x for x in (online.finite[0], online.finite[-1], online.finite.max()))
        text = f"k-NN during training: first {first:.1f}%, last {last:.1f}%, best {best:.1f}%."
        results.append(Check(INFO, text))
    if text := _published(run) if headlines else unusable_labels(run):
        results.append(Check(INFO, text))
    elif not headlines:
        text = "Not evaluated yet. To compare with the baselines, run: "
        text += formatting.command("evaluate", run.workdir)
        results.append(Check(INFO, text, "not_evaluated"))
    return results


def headline_scores(run: Run) -> list[SourceRow]:
    """Return the cosine k-NN and the linear probe with the highest fraction of the labels."""
    rows = tables.rows_by_source(read_evaluations(run.results))
    # By evaluation. Label fractions increase, so the last row has the most labels.
    last = {row.score.command: row for row in rows if row.score.distance != "euclidean"}
    return [last[command] for command in ("knn", "probe") if command in last]


def unusable_labels(run: Run) -> str | None:
    """Return why the run's own data allow no accuracy; None if they do, or if that is not recorded."""
    data = run.results.get("pretrain", {}).get("data")
    if not data or (data["num_classes"] or 0) > 1:
        return None
    classes = "images of one class" if data["num_classes"] else "no labels"
    return f"No accuracy: {data['name']} has {classes}. Neighbors, spectra and ranks need no labels."


def _against_baselines(headline: SourceRow) -> Check:
    baselines = {s: v for s, v in headline.values.items() if s in _BASELINES and v is not None}
    score = headline.values.get("pretrained")
    if score is None:
        text = f"{headline.name}: not measured for the pretrained encoder."
        return Check(INFO, text, "not_evaluated")
    if "untrained" not in baselines:
        text = f"{headline.name}: {score:.1f}%. Run `evaluate` to measure the baselines."
        return Check(INFO, text, "not_evaluated")
    severity, topic = OK, ""
    if score <= baselines.get("pixels", -1):
        severity, topic = WARNING, "pixels"
    if score <= baselines["untrained"]:
        severity, topic = FAILURE, "no_gain"
    text = ", ".join(f"{_BASELINES[source]} {value:.1f}%" for source, value in baselines.items())
    return Check(severity, f"{headline.name}: {score:.1f}% ({text}).", topic)


def _published(run: Run) -> str:
    data, method = run.config.get("data.name", ""), formatting.method(run.config)
    if not tables.has_published(data):
        return f"No published results for {data}."
    setting, _, rows = tables.published_table(read_evaluations(run.results).get("pretrained"), data)
    pairs = [
        f"{row.name} {row.measured:.1f}% (paper: {row.published[method]:.1f}%)"
        for row in rows
        if row.measured is not None and row.published.get(method) is not None
    ]
    return f"{method} on {setting}: {'; '.join(pairs)}." if pairs else ""


def _cards(run: Run, inspection: ModelInspection | None) -> dict[str, tuple[str, str, Sequence[Check]]]:
    """Return severity, verdict and checks by the title of a card."""
    checks, results = health.checks(run, inspection), quality(run)
    severity = health.worst(checks) if run.metrics else INFO
    running = run.status is not None and run.status["state"] not in ("finished", "stopped")
    so_far = " so far" if running and severity == OK else ""
    seconds = cost.run_cost(run).wall_seconds
    wall = "Not recorded" if seconds is None else formatting.duration(seconds)
    facts = [Check(INFO, f"{quantity}: {text}.") for quantity, text in cost.facts(run).items()]
    return {
        "Health": (severity, _HEALTH[severity] + so_far, checks),
        "Quality": (health.worst(results), _QUALITY[health.worst(results)], results),
        "Cost": (INFO, wall, facts),
    }


def _overview(runs: Sequence[Run]) -> Markup:
    heads = ["run", "linear, %", "k-NN, %", "health", "method", "steps", "loss", "spread", "images / s"]
    heads += ["wall time", "device-hours", *(["price"] if runs[0].device_hour_price is not None else [])]
    rows = [_overview_row(run)[: len(heads)] for run in runs]
    return rendering.table(heads, rows, "Overview of the runs")


def _overview_row(run: Run) -> list[Any]:
    severity = health.worst(health.checks(run)) if run.metrics else INFO
    pretrained = {
        headline.score.command: headline.values.get("pretrained") for headline in headline_scores(run)
    }
    online = series.last_value(run, "knn_top1")
    knn = pretrained.get("knn", None if online is None else 100 * online)
    spent = cost.run_cost(run)
    return [
        run.name,
        *(None if score is None else f"{score:.1f}" for score in (pretrained.get("probe"), knn)),
        _HEALTH[severity],
        formatting.method(run.config),
        f"{run.metrics[-1]['step']:,.0f}" if run.metrics else None,
        *(formatting.number(series.last_value(run, name)) for name in ("loss", "embedding_spread")),
        formatting.number(series.images_per_second(run)),
        formatting.duration(spent.wall_seconds),
        formatting.number(spent.device_hours),
        formatting.number(spent.price),
    ]
