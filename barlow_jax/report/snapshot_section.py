"""What the network makes of the two views of fixed images, from before training to the last checkpoint."""

from collections.abc import Iterator, Sequence

import altair as alt
import numpy as np

from barlow_jax.evals.correlation import Histogram
from barlow_jax.report import charts, formatting, pictures
from barlow_jax.report.html import Html, Section, element, joined, paragraph
from barlow_jax.report.schema import ModelInspection, Snapshot

_MOST_POINTS = 200  # of a spectrum
_LEAST_SHARE = 1e-7  # what float32 leaves of an eigenvalue that is 0


def correlation(look: ModelInspection | None, why_not: str) -> Section:
    """C as a heat map at every moment, and how its diagonal and the rest are spread."""
    title = "The cross-correlation matrix"
    snapshots = [moment for moment in look.snapshots if moment.correlation is not None] if look else []
    if not snapshots:
        return Section(
            "correlation", title, paragraph(why_not if look is None else "This run has no embeddings.")
        )
    rows = len(snapshots[0].correlation)
    cell = ""
    if (size := snapshots[0].features_per_cell) > 1:
        cell = (
            f" A cell is {size} {formatting.TIMES} {size} features, the root of the mean of their squares: it has no sign, "
            "and the line is paler than 1."
        )
    maps = [
        element(
            "figure",
            pictures.heat_map(one.correlation, _of_matrix(one)),
            element("figcaption", _named(one)),
        )
        for one in snapshots
    ]
    body = [
        paragraph(
            "C, row and column a feature of the embedding: of one view, and of the other view of the same images. "
            "Healthy is a line from corner to corner, which is 1, on an empty ground: views agree, and features say "
            f"different things. {rows} {formatting.TIMES} {rows} cells.{cell}"
        ),
        element("div", *maps, class_="matrices"),
        pictures.color_bar(),
        element("h3", "How its values are spread"),
        element(
            "div",
            _histograms(
                "On the diagonal", "The mass moves to 1.", snapshots, [m.diagonal for m in snapshots]
            ),
            _histograms(
                "Off the diagonal",
                "The mass gathers around 0, and tails get short. Logarithmic.",
                snapshots,
                [m.off_diagonal for m in snapshots],
                logarithmic=True,
            ),
            class_="grid wide",
        ),
    ]
    return Section("correlation", title, joined(body))


def spectra(look: ModelInspection | None, why_not: str) -> Section:
    """Shares of the variance by direction, and effective ranks."""
    title = "How many directions it uses"
    if look is None or not look.snapshots:
        return Section("spectra", title, paragraph(why_not))
    drawn = [
        element(
            "div", element("h3", name), _spectrum(name, snapshots, [getattr(m, field) for m in snapshots])
        )
        for name, field in (
            ("Representations", "representation_spectrum"),
            ("Embeddings", "embedding_spectrum"),
        )
        if (snapshots := [m for m in look.snapshots if getattr(m, field) is not None])
    ]
    body = [
        paragraph(
            "Left of each curve are the directions with most of the variance. Healthy is a gentle slope; a cliff means "
            "that the directions right of it carry nothing. The effective rank, exp of the entropy of the singular "
            "values' shares, counts the directions in use: it should grow, or stay, and never fall to a few."
        ),
        element("div", *drawn, class_="grid wide"),
        element("h3", "Effective ranks"),
        _ranks(look.snapshots),
    ]
    return Section("spectra", title, joined(body))


def _histograms(
    title: str,
    note: str,
    snapshots: Sequence[Snapshot],
    histograms: Sequence[Histogram],
    logarithmic: bool = False,
) -> Html:
    rows = [
        row for one, histogram in zip(snapshots, histograms, strict=True) for row in _stairs(one, histogram)
    ]
    scale = alt.Scale(type="log", domainMin=0.8) if logarithmic else alt.Scale(zero=True)
    chart = alt.Chart(charts.data(rows)).mark_line(interpolate="step-after", strokeWidth=2, clip=True)
    chart = chart.encode(
        x=alt.X("value:Q", title="correlation"),
        y=alt.Y("count:Q", title="entries of C", scale=scale, axis=alt.Axis(tickCount=6)),
        tooltip=[
            alt.Tooltip("step:N"),
            alt.Tooltip("value:Q", title="from", format=".3f"),
            alt.Tooltip("count:Q"),
        ],
    )
    means = zip(snapshots, map(_mean, histograms), strict=True)
    told = "; ".join(f"{_named(moment)}: mean {mean:.2f}" for moment, mean in means)
    return element(
        "div", element("h4", title), charts.figure(_by_moment(chart, snapshots), f"{title}. {told}", note)
    )


def _mean(histogram: Histogram) -> float:
    """Of what it counts, to half a bin."""
    middles = (histogram.edges[1:] + histogram.edges[:-1]) / 2
    return float(np.sum(middles * histogram.counts) / max(1, histogram.counts.sum()))


def _stairs(moment: Snapshot, histogram: Histogram) -> Iterator[dict]:
    """Of an empty bin there is nothing on a logarithmic axis: half a count is below it."""
    for edge, count in zip(histogram.edges, [*histogram.counts, 0], strict=True):
        yield {"step": _named(moment), "value": edge, "count": max(count, 0.5)}


def _spectrum(name: str, snapshots: Sequence[Snapshot], spectra: Sequence[np.ndarray]) -> Html:
    rows = [
        {"step": _named(one), "direction": place + 1, "share": shares[place]}
        for one, shares in zip(snapshots, spectra, strict=True)
        for place in np.unique(np.geomspace(1, len(shares), _MOST_POINTS).round().astype(int)) - 1
        if shares[place] > _LEAST_SHARE
    ]
    chart = (
        alt.Chart(charts.data(rows))
        .mark_line(strokeWidth=2, point={"size": 40, **charts.UNSEEN})
        .encode(
            x=alt.X("direction:Q", title="direction, by variance", scale=alt.Scale(nice=False)),
            y=alt.Y(
                "share:Q",
                title="share of the variance",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(format=".0e", tickCount=6),
            ),
            tooltip=[alt.Tooltip("step:N"), alt.Tooltip("direction:Q"), alt.Tooltip("share:Q", format=".2e")],
        )
    )
    told = "; ".join(
        f"{_named(m)}: the first has {s[0]:.0%}" for m, s in zip(snapshots, spectra, strict=True)
    )
    return charts.figure(
        _by_moment(chart, snapshots).add_params(charts.zoom()), f"Spectrum of the {name.lower()}. {told}"
    )


def _by_moment(chart: alt.Chart, snapshots: Sequence[Snapshot]) -> alt.Chart:
    """The later the stronger; a click in the legend picks one."""
    names = [_named(one) for one in snapshots]
    picked = alt.selection_point(fields=["step"], bind="legend")
    return chart.encode(
        color=alt.Color("step:N", title=None, scale=charts.scale(names, charts.ramp(len(names)))),
        opacity=alt.condition(picked, alt.value(1), alt.value(0.1)),
    ).add_params(picked)


def _ranks(snapshots: Sequence[Snapshot]) -> Html:
    rows = []
    for one in snapshots:
        for what in ("representation", "embedding"):
            rank, spectrum = getattr(one, f"{what}_rank"), getattr(one, f"{what}_spectrum")
            if rank is not None and spectrum is not None:
                rows.append({"of": f"{what}s", "step": one.step, "rank": rank, "directions": len(spectrum)})
    names = list(dict.fromkeys(row["of"] for row in rows))
    chart = (
        alt.Chart(charts.data(rows))
        .mark_line(strokeWidth=2, point={"size": 60, "filled": True})
        .encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(tickCount=8)),
            y=alt.Y("rank:Q", title="effective rank, directions"),
            color=alt.Color("of:N", title=None, scale=charts.scale(names)),
            tooltip=[
                "of:N",
                "step:Q",
                alt.Tooltip("rank:Q", format=".1f"),
                alt.Tooltip("directions:Q", title="of"),
            ],
        )
    )
    told = [f"{row['of']} at step {row['step']}: {row['rank']:.1f} of {row['directions']}" for row in rows]
    return charts.figure(chart, "Effective ranks. " + "; ".join(told), height=200)


def _of_matrix(moment: Snapshot) -> str:
    diagonal = formatting.number(_mean(moment.diagonal), 2)
    return f"Cross-correlation matrix, {_named(moment)}: its diagonal's mean is {diagonal}"


def _named(moment: Snapshot) -> str:
    return f"step {moment.step:,}" if moment.step else "before training"
