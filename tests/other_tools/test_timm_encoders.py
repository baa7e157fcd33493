"""timm's vision transformers and ConvNeXts: features of its tensors here, and of our export there."""

import importlib.util
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from barlow_jax.experiment.exporting import read_trained
from barlow_jax.experiment.pretrained import load
from barlow_jax.interop import export_timm

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed here"),
]
WRITE = """
import timm, torch, safetensors.torch
torch.manual_seed(0)
model = timm.create_model({name!r}, num_classes=0, **{arguments}).eval()
state = {{key: value + 0.05 * torch.randn_like(value) for key, value in model.state_dict().items()}}
safetensors.torch.save_file(state, {path!r}, metadata={{"format": "pt"}})
model.load_state_dict(state)
"""
READ = """
import timm, torch
model = timm.create_model("local-dir:{out}", pretrained=True, **{arguments}).eval()
"""
FORWARD = """
mean, std = (torch.tensor(values) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
with torch.no_grad():
    give(model(((torch.from_numpy(given[0]) / 255 - mean) / std).permute(0, 3, 1, 2)).numpy())
"""
DYNAMIC = {"dynamic_img_size": True}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("vit_small_patch14_reg4_dinov2", DYNAMIC),
        ("vit_small_patch16_224", DYNAMIC),
        ("vit_base_patch32_clip_quickgelu_224", DYNAMIC),
        ("vit_small_patch16_dinov3", {}),
        ("convnext_tiny", {}),
        ("convnextv2_atto", {}),
    ],
)
def test_features_agree_in_and_out_and_the_file_comes_back(
    other_tool, images, relative, tmp_path, name, arguments
):
    path, batch = (
        tmp_path / "model.safetensors",
        images(448 if "patch14" in name or "patch32" in name else 224, 2),
    )
    theirs = other_tool("timm", WRITE.format(name=name, arguments=arguments, path=str(path)) + FORWARD, batch)
    (tmp_path / "config.json").write_text(f'{{"architecture": "{name}"}}')
    encoder = load(path)
    if "clip" not in name:
        assert relative(encoder(batch), theirs) < 1e-4
    out = tmp_path / "out"
    out.mkdir()
    export_timm.write(read_trained(encoder.config, path), out)
    written, given = load_file(out / "model.safetensors"), load_file(path)
    assert {k: v.tobytes() for k, v in written.items()} == {k: v.tobytes() for k, v in given.items()}
    back = other_tool("timm", READ.format(out=out, arguments=arguments) + FORWARD, batch)
    assert relative(back, theirs) < 1e-6


def test_the_stored_features_are_timms(relative, tmp_path):
    script = pathlib.Path(__file__).with_name("timm_models.py")
    subprocess.run([sys.executable, str(script), str(tmp_path / "features.npz")], check=True)
    stored = np.load(script.parents[1] / "interop" / "timm_features.npz")
    again = np.load(tmp_path / "features.npz")
    assert set(again) == set(stored)
    for key in stored:
        if key.endswith(".keys"):
            assert str(again[key]) == str(stored[key])
        else:
            assert relative(again[key], stored[key]) < 1e-5
