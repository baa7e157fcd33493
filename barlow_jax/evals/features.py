"""Feature extraction: a frozen encoder, or the pixels themselves, applied to every image of a split."""

from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np

from barlow_jax.augment.views import normalize
from barlow_jax.config.recipe import Normalize
from barlow_jax.distributed.mesh import Layout
from barlow_jax.errors import UserError
from barlow_jax.networks.network import Network
from barlow_jax.types import Batch, FeatureTable

# [B, height, width, C] images, laid out on the mesh, to [B, H] features, replicated on every device.
Encode = Callable[[jax.Array], jax.Array]


class NotMeasurableError(UserError):
    """Features or labels of which no score means anything: not finite, or all of one class."""


def make_encoder(network: Network, layout: Layout, normalization: Normalize) -> Callable:
    """Return the jitted `(params, batch_stats, images) -> [B, H]`, replicated on every device."""
    return jax.jit(
        lambda params, stats, images: network.encode(params, stats, normalize(images, normalization)),
        in_shardings=(None, None, layout.batch),  # None: params and stats keep their layout
        out_shardings=layout.replicated,
    )


def make_pixels(layout: Layout) -> Encode:
    """Return the baseline without an encoder: pixel values in 0..1 as `[B, height * width * C]`."""
    return jax.jit(
        lambda images: images.reshape(images.shape[0], -1) / (255.0 if images.dtype == "uint8" else 1.0),
        in_shardings=layout.batch,
        out_shardings=layout.replicated,
    )


def extract(encode: Encode, batches: Iterator[Batch], layout: Layout) -> FeatureTable:
    """Return the table of all images that could be decoded; padding is dropped here and nowhere else.

    Raises:
      NotMeasurableError: a feature is not finite.
    """
    tables = [encode_batch(encode, batch, layout) for batch in batches]
    bad = sum(int(np.sum(~np.isfinite(table.features).all(axis=1))) for table in tables)
    if bad:
        rows = sum(len(table.features) for table in tables)
        raise NotMeasurableError(
            f"the features of {bad} of {rows} images are not finite (NaN or infinity). Either the weights "
            "are damaged (a wrongly converted file, a diverged training: use another file or checkpoint), or "
            "the computation overflows (set config.network.dtype=float32)."
        )
    return FeatureTable(
        *(np.concatenate([getattr(t, name) for t in tables]) for name in ("features", "labels", "index"))
    )


def encode_batch(
    encode: Encode,
    batch: Batch,
    layout: Layout,
    crop: Callable[[Mapping[str, jax.Array]], jax.Array] | None = None,
) -> FeatureTable:
    """Return the table of one batch, which has any number of rows of this process and one view.

    `crop` turns decoded images (data/padded_images) into encoder input; None if the view already is.
    """
    missing = -len(batch.index) % jax.local_device_count()
    if missing:
        batch = jax.tree.map(lambda rows: np.concatenate([rows, np.repeat(rows[:1], missing, 0)]), batch)
        batch.index[-missing:] = -1
    global_batch = layout.shard(batch)
    (images,) = global_batch.views.values() if crop is None else [crop(global_batch.views)]
    features, (labels, index) = jax.device_get(
        (encode(images), layout.replicate((global_batch.labels, global_batch.index)))
    )
    decoded = index >= 0
    return FeatureTable(features[decoded].astype(np.float32), labels[decoded], index[decoded])


def decode_failure_counts(train: int, test: int) -> dict[str, dict[str, int]]:
    """Return the entry "decode_failures" of a result, from the counts of both splits; empty if both are 0."""
    return {"decode_failures": {"train": train, "test": test}} if train or test else {}
