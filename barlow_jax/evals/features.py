"""The one extractor: frozen features of a split as a table."""

from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np

from barlow_jax.augment.views import normalize
from barlow_jax.config.recipe import Normalize
from barlow_jax.distributed.mesh import Layout
from barlow_jax.networks.network import Network
from barlow_jax.types import Batch, FeatureTable

# [B, height, width, 3] uint8 placed images to [B, H] features on every device.
Encode = Callable[[jax.Array], jax.Array]


def make_encoder(network: Network, layout: Layout, normalization: Normalize) -> Callable:
    """`(params, batch_stats, images) -> [B, H]`, jitted, the result on every device and host."""
    return jax.jit(
        lambda params, stats, images: network.encode(params, stats, normalize(images, normalization)),
        in_shardings=(None, None, layout.batch),  # the state stays as it is laid out
        out_shardings=layout.replicated,
    )


def make_pixels(layout: Layout) -> Encode:
    """The baseline without an encoder: the image itself, `[B, height * width * 3]` in 0..1."""
    return jax.jit(
        lambda images: images.reshape(images.shape[0], -1) / 255.0,
        in_shardings=layout.batch,
        out_shardings=layout.replicated,
    )


def extract(encode: Encode, batches: Iterator[Batch], layout: Layout) -> FeatureTable:
    """All examples that could be decoded; padding is dropped here, and nowhere else."""
    tables = [encode_batch(encode, batch, layout) for batch in batches]
    return FeatureTable(
        *(np.concatenate([getattr(t, name) for t in tables]) for name in ("features", "labels", "index"))
    )


def encode_batch(
    encode: Encode,
    batch: Batch,
    layout: Layout,
    crop: Callable[[Mapping[str, jax.Array]], jax.Array] | None = None,
) -> FeatureTable:
    """The table of one batch of this process's rows, of any number; `crop` makes images of decoded ones."""
    missing = -len(batch.index) % jax.local_device_count()
    if missing:
        batch = jax.tree.map(lambda rows: np.concatenate([rows, np.repeat(rows[:1], missing, 0)]), batch)
        batch.index[-missing:] = -1
    placed = layout.shard(batch)
    (images,) = placed.views.values() if crop is None else [crop(placed.views)]
    features, (labels, index) = jax.device_get(
        (encode(images), layout.replicate((placed.labels, placed.index)))
    )
    real = index >= 0
    return FeatureTable(features[real].astype(np.float32), labels[real], index[real])
