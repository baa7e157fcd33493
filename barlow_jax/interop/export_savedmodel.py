"""Format "savedmodel": a TensorFlow SavedModel, for TensorFlow Serving and other TensorFlow programs.

`jax2tf` wraps the StableHLO program in one TensorFlow op, lowered for all platforms. The weights are
variables, stored once and without a size limit. Files: the SavedModel, `config.json`, `README.md`.
"""

import pathlib
from typing import Any

from barlow_jax.errors import UserError
from barlow_jax.interop import encoder_function
from barlow_jax.interop.encoder import TrainedEncoder

_PROMISE = (
    "Written by TensorFlow {{version}}. The signature `serving_default` maps `images` to `features`, in "
    "TensorFlow Serving too."
)


def write(trained: TrainedEncoder, out: pathlib.Path) -> dict[str, Any]:
    """Write the SavedModel, `config.json` and `README.md`.

    The signature `serving_default` maps `images`, `[B, image_size, image_size, 3]` uint8 with any B, to
    `features`, `[B, H]` float32. The normalisation is part of the function.

    Raises:
      UserError: TensorFlow is not installed.
    """
    try:
        import tensorflow as tf  # takes 10 s
    except ImportError as error:
        raise UserError(
            f"--format=savedmodel needs TensorFlow, which cannot be imported ({error}). Install "
            "tensorflow or use --format=jax"
        ) from None
    from jax.experimental import jax2tf

    tf.config.set_visible_devices([], "GPU")  # reserved for JAX
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
