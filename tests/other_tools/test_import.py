"""Files that torch itself saved, read and imported; torch runs in processes of its own."""

import importlib.util
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from barlow_jax.__main__ import main
from barlow_jax.errors import UserError
from barlow_jax.experiment.pretrained import load
from barlow_jax.interop import pth, weights

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed here"),
]

# A ResNet-18 with torchvision's module names and random weights, the official model around it (evaluation
# mode), and an optimizer whose state refers to the same function as that of the official code.
MODEL = """
import os, sys, torch
from torch import nn
import torch.nn.functional as F
from safetensors.torch import save_file

class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))

class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        inputs = 8
        for stage in range(4):
            outputs = 8 * 2 ** stage
            blocks = [Block(inputs, outputs, 1 if stage == 0 else 2), Block(outputs, outputs, 1)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            inputs = outputs

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return x.mean((2, 3))

class Twins(nn.Module):
    def __init__(self, biases):
        super().__init__()
        self.backbone = Backbone()
        self.projector = nn.Sequential(
            nn.Linear(64, 12, bias=biases), nn.BatchNorm1d(12), nn.ReLU(),
            nn.Linear(12, 12, bias=biases), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 6, bias=False))
        if not biases:
            self.bn = nn.BatchNorm1d(6, affine=False)

def exclude_bias_and_norm(p):
    return p.ndim == 1

torch.manual_seed(0)
twins = Twins(biases=False)
for name, tensor in twins.state_dict().items():
    if name.endswith("running_mean"): tensor.normal_(0, 0.1)
    if name.endswith("running_var"): tensor.uniform_(0.5, 2)
model = {f"module.{key}": tensor for key, tensor in twins.state_dict().items()}
optimizer = torch.optim.SGD(twins.parameters(), 0.1, momentum=0.9).state_dict()
optimizer["param_groups"][0]["weight_decay_filter"] = exclude_bias_and_norm
folder = sys.argv[1]
torch.save({"epoch": 7, "model": model, "optimizer": optimizer}, f"{folder}/checkpoint.pth")
torch.save({"epoch": 7, "model": model}, f"{folder}/old.pth.tar", _use_new_zipfile_serialization=False)
save_file(model, f"{folder}/model.safetensors")
backbone = twins.backbone
torch.save(backbone.state_dict(), f"{folder}/resnet18.pth")
torch.save({"state_dict": backbone.half().state_dict(), "arch": "resnet18", "ema": {}}, f"{folder}/more.pth")
in_model = {k.removeprefix("module.backbone."): t for k, t in model.items() if ".backbone." in k}
backbone.float().load_state_dict(in_model)
vicreg = Twins(biases=True).state_dict()
torch.save({"model": {f"module.{key}": tensor for key, tensor in vicreg.items()}}, f"{folder}/vicreg.pth")
save_file(vicreg, f"{folder}/vicreg.safetensors")

images = torch.randint(0, 256, (3, 64, 64, 3))
levels = (images / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
with torch.no_grad():
    features = backbone.eval()(levels.permute(0, 3, 1, 2))
save_file({"images": images.to(torch.uint8), "features": features}, f"{folder}/features.safetensors")

class Trap:
    def __reduce__(self):
        return eval, (f"open({folder + '/sprung'!r}, 'w').close()",)

torch.save({"model": model, "optimizer": Trap()}, f"{folder}/trap.pth")
old = {"_use_new_zipfile_serialization": False}
torch.save({"model": model, "optimizer": Trap()}, f"{folder}/old_trap.pth", **old)
for name in ("trap", "old_trap"):  # without the refusal, the code runs
    torch.load(f"{folder}/{name}.pth", weights_only=False)
    os.remove(folder + "/sprung")
torch.save(backbone, f"{folder}/module.pth")
torch.save([1, 2], f"{folder}/list.pth")
torch.save({"conv1.weight": "text", "bn1.weight": torch.ones(8)}, f"{folder}/text.pth")
whole = open(f"{folder}/resnet18.pth", "rb").read()
open(f"{folder}/cut.pth", "wb").write(whole[: len(whole) // 2])
open(f"{folder}/empty.pth", "wb").close()
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("torch")
    subprocess.run([sys.executable, "-c", MODEL, str(folder)], check=True)
    return folder


def _equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one.encoder[3:5], other.encoder[3:5])
    for mine, theirs in zip(one.projector[1:4], other.projector[1:4], strict=True):
        jax.tree.map(np.testing.assert_array_equal, mine, theirs)


@pytest.mark.parametrize("name", ["checkpoint.pth", "old.pth.tar"])
def test_the_official_checkpoint_has_the_bits_that_torch_writes_as_safetensors(files, name):
    found = weights.read(files / name)
    _equal(found, weights.read(files / "model.safetensors"))
    assert found.projector.shape.projector == (12, 12, 6) and found.projector.shape.projector_biases == "none"
    assert "epoch" in found.ignored and ("optimizer" in found.ignored) == (name == "checkpoint.pth")


def test_vicregs_projector_has_biases_but_for_the_last(files):
    found = weights.read(files / "vicreg.pth")
    assert found.projector.shape.projector_biases == "hidden"
    _equal(found, weights.read(files / "vicreg.safetensors"))


def test_features_are_torchs(files):
    """Relative norm 1e-4, float32."""
    given = load_file(files / "features.safetensors")
    features = load(files / "resnet18.pth", devices=jax.devices()[:1])(given["images"])
    distance = np.linalg.norm(features - given["features"]) / np.linalg.norm(given["features"])
    assert distance < 1e-4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("trap.pth", "it holds eval, which may be code and was not run"),
        ("old_trap.pth", "it holds eval, which may be code and was not run"),
        ("module.pth", "it holds __main__.Backbone, which may be code and was not run"),
        ("list.pth", "it holds a list instead of a state dict"),
        ("text.pth", "some entries are not arrays:\n  conv1.weight: a str"),
        ("more.pth", "unknown entries next to 'state_dict':\n  ema"),
        ("cut.pth", "damaged, or not written by torch.save"),
        ("empty.pth", "damaged, or not written by torch.save"),
    ],
)
def test_other_content_is_refused_and_no_code_runs(files, name, words):
    with pytest.raises(UserError) as error:
        weights.read(files / name)
    assert str(error.value).startswith(f"{files / name}: ") and words in str(error.value)
    assert not (files / "sprung").exists()


def test_a_file_is_unpickled_once(files, monkeypatch):
    pth.load(files / "resnet18.pth")
    monkeypatch.setattr(subprocess, "run", None)
    pth.load(files / "resnet18.pth")


def test_it_is_imported_as_the_start_of_a_run(files, tmp_path, capsys, config_file):
    argv = ["import", "--weights", str(files / "checkpoint.pth"), "--config", config_file]
    argv += [
        "--workdir",
        str(tmp_path / "run"),
        "--config.data.image_size=32",
        "--config.data.eval_resize=32",
    ]
    assert main(argv) == 2
    assert "--config.network.projector=12,12,6" in capsys.readouterr().err
    assert main([*argv, "--config.network.projector=12,12,6"]) == 0
    out, said = capsys.readouterr()
    results = json.loads(out)
    assert results["as"] == "start" and results["projector"] == [12, 12, 6]
    assert results["encoder"] == {"encoder": "resnet18", "width": 8, "stem": "imagenet"}
    assert "ignored: optimizer (optimizer state" in said
    found, there = weights.read(files / "model.safetensors"), load(tmp_path / "run")
    jax.tree.map(
        np.testing.assert_array_equal,
        jax.device_get((there.params, there.batch_stats)),
        (found.encoder.params, found.encoder.batch_stats),
    )
