from html.parser import HTMLParser
import json

import pytest

from barlow_jax.report.html import Digits, Html, element, script, table

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


def test_text_and_attributes_come_back_as_they_went_in():
    echo = _Echo(element("p", HOSTILE, title=HOSTILE, class_=None))
    assert echo.tags == [("p", {"title": HOSTILE})] and "".join(echo.texts) == HOSTILE


def test_markup_in_a_formatted_string_is_text_again():
    assert element("p", f"{Html('<b>')}") == "<p>&lt;b&gt;</p>"


def test_data_end_no_script_and_have_no_nan():
    echo = _Echo(script([HOSTILE]))
    assert [tag for tag, _ in echo.tags] == ["script"] and json.loads(echo.texts[0]) == [HOSTILE]
    with pytest.raises(ValueError, match="JSON"):
        script([float("nan")])


def test_columns_of_numbers_are_headed_as_such():
    echo = _Echo(table(["name", "count", "word"], [["a", 1, "x"], ["b", None, 2], ["c", Digits("3.0"), 4]]))
    heads = [attrs for tag, attrs in echo.tags if tag == "th" and attrs["scope"] == "col"]
    assert [head.get("class") for head in heads] == [None, "number", None]
    assert "-" in echo.texts
