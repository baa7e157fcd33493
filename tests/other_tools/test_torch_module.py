"""to_torch: the module of an encoder folder has our features."""

import numpy as np
import pytest

from barlow_jax.config.schema import Data
from barlow_jax.interop import export_orbax

pytestmark = pytest.mark.interop
CODE = """
import barlow_jax, torch
module = barlow_jax.to_torch({folder!r})
assert isinstance(module, torch.nn.Module) and not module.training
pixels = torch.from_numpy(given[0]).permute(0, 3, 1, 2)
with torch.no_grad():
    give(np.stack([module(pixels).numpy(), module(pixels / 255).numpy()]))
"""
KINDS = [
    {"encoder": "resnet8", "width": 8, "stem": "cifar"},
    {"encoder": "resnet50"},
    {"encoder": "vit_tiny", "patch": 16},
]


@pytest.mark.parametrize("network", KINDS, ids=str)
def test_the_features_are_ours(trained, features, other_tool, images, relative, tmp_path, network):
    given, batch = trained(Data(image_size=64, eval_resize=64), **network), images(64)
    folder = tmp_path / "encoder"
    export_orbax.write(given, folder)
    theirs, ours = other_tool("torchvision", CODE.format(folder=str(folder)), batch), features(given, batch)
    assert np.ptp(ours) > 0.01
    for of_dtype in theirs:
        assert relative(of_dtype, ours) < 1e-4
