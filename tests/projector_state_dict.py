"""State dicts of projectors as the official code saves them, made of this package's arrays."""

import numpy as np

from barlow_jax.interop import projector_layout, state_dict


def to_torch(params, batch_stats):
    """Return the state dict of a projector in torch's order; its keys start with "projector.".

    The arguments are nested dicts, "projector" in the trees of `Network.init`.
    """
    layers = [params["layers"][i] for i in range(len(params["layers"]))]
    with_bias = ["bias" in layer for layer in layers]
    biases = "all" if with_bias[-1] else "hidden" if any(with_bias) else "none"
    widths = tuple(np.shape(layer["kernel"])[1] for layer in layers)
    shape = projector_layout.Shape(widths, bool(params.get("norms")), biases, "output_norm" in batch_stats)
    return state_dict.write(
        projector_layout._layout(np.shape(layers[0]["kernel"])[0], shape), params, batch_stats
    )
