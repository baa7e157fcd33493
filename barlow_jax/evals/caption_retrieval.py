"""Retrieval of images by their captions, and of captions by their images: R@K of two tables of embeddings."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

from barlow_jax.augment.views import normalize_views
from barlow_jax.config.recipe import SECOND_VIEW, Recipe
from barlow_jax.config.schema import Config
from barlow_jax.data.captions import Captions
from barlow_jax.data.sampler import EvaluationRange, ProcessShard
from barlow_jax.distributed.mesh import Layout
from barlow_jax.evals import features, retrieval
from barlow_jax.networks.network import Network
from barlow_jax.papers.scores import Score
from barlow_jax.types import Batch, FeatureTable


def first_captions(captions: Captions, count: int | None) -> Captions:
    """Return the first `count` captions of each image; None returns all."""
    if count is None:
        return captions
    starts = np.searchsorted(captions.example, captions.example)
    kept = np.arange(len(captions.example)) - starts < count
    return Captions(captions.words[kept], captions.example[kept])


def make_embedder(network: Network, layout: Layout, recipe: Recipe, view: str) -> Callable[..., jax.Array]:
    """Return the jitted `(params, batch_stats, rows) -> [B, D]` of a view, in evaluation mode.

    The result is replicated on every device.
    """

    def embed(params: Any, stats: Any, rows: jax.Array) -> jax.Array:
        (pixels_or_words,) = normalize_views({view: rows}, recipe).values()
        return network.apply_frozen(params, stats, view, pixels_or_words).embedding.astype("float32")

    return jax.jit(embed, in_shardings=(None, None, layout.batch), out_shardings=layout.replicated)


def embed_captions(
    captions: Captions, embed: features.Encode, layout: Layout, batch_size: int
) -> FeatureTable:
    """Return embeddings of the captions; their labels are the indices of their images.

    Equal captions are embedded once, so that they tie.
    """
    unique, row = np.unique(captions.words, axis=0, return_inverse=True)
    shard = ProcessShard(jax.process_index(), jax.process_count())

    def batches() -> Iterator[Batch]:
        step_range = EvaluationRange(np.arange(len(unique)), batch_size, shard)
        for step in step_range.steps:
            index, real = step_range.batch(step)
            yield Batch({SECOND_VIEW: unique[index]}, np.full(len(index), -1), np.where(real, index, -1))

    table = features.extract(embed, batches(), layout)
    # Rows of several processes are interleaved by batch; the index restores their order.
    unique_features = table.features[np.argsort(table.index)]
    return FeatureTable(unique_features[row.ravel()], captions.example)


def match(images: FeatureTable, captions: FeatureTable) -> tuple[FeatureTable, FeatureTable]:
    """Drop captions of images that could not be decoded, and images without captions."""
    decoded, described = np.isin(captions.labels, images.index), np.isin(images.index, captions.labels)
    return (
        FeatureTable(images.features[described], images.labels[described], images.index[described]),
        FeatureTable(captions.features[decoded], captions.labels[decoded]),
    )


def retrieval_scores(config: Config, images: FeatureTable, captions: FeatureTable) -> list[Score]:
    """Return R@K in both directions of matched tables."""
    measured_on = (config.data.name, config.data.eval_split, len(images.index))
    measure = partial(retrieval.recall, ks=config.retrieval.k, cosine=config.retrieval.similarity == "cosine")
    image, text = (images.features, images.index), (captions.features, captions.labels)
    return [
        Score("retrieve", "ranking", "recall", 100 * recall, *measured_on, k=k, direction=direction)
        for direction, (q, q_ids), (c, c_ids) in (
            ("image_to_text", image, text),
            ("text_to_image", text, image),
        )
        for k, recall in measure(q, c, query_ids=q_ids, candidate_ids=c_ids).items()
    ]


def chance_scores(config: Config, images: FeatureTable, captions: FeatureTable) -> list[Score]:
    """Return R@K of a random ranking, which embeddings without information get."""
    constant = (table._replace(features=np.ones((len(table.labels), 1))) for table in (images, captions))
    return retrieval_scores(config, *constant)
