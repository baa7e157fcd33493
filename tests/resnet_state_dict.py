"""State dicts of ResNets with torchvision's keys, made of this package's arrays."""

import numpy as np

from barlow_jax.config.architectures import ResNetFacts
from barlow_jax.interop import layouts


def to_torchvision(params, batch_stats):
    """Return the state dict of an encoder; the arguments are nested dicts as in `Network.init`."""
    kernel, _, _, width = np.shape(params["conv"]["kernel"])
    blocks = tuple(len(params["stages"][stage]) for stage in range(len(params["stages"])))
    facts = ResNetFacts(blocks, "conv3" in params["stages"][0][0], width, {7: "imagenet", 3: "cifar"}[kernel])
    return layouts.write(facts, "torchvision", params, batch_stats)
