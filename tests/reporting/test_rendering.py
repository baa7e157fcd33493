"""Escaping, JSON data and tables, read back by Python's HTML parser."""

from html.parser import HTMLParser
import json

import pytest

from barlow_jax.reporting import rendering

HOSTILE = '</p><script>alert(\'"&")</script>'


class _Echo(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def _chart(values):
    return _Echo(rendering.component("chart", spec=values, alternative=HOSTILE, caption=HOSTILE, height=9))


def test_text_and_attributes_come_back_unchanged():
    echo = _chart([])
    assert [tag for tag, _ in echo.tags] == ["figure", "div", "script", "figcaption"]
    assert echo.tags[1][1]["aria-label"] == HOSTILE and HOSTILE in echo.texts


def test_json_data_ends_no_script_and_has_no_nan():
    echo = _chart([HOSTILE])
    (data,) = [text for text in echo.texts if text.startswith("[")]
    assert json.loads(data) == [HOSTILE]
    with pytest.raises(ValueError, match="JSON"):
        _chart([float("nan")])


def test_an_unknown_name_in_a_template_is_an_error():
    with pytest.raises(rendering.jinja2.UndefinedError, match="spectra"):
        rendering.render("spectrum.html")


@pytest.mark.parametrize(("first_number", "expected"), [(1, [1, 2]), (2, [2]), (None, [])])
def test_number_columns_are_marked_in_heads_and_cells(first_number, expected):
    rows = [[HOSTILE, "x", 1], ["b", "y", None]]
    echo = _Echo(rendering.table(["name", "text", "count"], rows, "caption", first_number=first_number))
    heads = [attrs for tag, attrs in echo.tags if tag == "th" and attrs["scope"] == "col"]
    cells = [attrs for tag, attrs in echo.tags if tag == "td"]
    assert [index for index, head in enumerate(heads) if head.get("class") == "number"] == expected
    assert [1 + index for index, cell in enumerate(cells[:2]) if cell.get("class") == "number"] == expected
    assert "-" in echo.texts and HOSTILE in echo.texts
