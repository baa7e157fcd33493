"""The SavedModel read by TensorFlow, against the encoder."""

import json
import re
import sys

import jaxlib
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.compiler.mlir.stablehlo import stablehlo as tf_stablehlo

from barlow_jax.config import overrides
from barlow_jax.errors import UserError
from barlow_jax.interop import encoder_function, export_savedmodel


def test_the_signature_gives_the_encoders_features_of_any_batch(small, noise, features, tmp_path, relative):
    subject, folder = small(), tmp_path
    export_savedmodel.write(subject, folder)
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    assert serve.structured_input_signature[1]["images"] == tf.TensorSpec(
        [None, 16, 16, 3], tf.uint8, "images"
    )
    assert serve.structured_outputs["features"].shape.as_list() == [None, subject.num_features]
    for number in (1, 7):
        found = serve(images=tf.constant(noise(number)))["features"].numpy()
        assert found.dtype == np.float32
        assert relative(found, features(subject, noise(number))) < 1e-5


def test_the_weights_are_only_in_the_variables_and_the_config_is_in_the_folder(small, tmp_path):
    subject, folder = small(width=64), tmp_path
    entries = export_savedmodel.write(subject, folder)
    weights = encoder_function.weights_of(subject)
    size = sum(array.nbytes for array in weights.values())
    sizes = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    assert size > 4e6 and sizes["variables.data-00000-of-00001"] < 1.05 * size
    assert 1e4 < sizes["saved_model.pb"] < 3e5
    loaded = tf.saved_model.load(str(folder)).weights
    assert loaded.keys() == weights.keys()
    # TensorFlow saves and loads a newer version than its own without an error, and fails when it is called.
    limit = tf_stablehlo.get_current_version()
    written = set(re.findall(rb"StableHLO_v(\d+\.\d+\.\d+)", (folder / "saved_model.pb").read_bytes()))
    assert written and all(tf_stablehlo.get_smaller_version(v.decode(), limit) == v.decode() for v in written)
    for name, value in weights.items():
        np.testing.assert_array_equal(loaded[name], value)
    config, problems = overrides.from_tree(json.loads((folder / "config.json").read_text()))
    assert config == subject.config and not problems
    readme = (folder / "README.md").read_text()
    assert tf.__version__ in readme
    assert all(line.replace("{out}", ".") in readme for line in entries["load"])


def test_where_tensorflow_is_not_installed_the_remedy_is_named(small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UserError, match=r"tensorflow.*--format=jax"):
        export_savedmodel.write(small(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_stablehlo_version_that_jax_cannot_write_is_refused(small, tmp_path, monkeypatch):
    monkeypatch.setattr(tf_stablehlo, "get_current_version", lambda: "0.8.0")
    with pytest.raises(UserError, match=rf"{jaxlib.__version__}.*0\.8\.0.*--format=jax"):
        export_savedmodel.write(small(), tmp_path)
    assert not list(tmp_path.iterdir())
