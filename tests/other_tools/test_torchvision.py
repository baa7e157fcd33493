"""torchvision's own models with exported weights: strict, and the same features."""

import numpy as np
import pytest

from barlow_jax.config.schema import Data
from barlow_jax.interop import export_state_dict

pytestmark = pytest.mark.interop
FORWARD = """
mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in ({mean}, {std}))
images = torch.from_numpy(given[0]).permute(0, 3, 1, 2)
with torch.no_grad():
    give(model.eval()((images / 255 - mean) / std).numpy())
"""
EVERY_KIND = [
    {"encoder": "resnet18"},
    {"encoder": "resnet50"},
    {"encoder": "resnet8"},
    {"encoder": "resnet10", "stem": "cifar"},
    {"encoder": "resnet8", "width": 16, "stem": "cifar"},
    {"encoder": "resnet50", "width": 32},
    {"encoder": "resnet34", "width": 8, "batch_norm_epsilon": 1e-3},
]


def _code(entries, out, given):
    levels = given.normalize
    load = "\n".join(entries["load"]).replace("{out}", str(out))
    return load + FORWARD.format(mean=list(levels.mean), std=list(levels.std))


@pytest.mark.parametrize("network", EVERY_KIND, ids=str)
def test_the_lines_that_are_told_build_a_model_with_the_same_features(
    trained, features, other_tool, images, relative, tmp_path, network
):
    given = trained(Data(image_size=64, eval_resize=64), **network)
    (tmp_path / "out").mkdir()
    entries = export_state_dict.write(given, tmp_path / "out")
    batch = images(64)
    theirs = other_tool("torchvision", _code(entries, tmp_path / "out", given), batch)
    ours = features(given, batch)
    assert ours.shape == (3, given.num_features) and np.ptp(ours) > 0.1
    assert relative(theirs, ours) < 1e-4


def test_the_pth_is_a_plain_state_dict_with_the_same_bits(trained, other_tool, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    entries = export_state_dict.write(trained(encoder="resnet18", width=8), out)
    code = f"""
import torch
from safetensors.torch import load_file
one = torch.load("{out}/encoder.pth", map_location="cpu", weights_only=True)
other = load_file("{out}/encoder.safetensors")
assert type(one) in (dict, __import__("collections").OrderedDict)
give(np.array([set(one) == set(other), len(one), all(torch.equal(one[k], other[k]) for k in other)]))
"""
    np.testing.assert_array_equal(other_tool("torch", code), [True, 120, True])
    assert entries["pth"] == "encoder.pth"
