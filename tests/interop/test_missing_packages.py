"""Formats whose packages are missing, or that have no such model, name the remedy."""

import sys

import pytest

from barlow_jax.errors import UserError
from barlow_jax.interop import export_onnx, export_state_dict, export_timm, torch_module


@pytest.mark.parametrize(
    ("write", "package", "extra"),
    [
        (export_onnx.write, "jax2onnx", "onnx"),
        (lambda given, _: torch_module.build(given), "torch", "interop"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(write, package, extra, small, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"barlow_jax\[{extra}\]"):
        write(small(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [export_timm.write, export_state_dict.write])
def test_an_own_encoder_has_other_formats(write, small, tmp_path):
    with pytest.raises(UserError, match="--format=onnx") as error:
        write(small(encoder="own_parts:ConvNet"), tmp_path)
    message = str(error.value)
    assert all(f"--format={form}" in message for form in ("orbax", "jax")) and "own_parts:ConvNet" in message
    assert not list(tmp_path.iterdir())


def test_torch_is_not_imported_next_to_tensorflow(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", object())
    with pytest.raises(UserError, match="TensorFlow"):
        torch_module.build(small())
