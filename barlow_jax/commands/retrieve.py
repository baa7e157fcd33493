"""Images by their captions and captions by their images: R@K of a run's embeddings, beside chance and no training."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from functools import partial
import pathlib
import sys
from typing import Any

import jax
import numpy as np

from barlow_jax.augment.views import normalize_views
from barlow_jax.checkpoints.restoring import newest_step, open_checkpoints
from barlow_jax.config.recipe import SECOND_VIEW
from barlow_jax.config.schema import Config
from barlow_jax.data import splits
from barlow_jax.data.captions import Captions
from barlow_jax.data.sampler import padded
from barlow_jax.errors import UserError
from barlow_jax.evals import features, retrieval
from barlow_jax.experiment.experiment import PRETRAINED, UNTRAINED, Experiment, decode_failure_counts
from barlow_jax.papers import tables
from barlow_jax.types import Batch, FeatureTable

CHANCE = "chance"
DIRECTIONS = {"image_to_text": "image to text", "text_to_image": "text to image"}


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """R@K in percent by kind of embeddings and direction, on the evaluation split."""
    del args
    if not config.network.reads_text:
        raise UserError(
            "config.network.second_encoder: retrieve needs a run whose second branch reads captions (gru); "
            f"configs/captioned_digits.py is one, and {workdir} is not"
        )
    if newest_step(workdir) is None:
        raise UserError(f"{workdir} holds no checkpoint; run `pretrain --workdir {workdir}` first")
    experiment = Experiment.of(config)
    source = splits.open_split(config.data, config.data.eval_split)
    captions = first_of_each(source.read_captions(config.data), config.retrieval.captions_per_image)
    embed = {name: _embedder(experiment, name) for name in ("a", SECOND_VIEW)}
    measured: dict[str, Any] = {}
    for kind in (UNTRAINED, PRETRAINED):
        params, stats, step = _state(experiment, workdir, kind)
        images = features.extract(
            partial(embed["a"], params, stats), experiment.eval_batches(source), experiment.layout
        )
        texts = _texts(experiment, captions, partial(embed[SECOND_VIEW], params, stats))
        decode_failures = source.num_examples - len(images.index)
        images, texts = _matched(images, texts)
        measured[kind] = {"step": step, **_both_ways(config, images, texts)}
    results = {
        "images": len(images.index),
        "captions": len(texts.labels),
        "similarity": config.retrieval.similarity,
        CHANCE: _by_chance(config, images.index, texts.labels),
        **measured,
        **decode_failure_counts(0, decode_failures),
    }
    print(table(results, config.data.name), file=sys.stderr)
    return results


def first_of_each(captions: Captions, number: int | None) -> Captions:
    """The first so many captions of each image; None: all."""
    if number is None:
        return captions
    starts = np.searchsorted(captions.example, captions.example)
    kept = np.arange(len(captions.example)) - starts < number
    return Captions(captions.words[kept], captions.example[kept])


def table(results: Mapping[str, Any], data_name: str) -> str:
    """R@K in percent, a row a kind of embeddings; on COCO also the papers'."""
    keys = list(results[CHANCE]["image_to_text"])
    rows = tables.retrieval(results, data_name)
    lines = [
        f"{results['images']} images, {results['captions']} captions, {results['similarity']} similarity"
    ]
    cell = 7
    lines.append(" " * 28 + "".join(f"{title:<{cell * len(keys) + 2}}" for title in DIRECTIONS.values()))
    heads = "  ".join("".join(f"{'R@' + key[1:]:>{cell}}" for key in keys) for _ in DIRECTIONS)
    lines.append(f"{'%':<24}{heads}")
    for name, row in rows.items():
        cells = "  ".join(
            "".join(f"{row[way][k]:>{cell}.1f}" if k in row[way] else f"{'-':>{cell}}" for k in keys)
            for way in DIRECTIONS
        )
        lines.append(f"{name:<24}{cells}")
    return "\n".join(lines)


def _state(experiment: Experiment, workdir: pathlib.Path, kind: str) -> tuple[Any, Any, int]:
    """Parameters and statistics of both branches, laid out on the mesh, and the step they are of."""
    init = experiment.run_once(experiment.network.init)
    if kind == UNTRAINED:
        return *init(jax.random.key(experiment.config.seed)), 0
    abstract = jax.eval_shape(init, jax.random.key(0))
    with open_checkpoints(workdir, read_only=True) as checkpoints:
        return checkpoints.restore_newest_part(*abstract, experiment.layout)


def _embedder(experiment: Experiment, name: str) -> Callable[..., jax.Array]:
    """`(params, batch_stats, rows) -> [B, D]` of a view, jitted, in evaluation mode, on every device and host."""
    layout, recipe = experiment.layout, experiment.config.recipe

    def embed(params: Any, stats: Any, rows: jax.Array) -> jax.Array:
        (view,) = normalize_views({name: rows}, recipe).values()
        return experiment.network.apply_frozen(params, stats, name, view).embedding.astype("float32")

    return jax.jit(embed, in_shardings=(None, None, layout.batch), out_shardings=layout.replicated)


def _texts(experiment: Experiment, captions: Captions, embed: features.Encode) -> FeatureTable:
    """Embeddings of the captions, labelled by their image's index. Equal captions are embedded once: they tie."""
    unique, place = np.unique(captions.words, axis=0, return_inverse=True)
    size, shard = experiment.config.eval_batch_size, experiment.shard

    def batches() -> Iterator[Batch]:
        for step in range(-(-len(unique) // size)):
            index, real = padded(step, size, shard, np.arange(len(unique)))
            yield Batch({SECOND_VIEW: unique[index]}, np.full(len(index), -1), np.where(real, index, -1))

    embedded = features.extract(embed, batches(), experiment.layout)
    # Several processes' rows come batch by batch; the index says whose they are.
    rows = embedded.features[np.argsort(embedded.index)]
    return FeatureTable(rows[place.ravel()], captions.example)


def _matched(images: FeatureTable, texts: FeatureTable) -> tuple[FeatureTable, FeatureTable]:
    """Without captions of images that cannot be decoded, and images without captions."""
    shown, described = np.isin(texts.labels, images.index), np.isin(images.index, texts.labels)
    return (
        FeatureTable(images.features[described], images.labels[described], images.index[described]),
        FeatureTable(texts.features[shown], texts.labels[shown]),
    )


def _both_ways(config: Config, images: FeatureTable, texts: FeatureTable) -> dict[str, dict[str, float]]:
    measure = partial(retrieval.recall, ks=config.retrieval.k, cosine=config.retrieval.similarity == "cosine")
    to_text = measure(images.features, texts.features, query_ids=images.index, candidate_ids=texts.labels)
    to_image = measure(texts.features, images.features, query_ids=texts.labels, candidate_ids=images.index)
    return dict(zip(DIRECTIONS, map(_percent, (to_text, to_image)), strict=True))


def _by_chance(config: Config, images: np.ndarray, texts: np.ndarray) -> dict[str, dict[str, float]]:
    ways = ((images, texts), (texts, images))
    found = (_percent(retrieval.chance(*way, config.retrieval.k)) for way in ways)
    return dict(zip(DIRECTIONS, found, strict=True))


def _percent(found: Mapping[int, float]) -> dict[str, float]:
    return {f"r{k}": 100 * shard for k, shard in found.items()}
