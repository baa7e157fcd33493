"""The SavedModel in a process that has TensorFlow and neither jax nor this package."""

import subprocess
import sys

import jax
import numpy as np
import pytest
import trained

from barlow_jax.exports import function, savedmodel

pytestmark = pytest.mark.interop
ALONE = """
import sys
sys.modules.update(jax=None, jaxlib=None, flax=None, barlow_jax=None)  # importing them is an ImportError
import numpy as np
import tensorflow as tf
serve = tf.saved_model.load("model").signatures["serving_default"]
for number in (1, 7):
    np.save(f"features{number}.npy", serve(images=tf.constant(np.load(f"{number}.npy")))["features"])
"""


@pytest.mark.parametrize(
    ("encoder", "dtype"), [("resnet8", "float32"), ("resnet8", "bfloat16"), ("vit_tiny", "float32")]
)
def test_tensorflow_alone_gives_the_encoders_features(encoder, dtype, tmp_path, relative):
    subject = trained.small(encoder, dtype=dtype)
    savedmodel.write(subject, tmp_path / "model")
    for number in (1, 7):
        np.save(tmp_path / f"{number}.npy", trained.images(number))
    subprocess.run([sys.executable, "-c", ALONE], cwd=tmp_path, check=True)
    encode = jax.jit(function.encode(subject))
    for number in (1, 7):
        expected = np.asarray(encode(function.weights_of(subject), trained.images(number)))
        assert relative(np.load(tmp_path / f"features{number}.npy"), expected) < 1e-4
