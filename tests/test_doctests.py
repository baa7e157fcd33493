"""The examples in the docstrings."""

import doctest
import importlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PROMPT = re.compile(r"^ *>>> ", re.MULTILINE)
EXAMPLES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): len(PROMPT.findall(path.read_text()))
    for path in sorted((ROOT / "barlow_jax").rglob("*.py"))
}


@pytest.mark.parametrize("name", [name for name, examples in EXAMPLES.items() if examples])
def test_every_example_of_the_module_runs(name):
    result = doctest.testmod(importlib.import_module(name))
    assert (result.failed, result.attempted) == (0, EXAMPLES[name])


def test_examples_are_found():
    assert sum(examples > 0 for examples in EXAMPLES.values()) > 20
