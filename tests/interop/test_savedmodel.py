"""The SavedModel in a process that has TensorFlow and neither jax nor this package."""

import pytest

from barlow_jax.exports import savedmodel

pytestmark = pytest.mark.interop
ALONE = """
import sys
sys.modules.update(jax=None, jaxlib=None, flax=None, barlow_jax=None)  # importing them is an ImportError
import tensorflow as tf
serve = tf.saved_model.load({folder!r}).signatures["serving_default"]
give(serve(images=tf.constant(given[0]))["features"])
"""


@pytest.mark.parametrize("number", [1, 7])
@pytest.mark.parametrize(
    "keys", [{}, {"dtype": "bfloat16"}, {"encoder": "vit_tiny"}], ids=lambda keys: "-".join(keys.values())
)
def test_tensorflow_alone_gives_the_encoders_features(
    small, noise, features, other_tool, tmp_path, relative, keys, number
):
    subject, images = small(**keys), noise(number)
    savedmodel.write(subject, tmp_path / "model")
    found = other_tool("tensorflow", ALONE.format(folder=str(tmp_path / "model")), images)
    assert relative(found, features(subject, images)) < 1e-4
