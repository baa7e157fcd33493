"""Documentation of the public names, and the API reference that pdoc makes of it."""

import inspect
import re
import subprocess
import sys

import pytest

import barlow_jax

NAMES = sorted(set(barlow_jax.__all__) - {"__version__"})


def _full_doc(name):
    """Return the docstring of a function, with that of the function that it is like."""
    doc = inspect.getdoc(getattr(barlow_jax, name)) or ""
    like = re.search(r"\blike `(\w+)`", doc)
    return doc + _full_doc(like[1]) if like else doc


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_documented(name):
    value = getattr(barlow_jax, name)
    assert inspect.getdoc(value)
    if inspect.isclass(value):
        public = [member for key, member in vars(value).items() if not key.startswith("_")]
        members = [m for m in public if inspect.isfunction(m) or isinstance(m, property)]
        assert all(inspect.getdoc(member) for member in members)
    if inspect.isfunction(value):
        doc = _full_doc(name)
        signature = inspect.signature(value)
        assert not [p for p in signature.parameters if not re.search(rf"^ +{p}: |`{p}`", doc, re.MULTILINE)]
        assert "Raises:" in doc and signature.return_annotation is not inspect.Signature.empty
        returns = signature.return_annotation not in (None, "None")
        assert not returns or re.search(r"Returns:|^Return ", doc, re.MULTILINE)


@pytest.mark.slow
def test_the_reference_has_every_public_name(tmp_path):
    command = (sys.executable, "-m", "pdoc", "-d", "google", "-o", tmp_path, "barlow_jax")
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    page = (tmp_path / "barlow_jax.html").read_text()
    assert not [name for name in NAMES if f'id="{name}"' not in page]
