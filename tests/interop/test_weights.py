"""Files of torch tensors with the keys of released checkpoints, written by hand."""

import jax
import numpy as np
from projector_state_dict import to_torch
import pytest
from resnet_state_dict import to_torchvision
from safetensors.numpy import save_file

from barlow_jax.config.schema import Network as NetworkConfig
from barlow_jax.errors import UserError
from barlow_jax.interop import weights
from barlow_jax.networks.network import Network


@pytest.fixture(scope="module")
def trees():
    rng = np.random.default_rng(0)
    shapes = Network(NetworkConfig(encoder="resnet8", width=2, stem="cifar", projector=(6, 4))).shapes()
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)


@pytest.fixture
def tensors(trees):
    return to_torchvision(*(tree["encoder"] for tree in trees))


@pytest.fixture
def full(trees, tensors):
    """The official model: backbone, projector and the BatchNorm of the loss in DistributedDataParallel."""
    model = {f"backbone.{key}": tensor for key, tensor in tensors.items()}
    model |= to_torch(*(tree["projector"] for tree in trees))
    model |= {"bn.running_mean": np.zeros(4), "bn.running_var": np.ones(4)}
    return {f"module.{key}": t for key, t in (model | {"bn.num_batches_tracked": np.array(7)}).items()}


def _assert_equal(encoder, trees):
    arrays = encoder.params, encoder.batch_stats
    jax.tree.map(np.testing.assert_array_equal, arrays, tuple(tree["encoder"] for tree in trees))


def test_an_encoder_alone(tmp_path, trees, tensors):
    classifier = {"fc.weight": np.ones((3, 8), np.float32), "fc.bias": np.ones(3, np.float32)}
    save_file(tensors | classifier, tmp_path / "encoder.safetensors", metadata={"format": "pt"})
    found = weights.read(tmp_path / "encoder.safetensors")
    assert found.projector is None
    assert found.encoder.network_keys == {"encoder": "resnet8", "width": 2, "stem": "cifar"}
    _assert_equal(found.encoder, trees)
    assert found.ignored["fc.weight"] == found.ignored["fc.bias"] == "classifier"
    counters = {key for key in tensors if key.endswith("num_batches_tracked")}
    assert found.ignored.keys() == counters | {*classifier}


def test_the_official_full_model(tmp_path, trees, full):
    save_file(full, tmp_path / "full.safetensors")
    found = weights.read(tmp_path / "full.safetensors")
    _assert_equal(found.encoder, trees)
    jax.tree.map(
        np.testing.assert_array_equal,
        (found.projector.params, found.projector.batch_stats),
        tuple(tree["projector"] for tree in trees),
    )
    of_loss = {key for key, why in found.ignored.items() if "loss" in why}
    assert of_loss == {f"module.bn.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert set(full) - set(found.ignored) == {
        key for key in full if not key.endswith("num_batches_tracked") and not key.startswith("module.bn.")
    }


@pytest.mark.parametrize(
    ("prefix", "others"),
    [
        ("module.encoder_q.", ("module.encoder_q.fc.0.weight", "module.queue", "module.queue_ptr")),
        ("module.base_encoder.", ("module.momentum_encoder.fc.0.weight", "module.predictor.0.weight")),
        ("module.encoder.", ("module.encoder.fc.6.bias", "module.predictor.1.running_mean")),
        ("module.", ("module.projection_head.0.weight", "module.prototypes.weight")),
        ("online.net.", ()),
        ("backbone.", ("momentum_backbone.conv1.weight", "classifier.weight")),
    ],
)
def test_checkpoints_of_other_methods_hold_the_encoder_under_a_prefix(trees, tensors, prefix, others):
    """MoCo and its slow copy, MoCo v3, SimSiam, SwAV, and names of others."""
    copies = {"module.encoder_q.": "module.encoder_k.", "module.base_encoder.": "module.momentum_encoder."}
    released = {prefix + key: tensor for key, tensor in tensors.items()}
    released |= {copies[prefix] + key: tensor for key, tensor in tensors.items() if prefix in copies}
    released |= dict.fromkeys(others, np.ones(3, np.float32))
    found = weights.from_tensors(released)
    _assert_equal(found.encoder, trees)
    used = {prefix + key for key in tensors if not key.endswith("num_batches_tracked")}
    assert set(found.ignored) == set(released) - used and set(others) <= set(found.ignored)


def test_one_encoder_of_several_is_not_chosen_by_guess(tensors):
    both = {prefix + key: t for key, t in tensors.items() for prefix in ("student.", "teacher.")}
    with pytest.raises(UserError, match=r"2 encoders.*student\..*teacher\."):
        weights.from_tensors(both)


def test_problems_of_both_parts_are_reported_together(full):
    del full["module.backbone.bn1.bias"], full["module.projector.1.running_var"]
    full["module.bn.momentum"] = np.ones(())
    with pytest.raises(UserError) as error:
        weights.from_tensors(full)
    said = str(error.value)
    assert "module.bn.momentum: unknown" in said
    assert "bn1.bias: missing" in said and "projector.1.running_var: missing" in said


def test_a_projector_of_another_encoder_is_refused(full):
    full["module.projector.0.weight"] = np.ones((6, 9), np.float32)
    with pytest.raises(UserError, match=r"projector expects 9 features.*encoder has 8"):
        weights.from_tensors(full)


def test_a_batchnorm_of_no_loss_is_unknown(tensors):
    with pytest.raises(UserError, match=r"bn\.running_mean: unknown"):
        weights.from_tensors(tensors | {"bn.running_mean": np.zeros(4)})


def _absent(path, tensors):
    del path, tensors


def _text(path, tensors):
    del tensors
    path.write_text("not tensors")


def _cut(path, tensors):
    save_file(tensors, path)
    path.write_bytes(path.read_bytes()[:-100])


def _foreign(path, tensors):
    save_file({"bn1.bias": tensors["bn1.bias"]}, path)


@pytest.mark.parametrize(
    ("make", "words"),
    [(_absent, "cannot be read"), (_text, "damaged"), (_cut, "damaged"), (_foreign, "not an encoder")],
)
def test_an_absent_or_damaged_file_is_named(tmp_path, tensors, make, words):
    path = tmp_path / "encoder.safetensors"
    make(path, tensors)
    with pytest.raises(UserError, match=words) as error:
        weights.read(path)
    assert str(error.value).startswith(str(path))


def test_values_that_are_not_finite_are_an_error_with_their_number(tensors):
    """On a CPU XLA's ReLU turns them into 0: all features would be equal, and finite."""
    broken = {key: tensor.copy() for key, tensor in tensors.items()}
    broken["conv1.weight"][0, 0, 0, :2] = np.nan
    broken["bn1.bias"][1] = np.inf
    with pytest.raises(UserError, match=r"^3 values .* 2 of "):
        weights.from_tensors(broken)
