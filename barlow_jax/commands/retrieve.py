"""Retrieve images by captions and captions by images: R@K of a run trained on image and text."""

import argparse
import dataclasses
from functools import partial
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.recipe import SECOND_VIEW
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.io import log
from barlow_jax.io.paths import Path
from barlow_jax.papers import tables
from barlow_jax.papers.scores import CHANCE, PRETRAINED, UNTRAINED, Evaluation, data_identity

COMMAND = Command(examples=("retrieve --workdir runs/captions",), config_groups=("retrieval",))


def run(config: Config, workdir: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return R@K on the evaluation split by chance, before and after training."""
    from barlow_jax.checkpoints.restore import newest_step
    from barlow_jax.distributed import same_data
    from barlow_jax.evals import caption_retrieval, features
    from barlow_jax.experiment import evaluations
    from barlow_jax.experiment.experiment import Experiment

    if not config.network.reads_text:
        raise UserError(
            f"config.network.second_encoder is {config.network.second_encoder}, but retrieve needs a run "
            "whose second branch reads captions (gru), such as one of --config captioned_digits"
        )
    if newest_step(workdir) is None:
        raise UserError(f"{workdir} holds no checkpoint; run `pretrain --workdir {workdir}` first")
    experiment = Experiment.from_config(config)
    layout = experiment.layout
    source = same_data.open_split(config.data, config.data.eval_split)
    captions = source.read_captions(config.data)
    captions = caption_retrieval.first_captions(captions, config.retrieval.captions_per_image)
    embedder = partial(caption_retrieval.make_embedder, experiment.network, layout, config.recipe)
    embed_image, embed_caption = embedder("a"), embedder(SECOND_VIEW)
    measured = []
    for feature_source in (UNTRAINED, PRETRAINED):
        params, stats, step = experiment.encoder_state(workdir, feature_source, experiment.network)
        encode = partial(embed_image, params, stats)
        images = features.extract(encode, experiment.eval_batches(source), layout)
        decode_failures = source.num_examples - len(images.index)
        texts = caption_retrieval.embed_captions(
            captions, partial(embed_caption, params, stats), layout, config.eval_batch_size
        )
        images, texts = caption_retrieval.match(images, texts)
        scores = caption_retrieval.retrieval_scores(config, images, texts)
        measured.append(Evaluation(feature_source, step, tuple(scores)))
    chance = caption_retrieval.chance_scores(config, images, texts)
    measured.insert(0, Evaluation(CHANCE, -1, tuple(chance)))
    similarity = config.retrieval.similarity
    log.info(f"{len(images.index)} images, {len(texts.labels)} captions, {similarity} similarity")
    log.info(tables.format_retrieval(measured, config.data.name))
    return {
        "images": len(images.index),
        "captions": len(texts.labels),
        "similarity": similarity,
        "evaluations": [evaluation.to_json() for evaluation in measured],
        **features.decode_failure_counts(0, decode_failures),
        "data": {
            **data_identity(dataclasses.asdict(config.data)),
            "eval_images": len(images.index),
            "num_classes": source.num_classes,
        },
        **evaluations.about(config, workdir, workdir, ["retrieve"]),
    }
