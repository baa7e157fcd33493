"""Names, shapes and configuration of the timm folder, without timm, which tests/other_tools loads it with."""

import dataclasses
import json
import math

import pytest
from safetensors import safe_open

from barlow_jax.config.recipe import Normalize, Recipe, View
from barlow_jax.config.schema import Config, Data, Network
from barlow_jax.errors import UserError
from barlow_jax.interop import export_timm
from barlow_jax.interop.encoder import TrainedEncoder


def test_the_config_says_what_timm_needs_to_make_features_of_a_file(trained, tmp_path):
    given = dataclasses.replace(trained(encoder="resnet18"), license="mit")
    entries = export_timm.write(given, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["architecture"], config["num_classes"], config["num_features"]) == ("resnet18", 0, 512)
    assert config["model_args"] == {} == entries["model_args"]
    assert config["pretrained_cfg"] == {
        "input_size": [3, 224, 224],
        "fixed_input_size": False,
        "crop_pct": 0.875,
        "crop_mode": "center",
        "interpolation": "bilinear",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "num_classes": 0,
        "pool_size": [7, 7],
        "first_conv": "conv1",
        "classifier": "fc",
        "license": "mit",
    }
    with safe_open(tmp_path / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt"} and len(file.keys()) == entries["keys"] == 120
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1, "who may read one may read all"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert (tmp_path / "README.md").read_text().startswith("---\nlibrary_name: timm\n")


def test_timms_arithmetic_gives_the_resized_side_back_for_every_size():
    for size in range(1, 400):
        for resize in range(size, size + 200):
            assert math.floor(size / export_timm.crop_fraction(size, resize)) == resize
            assert export_timm.crop_fraction(size, resize) == pytest.approx(size / resize, rel=1e-15)
    assert export_timm.crop_fraction(224, 224) == 1.0


def test_a_small_resnet_is_described_by_the_constructor_arguments(trained):
    model = export_timm.timm_model(trained(encoder="resnet10"))
    assert (model.architecture, model.arguments) == ("resnet18", {"layers": [1, 1, 1, 1]})
    assert "layer4.0.conv1.weight" in model.tensors


def test_a_model_of_five_channels_is_not_converted_from_rgb(trained):
    """With a first_conv, timm would convert its weights to five channels, or leave it untrained."""
    data = Data(channels=5, pixel_dtype="float32")
    subject = trained(data, encoder="resnet18")
    one_for_all = Recipe({"a": View(normalize=Normalize((0.5,), (0.2,)))})
    subject = dataclasses.replace(subject, config=dataclasses.replace(subject.config, recipe=one_for_all))
    model = export_timm.timm_model(subject)
    config = export_timm.config_of(subject, model)
    assert model.tensors["conv1.weight"].shape == (64, 5, 7, 7)
    assert config["model_args"] == {"in_chans": 5}
    pretrained = config["pretrained_cfg"]
    assert pretrained["input_size"] == [5, 224, 224] and pretrained["first_conv"] is None
    assert pretrained["mean"] == [0.5] * 5 and pretrained["std"] == [0.2] * 5


def test_a_wider_bottleneck_is_timms_second_version_without_preactivation(trained):
    model = export_timm.timm_model(trained(encoder="resnet50", width=16))
    assert model.architecture == "resnetv2_50"
    assert model.arguments == {
        "preact": False,
        "layers": [3, 4, 6, 3],
        "stem_chs": 16,
        "channels": [64, 128, 256, 512],
    }
    shapes = {key: value.shape for key, value in model.tensors.items()}
    published = {
        "stem.conv.weight": (16, 3, 7, 7),
        "stem.norm.running_var": (16,),
        "stages.0.blocks.0.downsample.conv.weight": (64, 16, 1, 1),
        "stages.0.blocks.0.downsample.norm.bias": (64,),
        "stages.3.blocks.2.conv3.weight": (512, 128, 1, 1),
        "stages.3.blocks.2.norm3.running_mean": (512,),
    }
    assert published.items() <= shapes.items() and len(shapes) == 318
    assert (model.first_conv, model.classifier) == ("stem.conv", "head.fc")


def test_a_transformer_has_its_size_and_patch_in_the_arguments(trained, tmp_path):
    export_timm.write(trained(Data(image_size=32, eval_resize=32), encoder="vit_tiny", patch=8), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architecture"] == "vit_tiny_patch16_224"
    assert config["model_args"] == {"img_size": 32, "patch_size": 8}
    assert config["pretrained_cfg"]["fixed_input_size"] and config["pretrained_cfg"]["pool_size"] is None
    with safe_open(tmp_path / "model.safetensors", "np") as file:
        assert file.get_slice("pos_embed").get_shape() == [1, 17, 192]


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"stem": "cifar"}, "no ResNet with the cifar stem"),
        ({"encoder": "resnet8"}, "four stages, but resnet8 has 3"),
        ({"encoder": "resnet18", "width": 128}, "resnet18 must have width 64.* is 128"),
        ({"encoder": "resnet50", "width": 36}, "resnet50 must have width a multiple of 8.* is 36"),
        ({"batch_norm_epsilon": 1e-3}, "epsilon of 1e-5, but config.network.batch_norm_epsilon is 0.001"),
    ],
)
def test_what_timm_does_not_have_is_refused_with_the_formats_that_do(network, words, tmp_path):
    given = TrainedEncoder(Config(network=Network(**network)), {"encoder": {}}, {"encoder": {}}, 1)
    with pytest.raises(UserError, match=rf"--format=timm: timm.*{words}.*--format=torchvision"):
        export_timm.write(given, tmp_path)
    assert not list(tmp_path.iterdir())
