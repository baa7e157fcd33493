"""Run probe, knn, finetune and transfer, with baselines and the papers' numbers, in one table."""

import argparse
import pathlib
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.io import log
from barlow_jax.papers import format_tables
from barlow_jax.papers.scores import FEATURE_SOURCES, PIXELS, PRETRAINED, Evaluation, describe_record

COMMAND = Command(examples=("evaluate --workdir runs/digits",), encoder=True)


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the evaluations of pixels and of the encoder before and after training.

    If the data allow no accuracy, only the transfer to other data sets is measured.
    """
    from barlow_jax.evals.evaluation_data import EvaluationData
    from barlow_jax.evals.features import decode_failure_counts
    from barlow_jax.evals.transfer import missing_data
    from barlow_jax.experiment import encoders, evaluations as measure
    from barlow_jax.experiment.experiment import Experiment

    data, names = EvaluationData.open(config.data), measure.available_transfers(config)
    problem, transfers = data.label_problem(), measure.open_transfers(config, names)
    if problem and not transfers:
        raise UserError(problem)
    if problem:
        log.warning(f"not measured: linear probe, k-NN and fine-tuning. {problem}")
    experiment, encoder_path = Experiment.of(config), encoders.encoder_path(workdir, args)
    evaluations, results = {}, []
    about = measure.about(config, workdir, encoder_path, [] if problem else ["probe", "knn", "finetune"])
    for source in [PRETRAINED] if problem else FEATURE_SOURCES:
        if source == PIXELS:
            state, (encode, step) = None, experiment.encoder(encoder_path, source)
        else:
            state = experiment.encoder_state(encoder_path, source)
            encode, step = experiment.encode_with(state), state.step
        scores, details, not_measured = [], {}, {}
        if not problem:
            train, test, data_record = experiment.feature_tables(encode, data)
            scores = measure.frozen_scores(experiment, ["probe", "knn"], encode, train, test)
            scores += measure.finetune_scores(config, state)[0] if state else []
            # The tables read every image, so their counts replace those of fine-tuning.
            details = decode_failure_counts(train.decode_failures, test.decode_failures)
            about["data"] = data_record
        if source == PRETRAINED:
            transferred, transfer_details = measure.transfer_scores(experiment, encode, transfers)
            scores, details = scores + transferred, details | transfer_details
            not_measured = {n: missing_data(n, t) for n, t in config.transfer.items() if n not in names}
        evaluations[source] = Evaluation(source, step, tuple(scores), not_measured)
        results.append(evaluations[source].to_json() | details)
    if not problem:
        log.info(f"measured on {describe_record(about['data'])}")
        log.info(format_tables.table_by_source(evaluations))
    log.info(f"\n{format_tables.published_table(evaluations[PRETRAINED], config.data.name)}")
    return {"evaluations": results, **about}
