"""Format "onnx": an ONNX model, for ONNX Runtime and the tools that read ONNX.

jax2onnx converts the traced program, so any encoder can be exported whose operations it knows. tf2onnx cannot
read the SavedModel of this package, whose one operation holds StableHLO. The computation is in float32, since
ONNX Runtime has no bfloat16 convolutions on CPUs. Files: `encoder.onnx`, `config.json`, `README.md`.
"""

from collections.abc import Callable
import dataclasses
from functools import partial
from importlib import metadata
import logging
import re
from typing import Any

import jax
from jax import export
from jax.extend.core import jaxpr_as_fun
import numpy as np

from barlow_jax.errors import UserError
from barlow_jax.interop import encoder_function
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.io.paths import Path

FILE = "encoder.onnx"
_MOST_BYTES = 2**31 - 2**24  # limit of a protocol buffer, less the program itself
# Versions from 0.13.1 on demand an older orbax-checkpoint than this package, but do not use it.
_FOR_JAX_0_11 = " (jax from 0.11 on needs `pip install --no-deps jax2onnx==0.17.1`)"
_LARGEST_ERROR = 1e-4  # relative to the largest feature


def write(trained: TrainedEncoder, out: Path) -> dict[str, Any]:
    """Write `encoder.onnx`, `config.json` and `README.md`.

    The input `images` is `[B, image_size, image_size, C]` with any B, the output `features` is `[B, H]`
    float32. The normalization is part of the model.

    Raises:
      UserError: jax2onnx is missing or cannot convert the encoder, ONNX Runtime computes other features, or
        the weights exceed the size limit of a protocol buffer.
    """
    try:
        from jax2onnx import to_onnx
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"--format=onnx needs jax2onnx, which cannot be imported ({error}). "
            "pip install 'barlow_jax[onnx]'"
        ) from None
    weights = encoder_function.weights_of(trained)
    if (size := sum(value.nbytes for value in weights.values())) > _MOST_BYTES:
        raise UserError(f"--format=onnx holds 2.1 GB of weights, and this encoder has {size / 1e9:.1f} GB")
    network = dataclasses.replace(trained.config.network, dtype="float32")
    config = dataclasses.replace(trained.config, network=network)
    encode = partial(encoder_function.encode(dataclasses.replace(trained, config=config)), weights)
    model = _convert(to_onnx, trained, encode)
    del model.graph.value_info[:]  # shapes of intermediate results, some of them of another layout
    (out / FILE).write_bytes(model.SerializeToString())
    dtype = trained.config.data.pixel_dtype
    example = np.random.default_rng(0).integers(0, 256, (3, *trained.input_shape), np.uint8)
    example = example if dtype == "uint8" else (example / 255).astype(dtype)
    session = onnxruntime.InferenceSession(out / FILE, providers=["CPUExecutionProvider"])
    (features,), expected = session.run(None, {"images": example}), np.asarray(jax.jit(encode)(example))
    error = float(np.max(np.abs(features - expected)) / np.max(np.abs(expected)))
    if not error <= _LARGEST_ERROR:
        raise UserError(
            f"ONNX Runtime computes other features for {trained.name}: they differ by {error:.1e} of the "
            "largest one. Use --format=jax or --format=savedmodel"
        )
    load = [
        "import onnxruntime",
        f'session = onnxruntime.InferenceSession("{{out}}/{FILE}")',
        'features = session.run(["features"], {"images": images})[0]',
    ]
    opset = model.opset_import[0].version
    promise = f"ONNX opset {opset}, for the processors of ONNX Runtime. Computation in float32."
    encoder_function.describe(trained, out, load, promise)
    return {"opset": opset, "relative_error": error, "load": load}


def _convert(to_onnx: Callable, trained: TrainedEncoder, encode: Callable) -> Any:
    """Return the `onnx.ModelProto` of `encode`, from images to features."""
    shape = export.symbolic_shape(", ".join(["B", *map(str, trained.input_shape)]))
    images = jax.ShapeDtypeStruct(shape, trained.config.data.pixel_dtype)
    # jax2onnx replaces flax's layers while it traces, and fails on some of their settings; not so if they are
    # traced already.
    program = jaxpr_as_fun(jax.make_jaxpr(encode)(images))
    names = {"input_names": ["images"], "output_names": ["features"]}
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # about its own intermediate results
    try:
        model = to_onnx(lambda images: program(images)[0], [images], **names)
        _pool_over_images(model.graph)
        return model
    except Exception as error:
        reason = " ".join(str(error).split())
        release = re.findall(r"\d+", metadata.version("jax2onnx"))[:2]
        too_old = jax.__version_info__ >= (0, 11) and [int(number) for number in release] < [0, 17]
        remedy = _FOR_JAX_0_11 if too_old else ""
        raise UserError(
            f"jax2onnx cannot convert {trained.name}: {type(error).__name__}: {reason}{remedy}"
        ) from error
    finally:
        logging.disable(level)


def _pool_over_images(graph: Any) -> None:
    """Let pooling go over height and width, with channels first.

    jax2onnx pools `[1, 1, B, height, width, C]` by windows of four dimensions, which ONNX Runtime refuses.
    """
    from onnx import helper

    producers = {output: node for node in graph.node for output in node.output}
    for pool in [node for node in graph.node if node.op_type == "MaxPool"]:
        values = {a.name: helper.get_attribute_value(a) for a in pool.attribute}
        if len(values["kernel_shape"]) != 4:
            continue
        inner = producers[pool.input[0]]
        (squeeze,) = [node for node in graph.node if node.input and node.input[0] == pool.output[0]]
        first, last, pads = f"{pool.name}_first", f"{pool.name}_last", values["pads"]
        sizes = {"kernel_shape": values["kernel_shape"][1:3], "strides": values["strides"][1:3]}
        images = producers[inner.input[0]].input[0]
        nodes = [
            helper.make_node("Transpose", [images], [first], perm=(0, 3, 1, 2)),
            helper.make_node("MaxPool", [first], [last], pads=[*pads[1:3], *pads[5:7]], **sizes),
            helper.make_node("Transpose", [last], list(squeeze.output), perm=(0, 2, 3, 1)),
        ]
        position = list(graph.node).index(squeeze)
        for node in (producers[inner.input[0]], inner, pool, squeeze):
            graph.node.remove(node)
        for offset, node in enumerate(nodes):
            graph.node.insert(position - 3 + offset, node)
