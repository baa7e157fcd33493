"""Run probe, knn, finetune and transfer, with baselines and the papers' numbers, in one table."""

import argparse
import pathlib
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.io import log
from barlow_jax.papers import format_tables
from barlow_jax.papers.scores import FEATURE_SOURCES, PIXELS, PRETRAINED, Evaluation

COMMAND = Command(examples=("evaluate --workdir runs/digits",), encoder=True)


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the evaluations of pixels and of the encoder before and after training."""
    from barlow_jax.evals.features import decode_failure_counts
    from barlow_jax.evals.knn import knn
    from barlow_jax.evals.linear_probe import probe
    from barlow_jax.evals.transfer import missing_data
    from barlow_jax.experiment import encoders
    from barlow_jax.experiment.evaluations import available_transfers, finetune_scores, transfer_scores
    from barlow_jax.experiment.experiment import Experiment

    experiment, encoder_path = Experiment.of(config), encoders.encoder_path(workdir, args)
    evaluations, results = {}, []
    for source in FEATURE_SOURCES:
        if source == PIXELS:
            state, (encode, step) = None, experiment.encoder(encoder_path, source)
        else:
            state = experiment.encoder_state(encoder_path, source)
            encode, step = experiment.encode_with(state), state.step
        train, test = experiment.feature_tables(encode)
        scores = probe(config, experiment.layout, encode, train, test) + knn(config, train, test)
        details, not_measured = {}, {}
        if state:
            finetuned, details = finetune_scores(config, state)
            scores += finetuned
        # The tables read every image, so their counts replace those of fine-tuning.
        details |= decode_failure_counts(train.decode_failures, test.decode_failures)
        if source == PRETRAINED:
            names = available_transfers(config)
            transferred, transfer_details = transfer_scores(experiment, encode, names)
            scores, details = scores + transferred, details | transfer_details
            not_measured = {n: missing_data(n, t) for n, t in config.transfer.items() if n not in names}
        evaluations[source] = Evaluation(source, step, tuple(scores), not_measured)
        results.append(evaluations[source].to_json() | details)
    log.info(format_tables.table_by_source(evaluations))
    log.info(f"\n{format_tables.published_table(evaluations[PRETRAINED], config.data.name)}")
    return {"evaluations": results}
