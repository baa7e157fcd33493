"""Format "jax": a StableHLO program that contains the weights, for programs that have jax alone.

The weights are constants of the program in the dtype of the computation. A ResNet-50 is one file of 94 MB (47
MB in bfloat16), written and read in less than a second; calls are as fast as with the weights as arguments.
The price is one copy of the weights per compiled batch size. With weights as arguments the program would have
53 kB, but would need a second file and a convention for the order of its arrays. A serialized program holds
at most 2 GB. Files: `encoder.jaxexport`, `config.json`, `README.md`.
"""

from typing import Any

import jax
from jax import export
import numpy as np

from barlow_jax.errors import UserError
from barlow_jax.interop import encoder_function
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.io.paths import Path

FILE = "encoder.jaxexport"
_MOST_BYTES = 2**31 - 2**24  # limit of a flatbuffer, less the program itself


def write(trained: TrainedEncoder, out: Path) -> dict[str, Any]:
    """Write `encoder.jaxexport`, `config.json` and `README.md`.

    The exported function maps `[B, image_size, image_size, C]`, B >= 1, to `[B, H]` float32.

    Raises:
      UserError: the weights exceed the size limit of a serialized program.
    """
    weights = encoder_function.weights_of(trained)
    itemsize = jax.numpy.dtype(trained.config.network.dtype).itemsize
    if (size := itemsize * sum(map(np.size, weights.values()))) > _MOST_BYTES:
        raise UserError(
            f"--format=jax holds at most {_MOST_BYTES / 1e9:.1f} GB of weights, and this encoder has "
            f"{size / 1e9:.1f} GB. Use --format=savedmodel or --format=orbax"
        )
    encode, (batch,) = encoder_function.encode(trained), export.symbolic_shape("b")
    images = jax.ShapeDtypeStruct((batch, *trained.input_shape), np.dtype(trained.config.data.pixel_dtype))
    of_images = jax.jit(lambda images: encode(weights, images))
    exported = export.export(of_images, platforms=encoder_function.PLATFORMS)(images)
    (out / FILE).write_bytes(exported.serialize())
    load = [
        "from jax import export, jit",
        f'encoder = jit(export.deserialize(open("{{out}}/{FILE}", "rb").read()).call)',
        "features = encoder(images)",
    ]
    promise = (
        f"Written by jax {jax.__version__}. Newer versions of jax can read it for at least six months; older "
        "ones may not be able to."
    )
    encoder_function.describe(trained, out, load, promise)
    return {"platforms": list(exported.platforms), "load": load}
