"""Vega-Lite charts in the page's colors. The page's script draws them from the specs returned here."""

from collections.abc import Iterable, Mapping, Sequence
import math
from typing import Any

import altair as alt
from markupsafe import Markup

from barlow_jax.reporting import rendering

NUM_COLORS = 8  # --color-0 to --color-7 of the style sheet, for light and dark screens
INVISIBLE = {"fillOpacity": 0, "strokeOpacity": 0}  # a point that only carries a tooltip
# Zoom only by Ctrl and the wheel (or a pinch on a trackpad) and no pan by touch: pages scroll over charts.
_ZOOM = "wheel![event.ctrlKey || event.metaKey]"
_PAN = "[pointerdown[event.pointerType === 'mouse'], window:pointerup] > window:pointermove!"


def color(index: int) -> str:
    """Return the CSS color of the run or series with this index."""
    return f"var(--color-{index % NUM_COLORS})"


def ramp(number: int) -> list[str]:
    """Return this many CSS colors, from early to late."""
    percents = [100 * index / max(1, number - 1) for index in range(number)]
    return [f"color-mix(in oklab, var(--late) {percent:.0f}%, var(--early))" for percent in percents]


def color_scale(names: Sequence[str], colors: Sequence[str] | None = None) -> alt.Scale:
    """Return a scale from names to colors, by default the colors of their indices."""
    return alt.Scale(domain=list(names), range=list(colors or map(color, range(len(names)))))


def data(rows: Iterable[Mapping[str, Any]]) -> alt.Data:
    """Return rows as chart data: five significant digits, null for values that are not finite."""
    return alt.Data(values=[{key: _rounded(value) for key, value in row.items()} for row in rows])


def zoom() -> alt.Parameter:
    """Return a selection that pans and zooms the horizontal axis."""
    return alt.selection_interval(bind="scales", encodings=["x"], zoom=_ZOOM, translate=_PAN)


def legend_filter(chart: alt.Chart, field: str, opacity: float, dimmed: float) -> alt.Chart:
    """Return the chart with a legend in which a click picks a value of `field` and dims the others."""
    picked = alt.selection_point(fields=[field], bind="legend")
    condition = alt.condition(picked, alt.value(opacity), alt.value(dimmed))
    return chart.encode(opacity=condition).add_params(picked)


def figure(
    chart: alt.TopLevelMixin, alternative: str, caption: str | None = None, height: int = 230
) -> Markup:
    """Return a chart that fills the width of its container and is this many pixels high.

    The alternative describes the chart to readers who cannot see it; the caption stands below it.
    """
    # ARIA is off in vega.json, since the figure has a label of its own.
    configured = chart.properties(width="container", height=height).configure(
        **rendering.read_data("vega.json")
    )
    spec = configured.to_dict(validate=False)  # altair validated each part when it was created
    del spec["$schema"]  # a web address
    return rendering.component("chart", spec=spec, alternative=alternative, caption=caption, height=height)


def _rounded(value: Any) -> Any:
    if isinstance(value, str) or value is None:
        return value
    value = float(value)
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 1e15 else float(f"{value:.5g}")
