"""The page: one HTML file that needs nothing else, neither the network nor another file."""

from collections import Counter
from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Any

import vl_convert

from barlow_jax.io import files
from barlow_jax.report import (
    curves,
    evaluations,
    formatting,
    images,
    maps,
    plan_section,
    setup_section,
    snapshot_section,
    style,
    summary,
)
from barlow_jax.report.html import Html, Section, element, joined, paragraph
from barlow_jax.report.schema import ModelInspection, Run
from barlow_jax.version import __version__

# Nothing is fetched, whatever a name or a value in the page may be. Vega compiles its expressions.
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'"
)
_MOST_NAMED = 4  # in the title


def write(
    runs: Sequence[Run],
    look: ModelInspection | None,
    out: pathlib.Path,
    *,
    chip_hour_price: float | None = None,
    why_not: str | None = None,
) -> dict[str, Any]:
    """Writes the report of some runs, whole or not at all.

    Args:
      runs: one or more; colours in charts are in their order.
      look: what the first run's network makes of images, or None.
      out: the file.
      chip_hour_price: of one chip for one hour, in any currency; None leaves money out.
      why_not: a sentence for the page, why there is no look, or nothing of several steps; None: there is no checkpoint.

    Returns:
      `path`, `bytes`, `runs` by name, `sections` by anchor.
    """
    if not runs:
        raise ValueError("a report needs one run at least")
    runs = _distinct(runs)
    why_not = (
        why_not or f"{runs[0].name} has no checkpoint that can be read: its network could not be looked at."
    )
    sections = _sections(runs, look, chip_hour_price, why_not)
    text = _document(runs, sections)
    files.write_text(out, text)
    return {
        "path": str(out),
        "bytes": len(text.encode()),
        "runs": [run.name for run in runs],
        "sections": [section.anchor for section in sections],
    }


def _sections(
    runs: Sequence[Run], look: ModelInspection | None, chip_hour_price: float | None, why_not: str
) -> list[Section]:
    return [
        summary.section(runs, look, chip_hour_price),
        curves.section(runs),
        evaluations.section(runs),
        snapshot_section.correlation(look, why_not),
        snapshot_section.spectra(look, why_not),
        images.views(look, why_not),
        images.neighbours(look, why_not),
        maps.section(look, why_not),
        setup_section.section(runs, chip_hour_price),
        plan_section.section(runs),
    ]


def _distinct(runs: Sequence[Run]) -> list[Run]:
    """Runs whose folders are called alike go by their paths."""
    names = Counter(run.name for run in runs)
    runs = [dataclasses.replace(r, name=str(r.workdir)) if names[r.name] > 1 else r for r in runs]
    seen: Counter[str] = Counter()
    for place, run in enumerate(runs):
        seen[run.name] += 1
        if seen[run.name] > 1:  # the same run twice
            runs[place] = dataclasses.replace(run, name=f"{run.name} ({seen[run.name]})")
    return runs


def _document(runs: Sequence[Run], sections: Sequence[Section]) -> str:
    names = [run.name for run in runs]
    title = ", ".join(names) if len(names) <= _MOST_NAMED else f"{len(names)} runs, {names[0]} and others"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("link", rel="icon", href="data:,"),
        element("title", f"{title} · barlow_jax report"),
        element("style", Html(style.sheet())),
    )
    links = [element("li", element("a", one.anchor.capitalize(), href=f"#{one.anchor}")) for one in sections]
    header = element(
        "header",
        element("h1", title),
        paragraph(_subtitle(runs), class_="subtitle"),
        element("nav", element("ul", *links), aria_label="Sections"),
    )
    parts = [
        element("section", element("h2", one.title), one.body, id=one.anchor, aria_label=one.title)
        for one in sections
    ]
    absent = element("noscript", paragraph("Charts are drawn by JavaScript, which is off here."))
    footer = element("footer", f"Made by barlow_jax {__version__}. This file is whole: it loads nothing.")
    # In a function of its own, the names of the library are not the page's.
    library = Html(f"(() => {{{vl_convert.javascript_bundle()}\n}})();")
    scripts = [element("script", library), element("script", Html(style.CODE))]
    body = element("body", header, absent, element("main", *parts), footer, *scripts)
    return "<!doctype html>\n" + element("html", joined([head, body]), lang="en") + "\n"


def _subtitle(runs: Sequence[Run]) -> str:
    told = {
        f"{formatting.method(run.config)} on {run.config['data.name']}, {run.config.get('network.encoder')}": None
        for run in runs
        if "data.name" in run.config
    }
    return " · ".join(told) or "Runs without a readable config.json"
