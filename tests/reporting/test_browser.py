"""The page in Chromium: layout, charts, downloads, screenshots, console and network."""

import base64
import io
import json
import pathlib
import re
import time
from urllib.parse import unquote
import xml.etree.ElementTree as ElementTree

import chromium
import numpy as np
from PIL import Image
import pytest
import reported

from barlow_jax.reporting import page

BROWSER = chromium.find()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome")
_TOO_WIDE = """[...document.querySelectorAll('body *')]
    .filter(el => !el.closest('.scroll, svg, #vg-tooltip-element'))
    .filter(el => el.getBoundingClientRect().right > innerWidth + 0.5)
    .map(el => el.outerHTML.slice(0, 120))"""

# Rows of cards or charts whose last element ends before its container does.
_HALF_EMPTY = """[...document.querySelectorAll('.verdicts, .grid, .cards')].flatMap(box => {
    const right = box.getBoundingClientRect().right, rows = new Map();
    for (const child of box.children) rows.set(Math.round(child.getBoundingClientRect().top), child);
    return [...rows.values()].filter(last => last.getBoundingClientRect().right < right - 2)
        .map(last => last.outerHTML.slice(0, 120));
})"""
# Tables whose first column of results is not visible without scrolling.
_HIDDEN_RESULTS = """[...document.querySelectorAll('.scroll td:nth-child(2)')]
    .filter(td => td.offsetParent && td.getBoundingClientRect().right > innerWidth)
    .map(td => td.textContent)"""
_SECTIONS = """Object.fromEntries([...document.querySelectorAll('section')].map(el => {
    const box = el.getBoundingClientRect();
    return [el.id, [Math.round(box.top + scrollY), Math.round(box.height)]];
}))"""
_REFERENCE = pathlib.Path(__file__).with_name("screenshots.json")


def _compare_with_reference(tab, folder, variant):
    """Compare height, brightness and color of each section of a screenshot with the stored ones.

    The tolerances allow for another font. A change that is intended is stored by deleting screenshots.json
    and running this file twice; look at the screenshots first.
    """
    tab.run("scrollTo({top: 0, behavior: 'instant'})")
    tab.screenshot(folder / f"{variant}.png")
    pixels = np.asarray(Image.open(folder / f"{variant}.png").convert("RGB"), np.float32) / 255
    measured = {}
    for name, (top, height) in tab.run(_SECTIONS).items():
        part = pixels[top : top + height]
        colored = part.max(2) - part.min(2) > 0.25
        measured[name] = [height, round(float(part.mean()), 3), round(float(colored.mean()), 4)]
    stored = json.loads(_REFERENCE.read_text()) if _REFERENCE.exists() else {}
    if variant not in stored:
        _REFERENCE.write_text(json.dumps(stored | {variant: measured}).replace("]}, ", "]},\n") + "\n")
        pytest.fail(f"{_REFERENCE.name} had no values of {variant!r}; they are stored now")
    assert list(measured) == list(stored[variant])
    for name, (height, brightness, color) in measured.items():
        expected = stored[variant][name]
        assert height == pytest.approx(expected[0], rel=0.15), (variant, name)
        assert brightness == pytest.approx(expected[1], abs=0.03), (variant, name)
        assert color == pytest.approx(expected[2], rel=0.35, abs=0.004), (variant, name)


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    home = tmp_path_factory.mktemp("chromium")
    with chromium.tab(BROWSER, home) as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Write the report of two runs, one with long names that cannot be broken into lines."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    runs = [
        reported.run(results={"evaluate": reported.evaluate(), "plan": reported.plan()}),
        reported.run("a_run_whose_name_is_long_" * 4, changes={"data.data_dir": "/a/path/" * 30}),
    ]
    sections = page.write(runs, reported.inspection(), out, device_hour_price=1.5)["sections"]
    return out, sections


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1200, False)])
def test_the_page_opens_without_messages_and_nothing_is_wider_than_the_window(
    tab, report, tmp_path, width, dark
):
    out, sections = report
    tab.open(out, width=width, dark=dark)
    assert tab.console == []
    assert [url for url in tab.requests if not url.startswith("data:")] == [out.resolve().as_uri()]
    heights = tab.run(
        "Object.fromEntries([...document.querySelectorAll('section')].map(el => [el.id, el.offsetHeight]))"
    )
    assert list(heights) == sections and all(height > 60 for height in heights.values())
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run(_TOO_WIDE) == []
    drawn = tab.run(
        "[...document.querySelectorAll('.chart')].map(el => el.querySelectorAll('svg path, svg text').length)"
    )
    assert len(drawn) > 15 and min(drawn) > 5
    labels = "[...document.querySelectorAll('.chart')].map(el => [el.role, el.ariaLabel.slice(0, 4)])"
    assert ["img", "Loss"] in tab.run(labels) and ["img", "Vega"] not in tab.run(labels)
    assert tab.run("[...document.images].every(el => el.complete && el.naturalWidth > 0)")
    assert tab.run(_HALF_EMPTY) == []
    for theme in (dark, not dark):
        tab.resize(width=width, dark=theme)
        _compare_with_reference(tab, tmp_path, f"{width} {'dark' if theme else 'light'}")


@pytest.fixture
def opened(tab, report):
    """Return the tab with the report, opened only once."""
    if tab.run("location.href") != report[0].resolve().as_uri():
        tab.open(report[0], width=1200)
    tab.resize(width=1200)  # the width at which it was opened: nothing is redrawn
    return tab


def test_text_has_enough_contrast_in_both_themes(opened):
    """WCAG 2.1 requires a contrast of 4.5 for text; measured for each text color on page and card."""
    for dark in (False, True):
        opened.resize(width=1200, dark=dark)
        style = "getComputedStyle(document.documentElement).getPropertyValue('--{}').trim()"
        names = ["text", "muted", "link", "ok", "warning", "failure"]
        text_colors, backgrounds = (
            [_luminance(opened.run(style.format(n))) for n in group] for group in (names, ["page", "card"])
        )
        for color in text_colors:
            assert min((max(color, b) + 0.05) / (min(color, b) + 0.05) for b in backgrounds) > 4.5


def test_hovering_over_a_mark_of_the_projection_shows_its_image(opened):
    opened.point_at("#projection .role-mark text")
    opened.wait("document.querySelector('#vg-tooltip-element img')?.naturalWidth === 8")


def test_a_click_in_a_legend_highlights_one_run(opened):
    lines = "[...document.querySelector('#curves .chart').querySelectorAll('.mark-line path[stroke]')]"
    faint = f"{lines}.filter(el => el.getAttribute('opacity') === '0.12').length"
    assert opened.run(faint) == 0
    opened.point_at("#curves .chart .role-legend-symbol path", click=True)
    opened.wait(f"{lines}.length === 2 && {faint} === 1")


def test_the_legend_of_dashes_is_visible(opened):
    path = "document.querySelector('#curves .role-legend-symbol path[stroke-dasharray]')"
    assert opened.run(f"getComputedStyle({path}).stroke") == opened.run(
        "getComputedStyle(document.body).color"
    )


def test_no_row_is_half_empty_and_results_are_visible_at_any_width(opened):
    for width in (390, 700, 900, 1100):
        opened.resize(width=width)
        assert opened.run(_HALF_EMPTY) == [] and opened.run(_HIDDEN_RESULTS) == [], width


def test_charts_are_downloaded_in_plain_colors_on_white_from_a_dark_page_too(opened, tmp_path):
    """Vega-Lite draws the dashes of a legend transparent. The second run covers the first, which is equal."""
    opened.resize(width=1200, dark=True)
    charts = "[...document.querySelectorAll('#curves .chart')]"
    chart = f"{charts}.find(el => el.querySelector('.role-legend-symbol [stroke-dasharray]'))"
    urls = opened.run(f"Promise.all([svgOf({chart}), pngOf({chart})])")
    svg, png = unquote(urls[0].split(",", 1)[1]), base64.b64decode(urls[1].split(",", 1)[1])
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and "var(" not in svg and "currentColor" not in svg
    assert {"rgb(194,87,12)", "rgb(28,32,38)"} <= set(re.findall(r'stroke="([^"]+)"', svg)), (
        "--color-1, --text"
    )
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    assert pixels.shape[1] == 2 * round(float(root.get("width")))
    assert (pixels[0, 0] == 255).all() and (np.abs(pixels - [194, 87, 12]).sum(2) < 20).sum() > 1000
    opened.allow_downloads(tmp_path)
    opened.run("document.querySelectorAll('#curves .download button').forEach((b, i) => i < 2 && b.click())")
    deadline = time.monotonic() + 10
    while {path.name for path in tmp_path.iterdir()} != {"Loss_over_epochs.png", "Loss_over_epochs.svg"}:
        assert time.monotonic() < deadline, list(tmp_path.iterdir())
        time.sleep(0.05)


def test_the_wheel_scrolls_the_page_and_ctrl_wheel_zooms(opened):
    labels = "document.querySelector('#curves .chart').querySelectorAll('.role-axis-label text')"
    ticks = f"[...{labels}].map(el => el.textContent)"
    before = opened.run(ticks)
    opened.point_at("#curves .chart .mark-line path", wheel=-300)
    time.sleep(0.3)
    assert opened.run(ticks) == before
    opened.point_at("#curves .chart .mark-line path", wheel=-300, ctrl=True)
    opened.wait(f"{ticks}.join() !== {json.dumps(','.join(before))}")


def test_print_is_light_if_the_screen_is_dark(opened, tmp_path):
    background = "getComputedStyle(document.body).backgroundColor"
    opened.resize(width=1200, dark=True)
    assert opened.run(background) != "rgb(255, 255, 255)"
    opened.resize(width=1200, dark=True, media="print")
    assert opened.run(background) == "rgb(255, 255, 255)"
    opened.run("dispatchEvent(new Event('beforeprint'))")
    opened.resize(width=740, dark=True, media="print")
    widths = (
        "[...document.querySelectorAll('.chart svg')].map(el => [el.clientWidth, +el.getAttribute('width')])"
    )
    assert all(300 < shown == drawn < 720 for shown, drawn in opened.run(widths)), "text keeps its size"
    assert opened.run("[...document.querySelectorAll('details')].every(block => block.open)")
    _compare_with_reference(opened, tmp_path, "print")
    opened.pdf(tmp_path / "report.pdf")
    opened.run("dispatchEvent(new Event('afterprint'))")
    assert (tmp_path / "report.pdf").stat().st_size > 50_000


def _luminance(color):
    """Return the relative luminance of "#rrggbb" (WCAG 2.1)."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
