"""Versions of the packages: bounds in setup.py, and the constraints that hosts and images install with."""

import json
import pathlib
import re
import runpy
import sys
import types

from packaging.requirements import Requirement
import pytest

ROOT = pathlib.Path(__file__).parents[2]
LINUX = {"platform_system": "Linux", "platform_machine": "x86_64"}


@pytest.fixture
def requirements(monkeypatch):
    """Function from a Python version and an extra to the requirements by package."""
    given = {}
    setuptools = types.SimpleNamespace(setup=given.update, find_packages=lambda **_: [])
    monkeypatch.setitem(sys.modules, "setuptools", setuptools)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")

    def applicable(python, extra="tpu"):
        everything = map(Requirement, [*given["install_requires"], *given["extras_require"][extra]])
        where = LINUX | {"python_version": python}
        return {r.name: r.specifier for r in everything if not r.marker or r.marker.evaluate(where)}

    return applicable


@pytest.mark.parametrize("extra", ["tpu", "cuda12", "cuda13"])
def test_each_accelerators_extra_installs_the_jax_of_the_constraints(requirements, extra):
    pins = (ROOT / "launch" / "constraints.txt").read_text()
    pinned = re.search(r"^jax==(\S+)$", pins, re.MULTILINE)[1]
    assert pinned in requirements("3.11", extra)["jax"]


# What pip resolved on each version of Python, and what does not import with it.
@pytest.mark.parametrize(
    ("python", "jax", "flax", "refused"),
    [
        ("3.11", "0.10.2", "0.12.8", [("jax", "0.11.2"), ("flax", "0.12.10")]),
        ("3.12", "0.11.2", "0.12.12", [("jax", "0.10.2"), ("flax", "0.12.8"), ("flax", "0.12.9")]),
        ("3.13", "0.11.2", "0.12.10", [("jax", "0.10.2"), ("flax", "0.12.8"), ("flax", "0.12.9")]),
    ],
)
def test_jax_and_flax_are_bounded_together(requirements, python, jax, flax, refused):
    bounds = requirements(python)
    assert jax in bounds["jax"] and flax in bounds["flax"]
    assert not [pair for pair in refused if pair[1] in bounds[pair[0]]]


@pytest.mark.parametrize("extra", ["tpu", "gcs"])
def test_the_constraints_pin_every_package_within_the_bounds(requirements, extra):
    lines = (ROOT / "launch" / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    for name, bounds in requirements("3.11", extra).items():
        assert pins[re.sub(r"[_.]", "-", name)] in bounds, name
    assert {"jaxlib", "libtpu"} < pins.keys()


def test_the_image_installs_with_the_constraints_and_has_an_init():
    text = (ROOT / "launch" / "Dockerfile").read_text()
    command = json.loads(text.split("ENTRYPOINT ")[1])
    assert command == ["tini", "--", "python", "-m", "barlow_jax"] and re.search(
        r"apt-get install .*tini", text
    )
    assert "ARG EXTRA=tpu\n" in text and '".[$EXTRA,gcs]"' in text, "EXTRA=cuda13 for GPUs"
    assert "launch/constraints.txt" in text and "--constraint constraints.txt" in text
