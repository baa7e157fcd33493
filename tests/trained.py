"""Encoders of random weights, none of them zero or one, as if they had been trained."""

import dataclasses

import jax
import numpy as np

from barlow_jax.config import Config, Data, Network
from barlow_jax.exports.encoder import Trained
from barlow_jax.methods import HEADS
from barlow_jax.networks import network as network_lib

SIZE = 16


def small(encoder="resnet8", width=4, dtype="float32", **network):
    """An encoder for images of 16 pixels a side."""
    config = Network(encoder=encoder, width=width, stem="cifar", patch=8, dtype=dtype, **network)
    alone = network_lib.Network(dataclasses.replace(config, branches="shared", **HEADS))
    rng = np.random.default_rng(0)

    def draw(shape):
        return rng.normal(0, shape.shape[-1] ** -0.5, shape.shape).astype(np.float32)

    params, stats = jax.tree.map(draw, alone.shapes())
    data = Data(image_size=SIZE, eval_resize=20)
    stats = jax.tree.map(lambda rows: 0.5 + np.abs(rows), stats)
    return Trained(Config(data=data, network=config), params, {"encoder": {}} | stats, 7)


def images(number):
    return np.random.default_rng(number).integers(0, 256, (number, SIZE, SIZE, 3), dtype=np.uint8)
