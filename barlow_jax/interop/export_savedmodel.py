"""Format "savedmodel": a TensorFlow SavedModel, for TensorFlow Serving and other TensorFlow programs.

`jax2tf` wraps the StableHLO program in one TensorFlow op, lowered for all platforms. The weights are
variables, stored once and without a size limit. Files: the SavedModel, `config.json`, `README.md`.
"""

from collections.abc import Iterator
import contextlib
from typing import Any

import jax
import jaxlib
from jaxlib.mlir.dialects import stablehlo

from barlow_jax.errors import UserError, first_line
from barlow_jax.interop import encoder_function
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.io.paths import Path


def write(trained: TrainedEncoder, out: Path) -> dict[str, Any]:
    """Write the SavedModel, `config.json` and `README.md`.

    The signature `serving_default` maps `images`, `[B, image_size, image_size, C]` with any B, to
    `features`, `[B, H]` float32. The normalization is part of the function.

    Raises:
      UserError: TensorFlow is not installed.
    """
    try:
        import tensorflow as tf  # takes 10 s
        from tensorflow.compiler.mlir.stablehlo import stablehlo as tf_stablehlo
    except ImportError as error:
        raise UserError(
            f"--format=savedmodel needs TensorFlow, which cannot be imported ({error}). Install "
            "tensorflow or use --format=jax"
        ) from None
    from jax.experimental import jax2tf

    tf.config.set_visible_devices([], "GPU")  # reserved for JAX
    shape, dtype = trained.input_shape, trained.config.data.pixel_dtype
    converted = jax2tf.convert(
        encoder_function.encode(trained),
        polymorphic_shapes=[None, str(("b", *shape)).replace("'", "")],
        with_gradient=False,
        native_serialization_platforms=encoder_function.PLATFORMS,
    )
    module, weights = tf.Module(), encoder_function.weights_of(trained)
    module.weights = {name: tf.Variable(value, trainable=False, name=name) for name, value in weights.items()}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, *shape], dtype, name="images")])
    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"features": converted(dict(module.weights), images)}

    module.serve = serve
    with _serialized_for(tf_stablehlo.get_current_version()):
        tf.saved_model.save(module, str(out), signatures={"serving_default": serve.get_concrete_function()})
    load = [
        "import tensorflow as tf",
        'encoder = tf.saved_model.load("{out}").signatures["serving_default"]',
        'features = encoder(images=tf.constant(images))["features"]',
    ]
    promise = (
        f"Written by TensorFlow {tf.__version__}. The signature `serving_default` maps `images` to "
        "`features`, in TensorFlow Serving too."
    )
    encoder_function.describe(trained, out, load, promise)
    return {"load": load}


@contextlib.contextmanager
def _serialized_for(version: str) -> Iterator[None]:
    """Let jax write StableHLO of at most this version, TensorFlow's.

    jax writes the version that StableHLO had four weeks before the release of jaxlib. TensorFlow's is often
    older (jaxlib 0.11.2: 1.18.0, TensorFlow 2.21: 1.13.7); it would save the function, and fail to call it.

    Raises:
      UserError: the function has operations that this version lacks.
    """
    choose = stablehlo.get_version_from_compatibility_requirement

    def choose_at_most(requirement: Any) -> str:
        return stablehlo.get_smaller_version(choose(requirement), version)

    stablehlo.get_version_from_compatibility_requirement = choose_at_most
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        raise UserError(
            f"--format=savedmodel: jaxlib {jaxlib.__version__} cannot write the encoder in StableHLO "
            f"{version}, the version of the installed TensorFlow ({first_line(error)}). Install a "
            "newer tensorflow or use --format=jax"
        ) from error
    finally:
        stablehlo.get_version_from_compatibility_requirement = choose
