"""HTML from the Jinja templates in `templates/`. Every inserted value is escaped, except `Markup`."""

from collections.abc import Iterable, Mapping, Sequence
import functools
import json
import tomllib
from typing import Any

import jinja2
from markupsafe import Markup

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("barlow_jax.reporting"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
# For the filter `tojson`, which also escapes `<`, so that no string ends a <script>. JSON has no NaN.
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}


def render(template: str, **values: Any) -> Markup:
    """Return the rendered template, a file of `templates/`."""
    return Markup(_ENVIRONMENT.get_template(template).render(values))


@functools.cache
def read_data(name: str) -> Mapping[str, Any]:
    """Return the content of a .toml or .json file of `templates/`, which is read once."""
    text, *_ = _ENVIRONMENT.loader.get_source(_ENVIRONMENT, name)
    return tomllib.loads(text) if name.endswith(".toml") else json.loads(text)


def paragraph(text: str) -> Markup:
    """Return one paragraph."""
    return Markup("<p>{}</p>\n").format(text)


def component(name: str, **values: Any) -> Markup:
    """Return the rendered macro `name` of `templates/components.html`."""
    return getattr(_ENVIRONMENT.get_template("components.html").module, name)(**values)


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Any]], caption: str, *, first_number: int | None = 1
) -> Markup:
    """Return a table that scrolls if it is too wide.

    The first cell of a row is its title; None is shown as "-". `first_number` is the index of the first
    right-aligned column, None if no column holds numbers.
    """
    first_number = len(heads) if first_number is None else first_number
    return component("table", heads=heads, rows=list(rows), caption=caption, first_number=first_number)
