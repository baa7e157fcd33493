"""Format "jax": StableHLO with the weights inside, for whoever has jax and nothing of this package.

The weights are constants of the program, in the dtype that it computes in. A ResNet-50 is one file of 94 MB (47 MB in
bfloat16), written and read in less than a second; calls take as long as with the weights as arguments. What that costs
is a copy of them in each compiled program, one a batch size. As arguments the program has 53 kB, and needs a second
file that must be its own, and a line that says in which order they go. A serialised program holds at most 2 GB.
"""

import pathlib
from typing import Any

import jax
from jax import export
import numpy as np

from barlow_jax.errors import UserError
from barlow_jax.interop import encoder_function
from barlow_jax.interop.encoder import Trained

FILE = "encoder.jaxexport"
_MOST_BYTES = 2**31 - 2**24  # of a flatbuffer, less the program itself
_PROMISE = (
    "jax {version} wrote it; JAX promises that newer versions read it for six months at least, and what is older may "
    "not read it at all."
)


def write(trained: Trained, out: pathlib.Path) -> dict[str, Any]:
    """Writes `encoder.jaxexport`, `config.json` and `README.md`.

    Raises:
      UserError: the weights are more than a serialised program can hold.
    """
    weights = encoder_function.weights_of(trained)
    itemsize = jax.numpy.dtype(trained.config.network.dtype).itemsize
    if (size := itemsize * sum(map(np.size, weights.values()))) > _MOST_BYTES:
        raise UserError(
            f"--format=jax: holds weights of {_MOST_BYTES / 1e9:.1f} GB at most, and these are {size / 1e9:.1f} GB; "
            "savedmodel and orbax keep them in files of their own"
        )
    exported = export_encoder(trained, weights)
    (out / FILE).write_bytes(exported.serialize())
    load = [
        "from jax import export, jit",
        f'encoder = jit(export.deserialize(open("{{out}}/{FILE}", "rb").read()).call)',
        "features = encoder(images)",
    ]
    encoder_function.describe(trained, out, load, _PROMISE.format(version=jax.__version__))
    return {"platforms": list(exported.platforms), "load": load}


def export_encoder(trained: Trained, weights: encoder_function.Weights) -> export.Exported:
    """`[B, image_size, image_size, 3]` uint8 to `[B, H]` float32, B any number from 1."""
    encode, size = encoder_function.encode(trained), trained.image_size
    (batch,) = export.symbolic_shape("b")
    images = jax.ShapeDtypeStruct((batch, size, size, 3), np.uint8)
    of_images = jax.jit(lambda images: encode(weights, images))
    return export.export(of_images, platforms=encoder_function.PLATFORMS)(images)
