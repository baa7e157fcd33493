"""Cross-correlation and spectrum sections: network outputs for two views, at every snapshot."""

from collections.abc import Sequence

import altair as alt
from markupsafe import Markup
import numpy as np

from barlow_jax.evals.correlation import EDGES
from barlow_jax.reporting import charts, formatting, health, inline_images, rendering
from barlow_jax.reporting.schema import ModelInspection, Snapshot

_MAX_POINTS = 200  # per spectrum
_MIN_FRACTION = 1e-7  # float32 rounding of an eigenvalue that is 0


def render_correlation(inspection: ModelInspection) -> Markup:
    """Return C as a heat map per snapshot, and histograms of its diagonal and off-diagonal entries."""
    snapshots = [snapshot for snapshot in inspection.snapshots if snapshot.correlation]
    if not snapshots:
        return rendering.paragraph("This run has no embeddings.")
    shown = [snapshots[index] for index in sorted({0, len(snapshots) // 2, len(snapshots) - 1})]
    return rendering.render(
        "correlation.html",
        size=len(snapshots[0].correlation.cells),
        features_per_cell=snapshots[0].correlation.features_per_cell,
        maps={_step_text(s): inline_images.heat_map(s.correlation.cells, _matrix_text(s)) for s in shown},
        color_bar=inline_images.heat_map(np.linspace(-1, 1, 255)[None], ""),
        diagonal=_histograms("Diagonal", snapshots),
        off_diagonal=_histograms("Off-diagonal", snapshots),
    )


def render_spectrum(inspection: ModelInspection) -> Markup:
    """Return the fraction of the variance by direction, and the effective ranks."""
    if not inspection.snapshots:
        return rendering.paragraph("No checkpoint of the whole network is readable.")
    spectra = {}
    for output in ("representation", "embedding"):
        if snapshots := [s for s in inspection.snapshots if getattr(s, output)]:
            spectra[f"{output.capitalize()}s"] = _spectrum(output, snapshots)
    return rendering.render(
        "spectrum.html",
        spectra=spectra,
        ranks=_ranks(inspection.snapshots),
        rank_sentences=[check.text for check in health.ranks(inspection)],
    )


def _histograms(title: str, snapshots: Sequence[Snapshot]) -> Markup:
    """Draw the diagonal or the off-diagonal entries of C, the latter on a logarithmic axis."""
    logarithmic = title == "Off-diagonal"
    all_counts = [s.correlation.off_diagonal if logarithmic else s.correlation.diagonal for s in snapshots]
    # One row per edge. Empty bins count 0.5, below the logarithmic axis, which has no 0.
    rows = [
        {"step": _step_text(snapshot), "value": edge, "count": max(count, 0.5)}
        for snapshot, counts in zip(snapshots, all_counts, strict=True)
        for edge, count in zip(EDGES, [*counts, 0], strict=True)
    ]
    scale = alt.Scale(type="log", domainMin=0.8) if logarithmic else alt.Scale(zero=True)
    chart = alt.Chart(charts.data(rows)).mark_line(interpolate="step-after", strokeWidth=2, clip=True)
    chart = chart.encode(
        x=alt.X("value:Q", title="correlation"),
        y=alt.Y("count:Q", title="entries of C", scale=scale, axis=alt.Axis(tickCount=6)),
        tooltip=["step:N", alt.Tooltip("value:Q", title="from", format=".3f"), "count:Q"],
    )
    name, power = ("Root mean square", 2) if logarithmic else ("Mean", 1)
    moments = [_mean(counts, power) ** (1 / power) for counts in all_counts]
    steps = [_step_text(snapshot).replace("step", "at step") for snapshot in snapshots]
    values = [f"{moment:.2f} {step}" for moment, step in zip(moments, steps, strict=True)]
    healthy = "well below the mean of the diagonal. Logarithmic axis." if logarithmic else "moves towards 1."
    caption = f"{name}: {', '.join(dict.fromkeys((values[0], values[-1])))}. Healthy: {healthy}"
    description = f"{title} entries of C. {name}: {', '.join(values)}"
    return charts.figure(_color_by_step(chart, snapshots), description, caption)


def _mean(counts: np.ndarray, power: int = 1) -> float:
    """Return the mean of this power of the counted values, to half a bin."""
    middles = (EDGES[1:] + EDGES[:-1]) / 2
    return float(np.sum(middles**power * counts) / max(1, counts.sum()))


def _spectrum(output: str, snapshots: Sequence[Snapshot]) -> Markup:
    spectra = {_step_text(s): getattr(s, output).variance_fractions for s in snapshots}
    rows = [
        {"step": step, "direction": index + 1, "fraction": fractions[index]}
        for step, fractions in spectra.items()
        for index in np.unique(np.geomspace(1, len(fractions), _MAX_POINTS).round().astype(int)) - 1
        if fractions[index] > _MIN_FRACTION
    ]
    log_axis = {"scale": alt.Scale(type="log"), "axis": alt.Axis(format=".0e", tickCount=6)}
    chart = alt.Chart(charts.data(rows)).mark_line(strokeWidth=2, point={"size": 40, **charts.INVISIBLE})
    chart = chart.encode(
        x=alt.X("direction:Q", title="direction, by variance", scale=alt.Scale(nice=False)),
        y=alt.Y("fraction:Q", title="fraction of the variance", **log_axis),
        tooltip=["step:N", "direction:Q", alt.Tooltip("fraction:Q", format=".2e")],
    )
    description = "; ".join(f"{step}: first direction {f[0]:.0%}" for step, f in spectra.items())
    chart = _color_by_step(chart, snapshots).add_params(charts.zoom())
    return charts.figure(chart, f"Spectrum of the {output}s. {description}")


def _color_by_step(chart: alt.Chart, snapshots: Sequence[Snapshot]) -> alt.Chart:
    """Color from early to late; a click in the legend picks a snapshot."""
    names = [_step_text(snapshot) for snapshot in snapshots]
    scale = charts.color_scale(names, charts.ramp(len(names)))
    chart = chart.encode(color=alt.Color("step:N", title=None, scale=scale))
    return charts.legend_filter(chart, "step", 1, 0.1)


def _ranks(snapshots: Sequence[Snapshot]) -> Markup:
    rows = []
    for snapshot in snapshots:
        for output in ("representation", "embedding"):
            if spectrum := getattr(snapshot, output):
                row = {"step": snapshot.step, "rank": spectrum.effective_rank}
                rows.append({"output": f"{output}s", **row, "directions": len(spectrum.variance_fractions)})
    scale = charts.color_scale(list(dict.fromkeys(row["output"] for row in rows)))
    chart = alt.Chart(charts.data(rows)).mark_line(strokeWidth=2, point={"size": 60, "filled": True})
    chart = chart.encode(
        x=alt.X("step:Q", title="step", axis=alt.Axis(tickCount=8)),
        y=alt.Y("rank:Q", title="effective rank, directions"),
        color=alt.Color("output:N", title=None, scale=scale),
        tooltip=["output:N", "step:Q", alt.Tooltip("rank:Q", format=".1f"), "directions:Q"],
    )
    texts = [f"{r['output']} at step {r['step']}: {r['rank']:.1f} of {r['directions']}" for r in rows]
    return charts.figure(chart, "Effective ranks. " + "; ".join(texts), height=200)


def _matrix_text(snapshot: Snapshot) -> str:
    mean = formatting.number(_mean(snapshot.correlation.diagonal), 2)
    return f"Cross-correlation matrix, {_step_text(snapshot)}: mean diagonal {mean}"


def _step_text(snapshot: Snapshot) -> str:
    return f"step {snapshot.step:,}" if snapshot.step else "before training"
