"""Chromium opens the page: what no parser sees."""

import json
import time

import chromium
import pytest
import reported

from barlow_jax.report import page

PROGRAM = chromium.find()
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="there is no Chromium (or Chrome) to open the page with"
)
_WIDER = """[...document.querySelectorAll('body *')].filter(it => !it.closest('.scroll, svg, #vg-tooltip-element')
    && it.getBoundingClientRect().right > innerWidth + 0.5).map(it => it.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    home = tmp_path_factory.mktemp("chromium")
    with chromium.tab(PROGRAM, home) as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of two runs, one of them with names that are long and have no place to break at."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    runs = [
        reported.run(results={"evaluate": reported.evaluate(), "plan": reported.plan()}),
        reported.run("a_run_whose_name_is_long_" * 4, changes={"data.data_dir": "/a/path/" * 30}),
    ]
    sections = page.write(runs, reported.inspect_model(), out, chip_hour_price=1.5)["sections"]
    return out, sections


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1200, False)])
def test_it_opens_without_a_word_and_nothing_is_wider_than_the_window(tab, report, tmp_path, width, dark):
    out, sections = report
    tab.open(out, width=width, dark=dark)
    assert tab.said == []
    assert [url for url in tab.fetched if not url.startswith("data:")] == [out.resolve().as_uri()]
    heights = tab.run(
        "Object.fromEntries([...document.querySelectorAll('section')].map(it => [it.id, it.offsetHeight]))"
    )
    assert list(heights) == sections and all(height > 60 for height in heights.values())
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run(_WIDER) == []
    drawn = tab.run(
        "[...document.querySelectorAll('.chart')].map(it => it.querySelectorAll('svg path, svg text').length)"
    )
    assert len(drawn) > 15 and min(drawn) > 5
    assert tab.run("[...document.images].every(it => it.complete && it.naturalWidth > 0)")
    tab.screenshot(tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes()[:4] == b"\x89PNG"


@pytest.fixture
def opened(tab, report):
    """Opened already, where another test did."""
    if tab.run("location.href") != report[0].resolve().as_uri():
        tab.open(report[0], width=1200)
    tab.show(width=1200)  # as it was opened: nothing is drawn anew
    return tab


def test_text_is_far_from_its_ground_in_both_themes(opened):
    """WCAG 2.1, contrast: 4.5 for text of the page; here of its own colours, against page and card."""
    for dark in (False, True):
        opened.show(width=1200, dark=dark)
        style = "getComputedStyle(document.documentElement).getPropertyValue('--{}').trim()"
        names = ["text", "muted", "link", "good", "look", "bad"]
        inks, grounds = (
            [_luminance(opened.run(style.format(n))) for n in group] for group in (names, ["page", "card"])
        )
        for ink in inks:
            assert min((max(ink, g) + 0.05) / (min(ink, g) + 0.05) for g in grounds) > 4.5


def test_pointing_at_a_label_of_the_map_shows_its_image(opened):
    opened.point_at("#map .role-mark text")
    opened.wait("document.querySelector('#vg-tooltip-element img')?.naturalWidth === 8")


def test_a_click_in_a_legend_leaves_one_run_strong(opened):
    lines = "[...document.querySelector('#curves .chart').querySelectorAll('.mark-line path[stroke]')]"
    faint = f"{lines}.filter(it => it.getAttribute('opacity') === '0.12').length"
    assert opened.run(faint) == 0
    opened.point_at("#curves .chart .role-legend-symbol path", click=True)
    opened.wait(f"{lines}.length === 2 && {faint} === 1")


def test_the_wheel_scrolls_the_page_and_with_ctrl_it_zooms(opened):
    ticks = "[...document.querySelector('#curves .chart').querySelectorAll('.role-axis-label text')].map(it => it.textContent)"
    before = opened.run(ticks)
    opened.point_at("#curves .chart .mark-line path", wheel=-300)
    time.sleep(0.3)
    assert opened.run(ticks) == before
    opened.point_at("#curves .chart .mark-line path", wheel=-300, ctrl=True)
    opened.wait(f"{ticks}.join() !== {json.dumps(','.join(before))}")


def test_print_is_light_where_the_screen_is_dark(opened, tmp_path):
    ground = "getComputedStyle(document.body).backgroundColor"
    opened.show(width=1200, dark=True)
    assert opened.run(ground) != "rgb(255, 255, 255)"
    opened.show(width=1200, dark=True, media="print")
    assert opened.run(ground) == "rgb(255, 255, 255)"
    opened.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").stat().st_size > 50_000


def _luminance(color):
    """Relative, of "#rrggbb" (WCAG 2.1)."""
    levels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return sum(share * level for share, level in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
