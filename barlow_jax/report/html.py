"""Markup that cannot be forgotten to escape: what is not made here is text."""

from collections.abc import Iterable, Mapping, Sequence
import html
import json
from typing import Any, NamedTuple

_VOID = ("br", "img", "link", "meta")


class Html(str):
    """Markup. Any other string is text, and is escaped where it becomes a child."""


class Digits(str):
    """A number as it is written."""


class Section(NamedTuple):
    """A part of the page."""

    anchor: str
    title: str
    body: Html


def element(name: str, /, *children: Any, **attributes: Any) -> Html:
    """`<name attributes>children</name>`; None is left out of both, and `class_`, `aria_label` are written as usual."""
    pairs = [(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()]
    told = "".join(f' {key}="{html.escape(str(value))}"' for key, value in pairs if value is not None)
    if name in _VOID:
        return Html(f"<{name}{told}>")
    return Html(f"<{name}{told}>{joined(children)}</{name}>")


def joined(children: Iterable[Any]) -> Html:
    """One after the other; None is nothing."""
    return Html("".join(child if isinstance(child, Html) else _text(child) for child in children))


def paragraph(*children: Any, **attributes: Any) -> Html:
    return element("p", *children, **attributes)


def script(values: Any, **attributes: Any) -> Html:
    """Data for the page's code. JSON has no NaN, and `</script>` in a string must not end it."""
    text = json.dumps(values, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return element("script", Html(text), type="application/json", **attributes)


def table(heads: Sequence[Any], rows: Iterable[Sequence[Any]], caption: str | None = None) -> Html:
    """The first column names the rows; None is "-". Numbers are at the right, a wide table scrolls in its place."""
    rows = list(rows)
    kinds = [
        "number" if all(_is_number(cell) for cell in column) else None for column in zip(*rows, strict=True)
    ]
    told = zip(heads, kinds or [None] * len(heads), strict=True)
    head = element("tr", *(element("th", head, scope="col", class_=kind) for head, kind in told))
    lines = [element("tr", element("th", row[0], scope="row"), *map(_cell, row[1:])) for row in rows]
    titled = element("caption", caption) if caption else None
    made = element("table", titled, element("thead", head), element("tbody", *lines))
    return element("div", made, class_="scroll", tabindex=0, role="region", aria_label=caption or "table")


def details(summary: str, *children: Any, is_open: bool = False) -> Html:
    return element("details", element("summary", summary), *children, **({"open": "open"} if is_open else {}))


def definitions(pairs: Mapping[str, Any]) -> Html:
    """Terms and what they are; None is left out."""
    told = [
        element("div", element("dt", term), element("dd", value))
        for term, value in pairs.items()
        if value is not None
    ]
    return element("dl", *told)


def _is_number(cell: Any) -> bool:
    return cell is None or isinstance(cell, int | float | Digits)


def _cell(cell: Any) -> Html:
    return element("td", "-" if cell is None else cell, class_="number" if _is_number(cell) else None)


def _text(value: Any) -> str:
    return "" if value is None else html.escape(str(value))
