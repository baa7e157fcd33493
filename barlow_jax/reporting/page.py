"""The report: one self-contained HTML file that needs neither the network nor another file."""

from collections import Counter
from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

from markupsafe import Markup
import vl_convert

from barlow_jax.io import files
from barlow_jax.io.paths import Path
from barlow_jax.reporting import (
    curve_section,
    evaluation_section,
    formatting,
    image_section,
    next_steps,
    plan_section,
    rendering,
    setup_section,
    snapshot_section,
    summary_section,
)
from barlow_jax.reporting.schema import ModelInspection, Run
from barlow_jax.version import __version__

_MAX_NAMES = 4  # in the title


def write(
    runs: Sequence[Run],
    inspection: ModelInspection | None,
    out: Path,
    *,
    device_hour_price: float | None = None,
    missing_reason: str | None = None,
) -> dict[str, Any]:
    """Write the report of one or more runs, atomically; chart colors follow their order.

    Args:
      runs: at least one run.
      inspection: inspection of the first run's model, or None.
      out: file to write.
      device_hour_price: price per device-hour, in any currency; None omits prices.
      missing_reason: sentence shown instead of a missing inspection; default: no checkpoint is readable.

    Returns:
      `out`, `bytes`, `runs` (names), `sections` (anchors).
    """
    if not runs:
        raise ValueError("a report needs at least one run")
    runs = [dataclasses.replace(r, device_hour_price=device_hour_price) for r in _with_distinct_names(runs)]
    missing_reason = missing_reason or f"Not available: {runs[0].name} has no readable checkpoint."
    sections = _sections(runs, inspection, missing_reason)
    names = [run.name for run in runs]
    text = rendering.render(
        "page.html",
        title=", ".join(names) if len(names) <= _MAX_NAMES else f"{len(names)} runs: {names[0]} and others",
        subtitle=_subtitle(runs),
        sections=sections,
        version=__version__,
        library=Markup(vl_convert.javascript_bundle()),
    )
    files.write_text(out, text)
    return {"out": str(out), "bytes": out.stat().st_size, "runs": names, "sections": list(sections)}


def _sections(
    runs: Sequence[Run], inspection: ModelInspection | None, missing_reason: str
) -> dict[str, tuple[str, Markup]]:
    """Return title and body of each section by its id, which is its name in the navigation."""

    def inspected(render: Callable[[ModelInspection], Markup]) -> Markup:
        return render(inspection) if inspection else rendering.paragraph(missing_reason)

    return {
        "summary": ("Summary", summary_section.render(runs, inspection)),
        "curves": ("Training curves", curve_section.render(runs)),
        "evaluations": ("Evaluations", evaluation_section.render(runs)),
        "correlation": ("Cross-correlation matrix", inspected(snapshot_section.render_correlation)),
        "spectrum": ("Effective rank and spectrum", inspected(snapshot_section.render_spectrum)),
        "views": ("Augmented views", inspected(image_section.render_views)),
        "neighbors": ("Nearest neighbors", inspected(image_section.render_neighbors)),
        "projection": ("Projection of the test images", inspected(image_section.render_projection)),
        "setup": ("Setup", setup_section.render(runs)),
        "plan": ("Plan and measurement", plan_section.render(runs)),
        "next": ("What to do next", next_steps.render(runs, inspection)),
    }


def _with_distinct_names(runs: Sequence[Run]) -> list[Run]:
    """Rename runs whose folders have the same name to their paths, and number a run that is given twice."""
    names = Counter(run.name for run in runs)
    runs = [dataclasses.replace(r, name=str(r.workdir)) if names[r.name] > 1 else r for r in runs]
    seen: Counter[str] = Counter()
    for index, run in enumerate(runs):
        seen[run.name] += 1
        if seen[run.name] > 1:
            runs[index] = dataclasses.replace(run, name=f"{run.name} ({seen[run.name]})")
    return runs


def _subtitle(runs: Sequence[Run]) -> str:
    descriptions = dict.fromkeys(
        f"{formatting.method(run.config)} on {run.config['data.name']}, {run.config.get('network.encoder')}"
        for run in runs
        if "data.name" in run.config
    )
    return " · ".join(descriptions) or "No readable config.json"
