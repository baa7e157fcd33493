"""The SavedModel as TensorFlow reads it, against the encoder."""

import json
import sys

import jax
import numpy as np
import pytest
import tensorflow as tf
import trained

from barlow_jax import configdict
from barlow_jax.errors import UserError
from barlow_jax.exports import function, savedmodel


@pytest.fixture(scope="module")
def subject():
    return trained.small(width=64)


@pytest.fixture(scope="module")
def folder(subject, tmp_path_factory):
    out = tmp_path_factory.mktemp("savedmodel")
    savedmodel.write(subject, out)
    return out


def test_the_signature_gives_the_encoders_features_of_any_batch(subject, folder, relative):
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    assert serve.structured_input_signature[1]["images"] == tf.TensorSpec(
        [None, 16, 16, 3], tf.uint8, "images"
    )
    assert serve.structured_outputs["features"].shape.as_list() == [None, subject.num_features]
    encode = jax.jit(function.encode(subject))
    for number in (1, 7):
        images = trained.images(number)
        features = serve(images=tf.constant(images))["features"].numpy()
        expected = np.asarray(encode(function.weights_of(subject), images))
        assert features.dtype == np.float32 and relative(features, expected) < 1e-5


def test_the_weights_are_in_the_variables_and_there_alone(subject, folder):
    weights = function.weights_of(subject)
    size = sum(array.nbytes for array in weights.values())
    sizes = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    assert size > 4e6 and sizes["variables.data-00000-of-00001"] < 1.05 * size
    assert sizes["saved_model.pb"] < 3e5
    loaded = tf.saved_model.load(str(folder)).weights
    assert loaded.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(loaded[name], value)


def test_the_config_is_beside_it(subject, folder):
    config, problems = configdict.from_tree(json.loads((folder / "config.json").read_text()))
    assert config == subject.config and not problems


def test_where_tensorflow_is_not_installed_the_remedy_is_named(subject, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UserError, match="install tensorflow, or use jax"):
        savedmodel.write(subject, tmp_path)
    assert not list(tmp_path.iterdir())
