"""The reference of the config keys covers the schema, and docs/config.md is current."""

import pathlib

import pytest

from barlow_jax.config import reference
from barlow_jax.config.fields import Spec, walk
from barlow_jax.config.schema import Config

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "config.md"


def test_docs_config_md_is_current():
    assert DOCS.read_text() == reference.format_markdown(), (
        "run: python -m barlow_jax config --markdown docs/config.md"
    )


def test_keys_are_documented_in_sentences():
    keys = reference.keys_of(Config()).values()
    assert not [key.name for key in keys if not key.doc.endswith(".") or "  " in key.doc]


def test_defaults_lie_within_their_bounds():
    assert not [key for key, field, value in walk(Config()) if not field.metadata["spec"].accepts(value)]


@pytest.mark.parametrize(
    ("spec", "inside", "outside"),
    [
        ({"min": 1}, [1, 2.5, None, (1, 2), ()], [0, (1, 0), float("nan"), float("inf")]),
        ({"above": 0, "max": 1}, [0.1, 1], [0, 1.1, float("nan")]),
        ({"min": 0, "below": 1}, [0, 0.9], [-0.1, 1]),
        ({"non_empty": True}, [(0,), -5.0, 10**400], [(), float("-inf")]),
        ({}, [True, "text", (), 0.0], [float("nan")]),
    ],
)
def test_bounds(spec, inside, outside):
    assert all(map(Spec("", **spec).accepts, inside))
    assert not any(map(Spec("", **spec).accepts, outside))
