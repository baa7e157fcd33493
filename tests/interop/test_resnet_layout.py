"""Layout against torchvision's published keys and shapes, and the arrays of the network."""

from flax import nnx
import jax
import numpy as np
import pytest
from resnet_state_dict import to_torchvision

from barlow_jax.config.architectures import RESNETS
from barlow_jax.config.schema import Network as NetworkConfig
from barlow_jax.errors import UserError
from barlow_jax.interop import layouts
from barlow_jax.interop.layouts import read
from barlow_jax.networks.network import Network
from barlow_jax.networks.resnet import ResNet

RESNET50_PARAMETERS = 25_557_032 - 2_049_000  # torchvision's, less the classifier
DEEP = ("resnet101", "resnet152", "resnet200")


def _shapes(name, width=4, stem="imagenet"):
    model = nnx.eval_shape(lambda: ResNet(RESNETS[name]._replace(width=width, stem=stem), rngs=nnx.Rngs(0)))
    return [nnx.to_pure_dict(nnx.state(model, kind)) for kind in (nnx.Param, nnx.BatchStat)]


def _encoder(name, width=4, stem="imagenet", seed=0):
    """Return distinct noise arrays."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), _shapes(name, width, stem))


@pytest.fixture
def tensors():
    return to_torchvision(*_encoder("resnet10"))


@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
@pytest.mark.parametrize("name", [name for name in RESNETS if name not in DEEP])
def test_a_round_trip_changes_no_bit(name, stem):
    params, stats = _encoder(name, 4, stem)
    encoder = read(to_torchvision(params, stats))
    assert encoder.network_keys == {"encoder": name, "width": 4, "stem": stem}
    assert jax.tree.structure((encoder.params, encoder.batch_stats)) == jax.tree.structure((params, stats))
    jax.tree.map(np.testing.assert_array_equal, (encoder.params, encoder.batch_stats), (params, stats))
    again = to_torchvision(encoder.params, encoder.batch_stats)
    assert encoder.ignored == [key for key in again if key.endswith("num_batches_tracked")]


def test_timms_resnetv2_without_preactivation_is_read_too():
    facts = RESNETS["resnet50"]._replace(width=4)
    params, stats = _encoder("resnet50")
    encoder = read(layouts.write(facts, "timm", params, stats))
    assert (encoder.names, encoder.facts, encoder.format) == (("resnet50",), facts, "timm")
    jax.tree.map(np.testing.assert_array_equal, (encoder.params, encoder.batch_stats), (params, stats))


@pytest.mark.parametrize("name", ["resnet101", pytest.param("resnet200", marks=pytest.mark.slow)])
def test_deep_ones_are_recognized(name):
    encoder = read(to_torchvision(*_encoder(name, 1)))
    assert encoder.network_keys == {"encoder": name, "width": 1, "stem": "imagenet"}


def test_images_of_equal_channels_have_the_same_activations_with_any_number_of_channels():
    rgb = read(to_torchvision(*_encoder("resnet8", stem="cifar")))
    grays = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)
    for channels in (1, 5):
        other = rgb.with_channels(channels)
        assert other.params["conv"]["kernel"].shape == (3, 3, channels, 4)
        again = read(to_torchvision(other.params, other.batch_stats))
        np.testing.assert_array_equal(again.params["conv"]["kernel"], other.params["conv"]["kernel"])
        stems = [
            jax.lax.conv_general_dilated(
                np.repeat(grays, encoder.channels, axis=3),
                encoder.params["conv"]["kernel"],
                (1, 1),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
            for encoder in (rgb, other)
        ]
        np.testing.assert_allclose(*stems, rtol=1e-4, atol=1e-5)
    assert rgb.with_channels(3) is rgb


def test_the_trees_are_those_that_the_network_makes():
    network = Network(NetworkConfig(encoder="resnet18", width=4, projector=(8,)))
    made = [tree["encoder"] for tree in jax.eval_shape(network.init, jax.random.key(0))]
    encoder = read(to_torchvision(*_encoder("resnet18")))
    given = jax.eval_shape(lambda: [encoder.params, encoder.batch_stats])
    assert jax.tree.structure(given) == jax.tree.structure(made)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), given) == jax.tree.map(
        lambda x: (x.shape, x.dtype), made
    )


def test_resnet50_has_the_318_keys_of_torchvision():
    tensors = to_torchvision(*_encoder("resnet50", 64))
    assert len(tensors) == 318
    trained = [t for key, t in tensors.items() if not key.endswith(("mean", "var", "tracked"))]
    assert sum(t.size for t in trained) == RESNET50_PARAMETERS
    published = {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_mean": (64,),
        "bn1.num_batches_tracked": (),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer1.0.downsample.1.running_var": (256,),
        "layer1.2.conv1.weight": (64, 256, 1, 1),
        "layer2.0.conv2.weight": (128, 128, 3, 3),
        "layer3.5.bn3.bias": (1024,),
        "layer4.2.conv3.weight": (2048, 512, 1, 1),
        "layer4.2.bn3.weight": (2048,),
    }
    assert {key: tensors[key].shape for key in published} == published
    assert list(tensors)[:7] == [
        "conv1.weight",
        "bn1.weight",
        "bn1.bias",
        "bn1.running_mean",
        "bn1.running_var",
        "bn1.num_batches_tracked",
        "layer1.0.conv1.weight",
    ]
    assert tensors["bn1.num_batches_tracked"].dtype == np.int64


def test_resnet18_has_the_120_keys_of_torchvision_and_no_shortcut_in_its_first_stage():
    tensors = to_torchvision(*_encoder("resnet18"))
    assert len(tensors) == 120
    shortcuts = {key.split(".downsample")[0] for key in tensors if "downsample" in key}
    assert shortcuts == {"layer2.0", "layer3.0", "layer4.0"}


def test_a_kernel_changes_its_axes_and_nothing_else():
    params, stats = _encoder("resnet10")
    there, here = (
        to_torchvision(params, stats)["layer2.0.conv1.weight"],
        params["stages"][1][0]["conv1"]["kernel"],
    )
    assert there[5, 1, 2, 0] == here[2, 0, 1, 5] and there.flags.c_contiguous


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "module.backbone."])
def test_prefixes_are_removed_and_the_classifier_is_left_out(tensors, prefix):
    classifier = {f"{prefix}fc.weight": np.ones((10, 32)), f"{prefix}fc.bias": np.ones(10)}
    encoder = read({prefix + key: value for key, value in tensors.items()} | classifier)
    plain = read(tensors)
    jax.tree.map(
        np.testing.assert_array_equal,
        (encoder.params, encoder.batch_stats),
        (plain.params, plain.batch_stats),
    )
    assert encoder.ignored == [prefix + key for key in plain.ignored] + list(classifier)


def test_counters_may_be_absent(tensors):
    encoder = read({k: t for k, t in tensors.items() if not k.endswith("tracked")})
    assert encoder.ignored == []


def test_halves_become_single_precision(tensors):
    encoder = read({key: t.astype(np.float16) for key, t in tensors.items()})
    kernel = encoder.params["conv"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, tensors["conv1.weight"].transpose(2, 3, 1, 0).astype(np.float16))


def test_every_wrong_key_is_named_at_once(tensors):
    del tensors["bn1.bias"], tensors["layer2.0.bn1.running_var"]
    tensors["layer3.0.conv2.weight"] = tensors["layer3.0.conv2.weight"][:, :-1]
    tensors |= {"bn.num_batches_tracked": np.zeros([]), "layer2.0.fc.weight": np.ones((2, 2))}
    with pytest.raises(UserError) as error:
        read(tensors)
    assert str(error.value).splitlines() == [
        "not a resnet10 in the layout torchvision:",
        "  bn1.bias: missing",
        "  layer2.0.bn1.running_var: missing",
        "  layer3.0.conv2.weight: has shape [16, 15, 3, 3], expected [16, 16, 3, 3]",
        "  bn.num_batches_tracked: unknown",
        "  layer2.0.fc.weight: unknown",
    ]


def test_a_missing_stem_is_named(tensors):
    del tensors["conv1.weight"]
    with pytest.raises(UserError, match=r"conv1\.weight: missing"):
        read(tensors)


def test_a_key_with_and_without_prefix_is_an_error(tensors):
    with pytest.raises(UserError, match=r"module\.bn1\.bias: unknown"):
        read(tensors | {"module.bn1.bias": tensors["bn1.bias"]})


def test_a_stem_of_another_size_is_an_error(tensors):
    with pytest.raises(UserError, match=r"conv1\.weight.*\[4, 3, 5, 5\].*7, 7"):
        read(tensors | {"conv1.weight": np.zeros((4, 3, 5, 5))})


def test_other_numbers_of_blocks_are_an_error(tensors):
    more = {key.replace("layer4.0", "layer4.1"): t for key, t in tensors.items()}
    with pytest.raises(UserError, match=r"layer4\.1\.conv2\.weight: unknown"):
        read(tensors | more)


def test_a_deep_stem_is_refused_with_its_keys(tensors):
    """Stem of timm's gluon_resnet50_v1c and similar models: three convolutions instead of one."""
    del tensors["conv1.weight"]
    tensors |= {"conv1.0.weight": np.zeros((2, 3, 3, 3)), "conv1.1.running_mean": np.zeros(2)}
    with pytest.raises(UserError) as error:
        read(tensors)
    assert str(error.value).splitlines()[1:] == [
        "  conv1.weight: missing",
        "  conv1.0.weight: unknown",
        "  conv1.1.running_mean: unknown",
    ]


@pytest.mark.parametrize("keys", [[], ["patch_embed.weight", "cls_token"], ["conv1.weight", "bn1.weight"]])
def test_another_network_is_an_error_that_lists_its_keys(keys):
    with pytest.raises(UserError, match="not an encoder in a supported layout") as error:
        read({key: np.ones(3) for key in keys})
    assert all(key in str(error.value) for key in keys)
