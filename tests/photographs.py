"""Fixtures with photographs, to compare augmentation on host and accelerator with Pillow."""

import io
import pathlib

import numpy as np
from PIL import Image
import pytest
from sklearn.datasets import load_sample_image

IMAGENET = pathlib.Path(__file__).parents[1].with_name("shared") / "imagenet_sample"


@pytest.fixture(scope="session")
def imagenet_files():
    """Return the encoded bytes of two dozen ImageNet JPEGs, if the sample exists next to the project."""
    paths = sorted(IMAGENET.rglob("*.JPEG"))
    if not paths:
        pytest.skip(f"no ImageNet JPEGs in {IMAGENET}")
    return [path.read_bytes() for path in paths[:: max(1, len(paths) // 24)][:24]]


@pytest.fixture(scope="session", params=["china.jpg", "flower.jpg", "noise", "imagenet"])
def images(request):
    """Return uint8 crops `[height, width, 3]`: three of a photograph, one of each ImageNet file, or noise."""
    if request.param == "noise":
        return [np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)]
    if request.param == "imagenet":
        files = request.getfixturevalue("imagenet_files")
        return [np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))[40:200, 60:260] for file in files]
    photograph = load_sample_image(request.param)
    return [photograph[top : top + 160, left : left + 200] for top, left in ((100, 200), (0, 0), (267, 440))]
