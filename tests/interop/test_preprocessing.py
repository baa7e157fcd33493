"""Preprocessing by the files next to the weights and by the architecture; bicubic evaluation crops."""

import json

import numpy as np
from PIL import Image
import pytest

from barlow_jax.config import overrides
from barlow_jax.config.schema import Data
from barlow_jax.data.pillow_views import evaluation_crop
from barlow_jax.errors import UserError
from barlow_jax.interop import preprocessing

QUICK = "vit_base_patch32_clip_quickgelu_224"
CLIPS = ("vit_base_patch32_clip_224", QUICK)
TIMM = {
    "architecture": "vit_base_patch32_clip_224",
    "pretrained_cfg": {"input_size": [3, 224, 224], "crop_pct": 0.9, "interpolation": "bicubic"}
    | {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
}
DINOV2 = {
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6],
    "do_center_crop": True,
    "resample": 3,
} | {
    "size": {"shortest_edge": 256},
    "crop_size": {"height": 224, "width": 224},
}
VIT = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2, "size": {"height": 224, "width": 224}}


@pytest.mark.parametrize(
    ("beside", "names", "expected", "left"),
    [
        ({"config.json": TIMM}, CLIPS, (224, 248, "bicubic", [0.5] * 3, [0.25] * 3), CLIPS[:1]),
        (
            {"preprocessor_config.json": DINOV2},
            CLIPS,
            (224, 256, "bicubic", [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]),
            CLIPS,
        ),
        (
            {"preprocessor_config.json": VIT},
            ("resnet50",),
            (224, 224, "bilinear", [0.5] * 3, [0.5] * 3),
            ("resnet50",),
        ),
        ({}, ("resnet50",), None, ("resnet50",)),
        (
            {},
            ("vit_small_patch14_dinov2",),
            (518, 518, "bicubic", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            None,
        ),
    ],
)
def test_preprocessing_is_that_of_the_files_or_of_the_architecture(tmp_path, beside, names, expected, left):
    for name, content in beside.items():
        (tmp_path / name).write_text(json.dumps(content))
    found, allowed = preprocessing.read(tmp_path / "model.safetensors", names)
    assert (found and (*found[:3], *map(list, found[3:]))) == expected and tuple(allowed) == (left or names)
    if found:
        tree = overrides.default_config().to_dict()
        found.apply(tree)
        assert tree["data"]["eval_resize"] == expected[1]
        assert {tuple(view["normalize"]["mean"]) for view in tree["recipe"]["views"].values()} == {
            tuple(expected[3])
        }


def test_the_activation_tells_clips_apart_and_a_damaged_file_is_an_error(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"vision_config": {"hidden_act": "quick_gelu"}}))
    assert list(preprocessing.read(tmp_path / "model.safetensors", CLIPS)[1]) == [QUICK]
    config.write_text("{")
    with pytest.raises(UserError, match=r"config\.json"):
        preprocessing.read(tmp_path / "model.safetensors", CLIPS)


def test_a_bicubic_evaluation_crop_is_pillows():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    data = Data(image_size=16, eval_resize=20, eval_interpolation="bicubic")
    expected = np.asarray(Image.fromarray(image).resize((30, 20), Image.Resampling.BICUBIC))[
        2:18, 7:23
    ].astype(int)
    ours = evaluation_crop(image, data).astype(int)
    assert np.abs(ours - expected).max() <= 1
