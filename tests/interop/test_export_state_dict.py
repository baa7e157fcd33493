"""Keys and bits of the torchvision folder, without torch, which tests/other_tools loads it with."""

import jax
import numpy as np
import pytest
from safetensors import safe_open

from barlow_jax.config.recipe import Normalize, Recipe, View
from barlow_jax.config.schema import Config, Data, Network
from barlow_jax.errors import UserError
from barlow_jax.interop import export_state_dict, weights
from barlow_jax.interop.encoder import TrainedEncoder


def test_the_weights_are_those_that_go_in_under_torchvisions_keys(trained, tmp_path):
    given = trained(encoder="resnet18", width=8)
    entries = export_state_dict.write(given, tmp_path)
    read = weights.read(tmp_path / "encoder.safetensors").encoder
    assert read.network_keys == {"encoder": "resnet18", "width": 8, "stem": "imagenet"}
    trees = given.params["encoder"], given.batch_stats["encoder"]
    jax.tree.map(np.testing.assert_array_equal, (read.params, read.batch_stats), trees)
    with safe_open(tmp_path / "encoder.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt"}
        assert len(file.keys()) == entries["keys"] == 120  # torchvision's 122 less fc


def test_without_torch_the_results_say_that_there_is_no_pth(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    entries = export_state_dict.write(trained(encoder="resnet8", width=8), tmp_path)
    assert (
        entries["pth"].startswith("not written, because torch is not installed")
        and not (tmp_path / "encoder.pth").exists()
    )


def test_where_torch_fails_the_reason_is_reported(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setattr(export_state_dict, "_TO_PTH", "raise OSError('libtorch.so is another machine\\'s')")
    entries = export_state_dict.write(trained(encoder="resnet8", width=8), tmp_path)
    assert "libtorch.so is another machine's" in entries["pth"]
    assert (tmp_path / "encoder.safetensors").exists()


def test_a_transformer_is_refused_with_the_formats_that_take_it(tmp_path):
    given = TrainedEncoder(Config(network=Network(encoder="vit_tiny")), {}, {}, 1)
    with pytest.raises(UserError, match=r"vit_tiny.*--format=timm"):
        export_state_dict.write(given, tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_normalization_is_passed_to_detectron2():
    half = View(normalize=Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))
    given = TrainedEncoder(Config(recipe=Recipe({"a": half, "b": View()})), {}, {}, 1)
    assert export_state_dict.fits_detectron(given)
    assert (
        'MODEL.PIXEL_MEAN "[127.5, 127.5, 127.5]" MODEL.PIXEL_STD "[63.75, 63.75, 63.75]"'
        in export_state_dict._pixels(given)
    )
    assert not export_state_dict._pixels(TrainedEncoder(Config(), {}, {}, 1))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"encoder": "resnet50"}, "model = torchvision.models.resnet50()"),
        ({"encoder": "resnet50"}, "model.conv1 = torch.nn.Conv2d(5, 64, 7, stride=2, padding=3, bias=False)"),
        (
            {"encoder": "resnet200", "width": 64},
            "ResNet(torchvision.models.resnet.Bottleneck, [3, 24, 36, 3])",
        ),
        ({"encoder": "resnet18", "stem": "cifar"}, "torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)"),
        (
            {"encoder": "resnet50", "width": 128},
            "_make_layer(torchvision.models.resnet.Bottleneck, 1024, 3, stride=2)",
        ),
        ({"encoder": "resnet8"}, "model.layer4 = torch.nn.Identity()"),
        ({"encoder": "resnet18", "batch_norm_epsilon": 1e-3}, "eps=0.001"),
    ],
)
def test_construction_code(trained, network, words):
    channels = 5 if "Conv2d(5" in words else 3
    lines = export_state_dict.construction_code(
        TrainedEncoder(Config(network=Network(**network), data=Data(channels=channels)), {}, {}, 1)
    )
    assert words in "\n".join(lines) and compile("\n".join(lines), "lines", "exec")


def test_the_card_says_what_the_images_are(trained, tmp_path):
    export_state_dict.write(
        trained(Data(image_size=32, eval_resize=36), encoder="resnet8", width=8), tmp_path
    )
    card = (tmp_path / "README.md").read_text()
    assert "resized to 36 pixels" in card and "32 x 32" in card
    assert 'load_file("encoder.safetensors")' in card and "etectron" not in card
