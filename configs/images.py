r"""Barlow Twins on your own images: a folder, list, table, tar shards, or arrays, with or without labels.

Expected: depends on the images.
Hardware: any. These values suit one GPU or TPU chip with 16 GB; --images chooses others for the images and
the devices, and prints each with its reason.

    python -m barlow_jax pretrain --images /data/images --workdir runs/mine --hours 2
    python -m barlow_jax pretrain --config images --workdir runs/mine \
        --config.data.data_dir=/data/images

The argument names the augmentation: `images:microscopy` (photographs, the default; microscopy;
satellite; documents). Batch size 256 with the authors' learning rate for it (0.4 per 256 images).
"""

import dataclasses

import ml_collections

from barlow_jax.config import presets
from barlow_jax.config.overrides import load_sibling


def get_config(preset="photographs"):
    config = load_sibling(__file__, "imagenet")
    config.recipe = ml_collections.ConfigDict(dataclasses.asdict(presets.make(preset)))
    config.data.name = "images"
    config.data.eval_split = "held_out"
    config.train.num_epochs = 300.0
    config.train.batch_size = 256
    config.optim.learning_rate = 0.4
    config.eval_batch_size = 256
    # By the clock: an epoch of a small collection takes seconds.
    config.checkpoint.every_minutes = 15.0
    config.checkpoint.keep_every_epochs = None
    # Features are computed once, and few labels need more steps than epochs.
    config.probe.augment = False
    config.probe.standardize = True
    config.probe.learning_rate = 0.1
    config.probe.min_steps = 500
    return config
