"""Evaluations of an experiment's encoder that several commands share."""

import dataclasses
from functools import partial
from typing import Any

import jax

from barlow_jax.config.schema import Config
from barlow_jax.data.sampler import EpochSampler
from barlow_jax.evals import finetuning
from barlow_jax.evals.features import Encode, decode_failure_counts
from barlow_jax.evals.transfer import missing_data, transfer, transfer_config
from barlow_jax.experiment.encoders import EncoderState
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import log
from barlow_jax.optim import optimizers
from barlow_jax.papers.scores import Score
from barlow_jax.training.step import compile_step, init_state


def finetune_scores(config: Config, encoder: EncoderState) -> tuple[list[Score], dict[str, Any]]:
    """Return the scores of `finetuning.finetune`, and decode failures if any."""
    return finetuning.finetune(config, encoder.params, encoder.batch_stats, _make_trainer)


def available_transfers(config: Config) -> list[str]:
    """Return the keys of `config.transfer` whose data sets can be read."""
    return [name for name, settings in config.transfer.items() if not missing_data(name, settings)]


def transfer_scores(
    experiment: Experiment, encode: Encode, names: list[str]
) -> tuple[list[Score], dict[str, Any]]:
    """Return the scores on the named data sets, and {"transfer": details by name} if there are any."""
    config, scores, details = experiment.config, [], {}
    for name in names:
        on_data_set = dataclasses.replace(experiment, config=transfer_config(config, config.transfer[name]))
        train, test = on_data_set.feature_tables(encode)
        measured, more = transfer(name, config, experiment.layout, encode, train, test)
        scores += measured
        log.info(f"{name}: {', '.join(f'{score.metric} {score.value}' for score in measured)}")
        if more := more | decode_failure_counts(train.decode_failures, test.decode_failures):
            details[name] = more
    return scores, {"transfer": details} if details else {}


def _make_trainer(config: Config, sampler: EpochSampler) -> finetuning.Trainer:
    experiment = Experiment.of(config)
    optimizer = optimizers.make_finetune_optimizer(config.finetune, sampler.steps_per_epoch)
    parts = dataclasses.replace(experiment.step_parts(sampler), optimizer=optimizer)
    init = experiment.jit_once(partial(init_state, parts=parts))
    step = compile_step(experiment.layout, jax.eval_shape(init, jax.random.key(0)), parts)
    return finetuning.Trainer(experiment.layout, init, step, experiment.jitted_encoder())
