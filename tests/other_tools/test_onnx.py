"""ONNX Runtime computes the features of an export, for any number of images."""

import numpy as np
import pytest

from barlow_jax.config.schema import Data
from barlow_jax.interop import export_onnx

pytestmark = pytest.mark.interop
KINDS = [
    {"encoder": "resnet8", "width": 8, "stem": "cifar", "dtype": "bfloat16"},
    {"encoder": "resnet50", "width": 16},
    {"encoder": "vit_tiny", "patch": 16},
    {"encoder": "own_parts:ConvNet"},
    {"encoder": "own_parts:Transformer"},
]


@pytest.mark.parametrize("network", KINDS, ids=str)
def test_the_features_are_ours(trained, features, images, relative, tmp_path, network):
    pytest.importorskip("jax2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    given = trained(Data(image_size=32, eval_resize=32), **network)
    entries = export_onnx.write(given, tmp_path)
    assert entries["relative_error"] < 1e-4
    assert {path.name for path in tmp_path.iterdir()} == {"encoder.onnx", "config.json", "README.md"}
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx", providers=["CPUExecutionProvider"])
    float32 = trained(Data(image_size=32, eval_resize=32), **network | {"dtype": "float32"})
    for number in (1, 5):
        batch = images(32, number)
        (theirs,) = session.run(["features"], {"images": batch})
        ours = features(float32, batch)
        assert theirs.shape == (number, given.num_features) and np.ptp(ours) > 0.01
        assert relative(theirs, ours) < 1e-4
