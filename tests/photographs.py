"""Fixtures with photographs, to compare augmentation on host and accelerator with Pillow."""

import pathlib

import numpy as np
from PIL import Image
import pytest
import sklearn.datasets
from sklearn.datasets import load_sample_image

# Two dozen JPEGs of ImageNet, from a folder `shared/imagenet_sample` next to the project. They are in no
# package; without them the tests have scikit-learn's photographs and noise.
_SAMPLE = sorted((pathlib.Path(__file__).parents[1].with_name("shared") / "imagenet_sample").rglob("*.JPEG"))
IMAGENET = _SAMPLE[:: max(1, len(_SAMPLE) // 24)][:24]
JPEG_FILES = [*pathlib.Path(sklearn.datasets.__file__).parent.glob("images/*.jpg"), *IMAGENET]


@pytest.fixture(
    scope="session", params=["china.jpg", "flower.jpg", "noise", *(["imagenet"] if IMAGENET else [])]
)
def images(request):
    """Return uint8 crops `[height, width, 3]`: three of a photograph, one of each ImageNet file, or noise."""
    if request.param == "noise":
        return [np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)]
    if request.param == "imagenet":
        return [np.asarray(Image.open(path).convert("RGB"))[40:200, 60:260] for path in IMAGENET]
    photograph = load_sample_image(request.param)
    return [photograph[top : top + 160, left : left + 200] for top, left in ((100, 200), (0, 0), (267, 440))]
