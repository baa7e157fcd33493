"""Is it healthy, is it good, what did it cost: the first minute of reading."""

from collections.abc import Sequence

from barlow_jax.papers import published, tables
from barlow_jax.papers.scores import read_evaluations
from barlow_jax.report import cost, formatting, health, scores, series
from barlow_jax.report.health import BAD, GOOD, LOOK, NONE, Check
from barlow_jax.report.html import Digits, Html, Section, details, element, joined, paragraph, table
from barlow_jax.report.schema import ModelInspection, Run

_SHOWN = {GOOD: ("✓", "good"), LOOK: ("!", "worth a look"), BAD: ("✗", "bad"), NONE: ("·", "to know")}
_HEALTH = {GOOD: "Healthy", LOOK: "Worth a look", BAD: "Not healthy", NONE: "Not known yet"}
_VALUE = {
    GOOD: "Better than no training",
    LOOK: "No better than pixels",
    BAD: "No better than no training",
    NONE: "No baseline to compare with",
}


def section(runs: Sequence[Run], look: ModelInspection | None, chip_hour_price: float | None) -> Section:
    """Verdicts of each run; `look` is the first one's."""
    title = "In one minute"
    if len(runs) == 1:
        return Section("summary", title, _cards(runs[0], look, chip_hour_price))
    looks = [look, *[None] * (len(runs) - 1)]
    each = [
        details(run.name, _cards(run, its, chip_hour_price), is_open=not place)
        for place, (run, its) in enumerate(zip(runs, looks, strict=True))
    ]
    return Section("summary", title, joined([_side_by_side(runs, chip_hour_price), *each]))


def good(run: Run) -> list[Check]:
    """Whether the encoder is worth more than none, and where the papers are."""
    found = [_against_baselines(one) for one in scores.headlines(run)]
    online = series.of(run, "knn_top1")
    if len(online.finite):
        first, last, best = (
            100 * value for value in (online.finite[0], online.finite[-1], online.finite.max())
        )
        told = f"k-NN while training: {first:.1f}% at step {online.steps[0]:,.0f}, {last:.1f}% at the end"
        found.append(Check(NONE, told + (f", {best:.1f}% at best." if best > last + 0.05 else ".")))
    if not scores.headlines(run):
        command = formatting.command("evaluate", run.workdir)
        found.append(Check(NONE, f"No evaluation beside baselines yet: {command}"))
    elif told := _published(run):
        found.append(Check(NONE, told))
    return found


def _against_baselines(one: scores.Headline) -> Check:
    ours = one.values.get("pretrained")
    bases = {kind: value for kind, value in one.values.items() if kind != "pretrained" and value is not None}
    if ours is None:
        return Check(NONE, f"{one.name}: not measured on the pretrained encoder.")
    beside = " and ".join(f"{value:.1f}% {_baseline(kind)}" for kind, value in bases.items())
    told = f"{one.name}: {ours:.1f}%" + (
        f", against {beside}." if beside else "; evaluate adds the baselines."
    )
    if not bases:
        return Check(NONE, told)
    sign = BAD if ours <= bases.get("untrained", -1) else LOOK if ours <= bases.get("pixels", -1) else GOOD
    return Check(sign, told)


def _baseline(kind: str) -> str:
    return {"pixels": "of raw pixels", "untrained": "of the untrained encoder"}.get(kind, kind)


def _published(run: Run) -> str:
    data, method = run.config.get("data.name", ""), formatting.method(run.config)
    if data not in published.SMALL_LINEAR and data != "imagenet2012":
        return f"The papers report nothing on {data}; their numbers on ImageNet are under Evaluations."
    setting, _, rows = tables.published_table(read_evaluations(run.results).get("pretrained"), data)
    told = [
        f"{row.name} {row.measured:.1f}% (paper: {row.published[method]:.1f}%)"
        for row in rows
        if row.measured is not None and row.published.get(method) is not None
    ]
    return f"{method} on {setting}: {'; '.join(told)}." if told else ""


def _cards(run: Run, look: ModelInspection | None, chip_hour_price: float | None) -> Html:
    healthy, value, spent = health.checks(run, look), good(run), cost.of(run, chip_hour_price)
    sign = health.worst([check for check in healthy if check.sign != NONE]) if run.metrics else NONE
    goes_on = run.status is not None and run.status["state"] not in ("finished", "stopped")
    took = formatting.span(spent.wall_seconds) if spent.wall_seconds is not None else "Not recorded"
    facts = [Check(NONE, told) for told in cost.sentences(spent, chip_hour_price)]
    return element(
        "div",
        _card(
            "Is it healthy?", sign, _HEALTH[sign] + (" so far" if goes_on and sign == GOOD else ""), healthy
        ),
        _card("Is it good?", health.worst(value), _VALUE[health.worst(value)], value),
        _card("What did it cost?", NONE, took, facts),
        class_="verdicts",
    )


def _card(question: str, sign: str, answer: str, found: Sequence[Check]) -> Html:
    lines = [
        element(
            "li",
            element("span", _SHOWN[one.sign][0], class_="sign", role="img", aria_label=_SHOWN[one.sign][1]),
            element("span", one.words),
            class_=one.sign,
        )
        for one in found
    ]
    head = paragraph(answer, class_=f"answer {sign}")
    return element("div", element("h3", question), head, element("ul", *lines), class_="card verdict")


def _side_by_side(runs: Sequence[Run], chip_hour_price: float | None) -> Html:
    heads = [
        "run",
        "method",
        "health",
        "steps",
        "loss",
        "spread",
        "k-NN, %",
        "linear, %",
        "images / s",
        "wall time",
    ]
    heads += ["chip-hours"] + (["cost"] if chip_hour_price is not None else [])
    return element(
        "div", table(heads, [_line(run, chip_hour_price) for run in runs], "The runs side by side")
    )


def _line(run: Run, chip_hour_price: float | None) -> list:
    healthy = [check for check in health.checks(run) if check.sign != NONE] if run.metrics else []
    ours = {one.evaluation: one.values.get("pretrained") for one in scores.headlines(run)}
    online = series.last(run, "knn_top1")
    knn = ours.get("knn", None if online is None else 100 * online)
    step, spent = run.metrics[-1]["step"] if run.metrics else None, cost.of(run, chip_hour_price)
    numbers = [
        "-" if step is None else f"{step:,.0f}",
        *(formatting.number(series.last(run, name)) for name in ("loss", "embedding_spread")),
        *("-" if score is None else f"{score:.1f}" for score in (knn, ours.get("probe"))),
        formatting.number(series.rate(run)),
        formatting.span(spent.wall_seconds),
        formatting.number(spent.chip_hours),
        *([formatting.number(spent.price)] if chip_hour_price is not None else []),
    ]
    return [run.name, formatting.method(run.config), _HEALTH[health.worst(healthy)], *map(Digits, numbers)]
