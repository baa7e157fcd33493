"""Charts by Vega-Lite, in the page's own colours; they are drawn by the page's script from what is put here."""

from collections.abc import Iterable, Mapping, Sequence
import math
from typing import Any

import altair as alt

from barlow_jax.report.html import Html, element, script

# Colours are the style sheet's, light or dark.
NUM_COLORS = 8
UNSEEN = {"fillOpacity": 0, "strokeOpacity": 0}  # a point that is there for its tooltip
# Zoom by the wheel with Ctrl (or a pinch on a trackpad) alone, and no move by touch: a page scrolls over its charts.
_ZOOM = "wheel![event.ctrlKey || event.metaKey]"
_MOVE = "[pointerdown[event.pointerType === 'mouse'], window:pointerup] > window:pointermove!"
_CONFIG = {
    "background": "transparent",
    "aria": False,  # each figure is told as a whole
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "gridColor": "currentColor",
        "gridOpacity": 0.13,
        "domainOpacity": 0.5,
        "tickOpacity": 0.5,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 12,
        "labelOverlap": True,
    },
    "axisY": {"minExtent": 44},
    "legend": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "orient": "top",
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelLimit": 140,
        "columns": {"expr": "width < 420 ? 2 : 5"},
    },
    "text": {"color": "currentColor"},
    "rule": {"color": "currentColor"},
}


def color(place: int) -> str:
    """Of the run, or the series, at this place."""
    return f"var(--color-{place % NUM_COLORS})"


def ramp(number: int) -> list[str]:
    """So many colours from the first moment's to the last one's."""
    shares = [100 * place / max(1, number - 1) for place in range(number)]
    return [f"color-mix(in oklab, var(--late) {share:.0f}%, var(--early))" for share in shares]


def scale(names: Sequence[str], colors: Sequence[str] | None = None) -> alt.Scale:
    """Names as colours, in their order."""
    return alt.Scale(domain=list(names), range=list(colors or map(color, range(len(names)))))


def data(rows: Iterable[Mapping[str, Any]]) -> alt.Data:
    """Rows in a few digits; what is not finite is null."""
    return alt.Data(values=[{key: _plain(value) for key, value in row.items()} for row in rows])


def zoom() -> alt.Parameter:
    """A selection that moves and zooms the horizontal axis."""
    return alt.selection_interval(bind="scales", encodings=["x"], zoom=_ZOOM, translate=_MOVE)


def figure(chart: alt.TopLevelMixin, alternative: str, caption: str | None = None, height: int = 230) -> Html:
    """A chart as wide as its place.

    Args:
      chart: one view, or layers.
      alternative: what it shows, for who cannot see it.
      caption: below it.
      height: pixels.
    """
    whole = chart.properties(width="container", height=height).configure(**_CONFIG)
    spec = whole.to_dict(validate=False)  # each part was when it was made
    del spec["$schema"]  # an address
    style = f"min-height:{height}px"  # the page does not jump when it is drawn
    place = element("div", class_="chart", role="img", aria_label=alternative, style=style)
    return element("figure", place, script(spec), element("figcaption", caption) if caption else None)


def _plain(value: Any) -> Any:
    if isinstance(value, str) or value is None:
        return value
    value = float(value)
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 1e15 else float(f"{value:.5g}")
