"""Evaluations of an experiment's encoder that several commands share, and their results as JSON."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from functools import partial
import pathlib
from typing import Any

import jax

from barlow_jax.config.schema import Config
from barlow_jax.data.sampler import EpochSampler
from barlow_jax.errors import UserError
from barlow_jax.evals import finetuning
from barlow_jax.evals.evaluation_data import EvaluationData
from barlow_jax.evals.features import Encode, decode_failure_counts
from barlow_jax.evals.knn import knn
from barlow_jax.evals.linear_probe import probe
from barlow_jax.evals.transfer import missing_data, transfer, transfer_config
from barlow_jax.experiment import encoders
from barlow_jax.experiment.encoders import EncoderState
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import log
from barlow_jax.optim import optimizers
from barlow_jax.papers.scores import Evaluation, Score
from barlow_jax.training.step import compile_step, init_state
from barlow_jax.types import FeatureTable
from barlow_jax.workdir import provenance

_GROUPS = {"retrieve": "retrieval"}  # of config keys, by command; the others have the command's name


def settings(config: Config, commands: Sequence[str]) -> dict[str, Any]:
    """Return the entry "settings" of a result: what the scores of these commands depend on, but the data."""
    groups = {name: getattr(config, _GROUPS.get(name, name)) for name in commands}
    return {
        "seed": config.seed,
        "image_size": config.data.image_size,
        "eval_resize": config.data.eval_resize,
        "eval_interpolation": config.data.eval_interpolation,
        **{name: dataclasses.asdict(group) for name, group in groups.items()},
    }


def results(feature_source: str, step: int, scores: Sequence[Score]) -> dict[str, Any]:
    """Return the scores of one feature source as JSON."""
    return Evaluation(feature_source, step, tuple(scores)).to_json()


def about(
    config: Config, workdir: pathlib.Path, path: pathlib.Path, commands: Sequence[str]
) -> dict[str, Any]:
    """Return settings, date and code of a result, and the path of an encoder of another run or of a file."""
    run, _ = encoders.split_step(path)
    foreign = {} if run.resolve() == workdir.resolve() else {"encoder": str(path.absolute())}
    return {**foreign, "settings": settings(config, commands), **provenance.stamp()}


def frozen_scores(
    experiment: Experiment, commands: Sequence[str], encode: Encode, train: FeatureTable, test: FeatureTable
) -> list[Score]:
    """Return the scores of the commands "probe" and "knn" on the features of a frozen encoder."""
    measures: Mapping[str, Callable[[], list[Score]]] = {
        "probe": lambda: probe(experiment.config, experiment.layout, encode, train, test),
        "knn": lambda: knn(experiment.config, train, test),
    }
    return [score for command in commands for score in measures[command]()]


def frozen_results(
    experiment: Experiment, workdir: pathlib.Path, path: pathlib.Path, source: str, commands: Sequence[str]
) -> tuple[dict[str, Any], FeatureTable]:
    """Return the results of the commands "probe" and "knn", and the features of the evaluation split.

    The results belong to `workdir`; `path` is that of the encoder, `source` its feature source.

    Raises:
      UserError: the data allow no accuracy, or the encoder cannot be read.
    """
    data = EvaluationData.open(experiment.config.data).check_labels()
    encode, step = experiment.encoder(path, source)
    train, test, data_record = experiment.feature_tables(encode, data)
    scores = frozen_scores(experiment, commands, encode, train, test)
    counts = decode_failure_counts(train.decode_failures, test.decode_failures)
    details = counts | {"data": data_record} | about(experiment.config, workdir, path, commands)
    return results(source, step, scores) | details, test


def measure_frozen(
    command: str,
    config: Config,
    workdir: pathlib.Path,
    encoder: pathlib.Path | str | None,
    feature_source: str,
) -> dict[str, Any]:
    """Return the results of "probe" or "knn"; `encoder` is its path, None for the workdir's."""
    experiment, path = Experiment.from_config(config), encoders.encoder_path(workdir, encoder)
    return frozen_results(experiment, workdir, path, feature_source, [command])[0]


def measure_finetuned(
    config: Config, workdir: pathlib.Path, encoder: pathlib.Path | str | None, feature_source: str
) -> dict[str, Any]:
    """Return the results of fine-tuning by label fraction."""
    EvaluationData.open(config.data).check_labels()
    path = encoders.encoder_path(workdir, encoder)
    state = Experiment.from_config(config).encoder_state(path, feature_source)
    scores, details = finetune_scores(config, state)
    return results(feature_source, state.step, scores) | about(config, workdir, path, ["finetune"]) | details


def measure_transfer(
    config: Config,
    workdir: pathlib.Path,
    encoder: pathlib.Path | str | None,
    feature_source: str,
    only: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the results on other data sets: those named, or all of config.transfer that can be read.

    TFDS prepares the named data sets where it can.
    """
    names = list(only) if only else available_transfers(config)
    if unknown := [name for name in names if name not in config.transfer]:
        keys = ", ".join(config.transfer)
        raise UserError(f"--only {','.join(names)}: config.transfer has no {unknown[0]!r}; it has {keys}")
    if not names:
        reasons = filter(None, (missing_data(n, t) for n, t in config.transfer.items()))
        raise UserError(f"no data set of config.transfer can be read: {'; '.join(reasons)}")
    data_sets = open_transfers(config, names)
    experiment, path = Experiment.from_config(config), encoders.encoder_path(workdir, encoder)
    encode, step = experiment.encoder(path, feature_source)
    scores, details = transfer_scores(experiment, encode, data_sets)
    return results(feature_source, step, scores) | about(config, workdir, path, []) | details


def finetune_scores(config: Config, encoder: EncoderState) -> tuple[list[Score], dict[str, Any]]:
    """Return the scores of `finetuning.finetune`, and its details."""
    return finetuning.finetune(config, encoder.params, encoder.batch_stats, _make_trainer)


def available_transfers(config: Config) -> list[str]:
    """Return the keys of `config.transfer` whose data sets can be read."""
    return [name for name, settings in config.transfer.items() if not missing_data(name, settings)]


def open_transfers(config: Config, names: list[str]) -> dict[str, EvaluationData]:
    """Open the named data sets, before anything is measured.

    Raises:
      UserError: the labels of one do not suit its classifier.
    """
    return {
        name: EvaluationData.open(config.transfer[name].data).check_labels(
            multi_label=config.transfer[name].classifier == "svm"
        )
        for name in names
    }


def transfer_scores(
    experiment: Experiment, encode: Encode, data_sets: Mapping[str, EvaluationData]
) -> tuple[list[Score], dict[str, Any]]:
    """Return the scores on the data sets of `open_transfers`, and {"transfer": details by name} if any."""
    config, scores, details = experiment.config, [], {}
    for name, data in data_sets.items():
        on_data_set = dataclasses.replace(experiment, config=transfer_config(config, config.transfer[name]))
        train, test, data_record = on_data_set.feature_tables(encode, data)
        measured, more = transfer(name, config, experiment.layout, encode, train, test)
        scores += measured
        log.info(f"{name}: {', '.join(f'{score.metric} {score.value}' for score in measured)}")
        command = "svm" if config.transfer[name].classifier == "svm" else "probe"
        protocol = settings(on_data_set.config, ()) | {
            command: dataclasses.asdict(getattr(config.transfer[name], command))
        }
        counts = decode_failure_counts(train.decode_failures, test.decode_failures)
        details[name] = more | counts | {"data": data_record, "settings": protocol}
    return scores, {"transfer": details} if details else {}


def _make_trainer(config: Config, sampler: EpochSampler) -> finetuning.Trainer:
    experiment = Experiment.from_config(config)
    optimizer = optimizers.make_finetune_optimizer(config.finetune, sampler.steps_per_epoch)
    parts = dataclasses.replace(experiment.step_parts(sampler), optimizer=optimizer)
    init = experiment.jit_once(partial(init_state, parts=parts))
    step = compile_step(experiment.layout, jax.eval_shape(init, jax.random.key(0)), parts)
    return finetuning.Trainer(experiment.layout, init, step, experiment.jitted_encoder())
