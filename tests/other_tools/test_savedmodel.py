"""The SavedModel in a process that has TensorFlow and neither jax nor this package."""

import pytest

from barlow_jax.config.architectures import VITS
from barlow_jax.interop import export_savedmodel

pytestmark = pytest.mark.interop
ALONE = """
import sys
sys.modules.update(jax=None, jaxlib=None, flax=None, barlow_jax=None)  # importing them is an ImportError
import tensorflow as tf
serve = tf.saved_model.load({folder!r}).signatures["serving_default"]
give(np.concatenate([serve(images=tf.constant(images))["features"] for images in (given[0][:1], given[0])]))
"""


@pytest.mark.parametrize(
    "keys", [{}, {"dtype": "bfloat16"}, {"encoder": "vit_tiny"}], ids=["float32", "bfloat16", "transformer"]
)
def test_tensorflow_alone_gives_the_encoders_features(
    small, noise, features, other_tool, tmp_path, relative, monkeypatch, keys
):
    """The batch has one image, or seven."""
    monkeypatch.setitem(VITS, "vit_tiny", VITS["vit_tiny"]._replace(blocks=1))  # as its twelve are
    subject, images = small(**keys), noise(7)
    export_savedmodel.write(subject, tmp_path / "model")
    found = other_tool("tensorflow", ALONE.format(folder=str(tmp_path / "model")), images)
    expected = features(subject, images)
    assert relative(found[:1], expected[:1]) < 1e-4 and relative(found[1:], expected) < 1e-4
