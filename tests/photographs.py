"""Real photographs to compare with Pillow on, for the tests of both interpreters; fixtures that they import."""

import io
import pathlib

import numpy as np
from PIL import Image
import pytest
from sklearn.datasets import load_sample_image

IMAGENET = pathlib.Path(__file__).parents[1].with_name("shared") / "imagenet_sample"


@pytest.fixture(scope="session")
def imagenet_files():
    """Encoded bytes of two dozen JPEGs of ImageNet, where its sample lies beside the project."""
    paths = sorted(IMAGENET.rglob("*.JPEG"))
    if not paths:
        pytest.skip(f"no ImageNet JPEGs in {IMAGENET}: the comparison on them is left out")
    return [path.read_bytes() for path in paths[:: max(1, len(paths) // 24)][:24]]


@pytest.fixture(scope="session", params=["china.jpg", "flower.jpg", "noise", "imagenet"])
def images(request):
    """uint8 crops `[height, width, 3]`: three places of a photograph, or one of every ImageNet file, or noise."""
    if request.param == "noise":
        return [np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)]
    if request.param == "imagenet":
        files = request.getfixturevalue("imagenet_files")
        return [np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))[40:200, 60:260] for file in files]
    photograph = load_sample_image(request.param)
    return [photograph[top : top + 160, left : left + 200] for top, left in ((100, 200), (0, 0), (267, 440))]
