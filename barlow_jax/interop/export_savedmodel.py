"""Format "savedmodel": TensorFlow's, for TensorFlow Serving and whatever else loads one.

`jax2tf` puts the same StableHLO into one TensorFlow op, lowered for all platforms; the weights are variables, which
the folder holds once and which have no bound of size.
"""

import pathlib
from typing import Any

from barlow_jax.errors import UserError
from barlow_jax.interop import encoder_function
from barlow_jax.interop.encoder import Trained

_PROMISE = (
    "TensorFlow {version} wrote it; the signature `serving_default` takes `images` and gives `features`, in TensorFlow "
    "Serving too."
)


def write(trained: Trained, out: pathlib.Path) -> dict[str, Any]:
    """Writes the SavedModel, `config.json` and `README.md`.

    Its signature `serving_default` takes `images`, `[B, image_size, image_size, 3]` uint8 levels, any B, and gives
    `features`, `[B, H]` float32; the normalisation is inside.

    Raises:
      UserError: TensorFlow is not installed.
    """
    try:
        import tensorflow as tf  # it takes 10 s
    except ImportError as error:
        raise UserError(
            f"--format=savedmodel: is written by TensorFlow, and importing that failed ({error}); install "
            "tensorflow, or use --format jax, which needs none"
        ) from None
    from jax.experimental import jax2tf

    tf.config.set_visible_devices([], "GPU")  # they are JAX's
    size, encode = trained.image_size, encoder_function.encode(trained)
    converted = jax2tf.convert(
        encode,
        polymorphic_shapes=[None, f"(b, {size}, {size}, 3)"],
        with_gradient=False,
        native_serialization_platforms=encoder_function.PLATFORMS,
    )
    module, weights = tf.Module(), encoder_function.weights_of(trained)
    module.weights = {name: tf.Variable(value, trainable=False, name=name) for name, value in weights.items()}

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec([None, size, size, 3], tf.uint8, name="images")]
    )
    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"features": converted(dict(module.weights), images)}

    module.serve = serve
    tf.saved_model.save(module, str(out), signatures={"serving_default": serve.get_concrete_function()})
    load = [
        "import tensorflow as tf",
        'encoder = tf.saved_model.load("{out}").signatures["serving_default"]',
        'features = encoder(images=tf.constant(images))["features"]',
    ]
    encoder_function.describe(trained, out, load, _PROMISE.format(version=tf.__version__))
    return {"load": load}
