"""Evaluations of an experiment's encoder that several commands share, and their results as JSON."""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
from typing import Any

from barlow_jax.config.schema import Config
from barlow_jax.data import catalog
from barlow_jax.errors import UserError
from barlow_jax.evals import svm
from barlow_jax.evals.evaluation_data import EvaluationData
from barlow_jax.evals.features import decode_failure_counts
from barlow_jax.evals.knn import knn
from barlow_jax.evals.linear_probe import probe
from barlow_jax.experiment import encoders, finetuning
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import log
from barlow_jax.io.paths import Path
from barlow_jax.papers.scores import Evaluation, Score
from barlow_jax.types import FeatureTable
from barlow_jax.workdir import provenance

# Scores, and the details that belong to them as JSON values.
Measured = tuple[list[Score], dict[str, Any]]
_GROUPS = {"retrieve": "retrieval"}  # of config keys, by command; the others have the command's name


def settings(config: Config, commands: Sequence[str]) -> dict[str, Any]:
    """Return the entry "settings" of a result: what the scores of these commands depend on, but the data."""
    data = {key: getattr(config.data, key) for key in ("image_size", "eval_resize", "eval_interpolation")}
    groups = {name: dataclasses.asdict(getattr(config, _GROUPS.get(name, name))) for name in commands}
    return {"seed": config.seed, **data, **groups}


def about(config: Config, workdir: Path, path: Path, commands: Sequence[str]) -> dict[str, Any]:
    """Return settings, date and code of a result, and the path of an encoder of another run or of a file."""
    run, _ = encoders.split_step(path)
    foreign = {} if run.resolve() == workdir.resolve() else {"encoder": str(path.absolute())}
    return {**foreign, "settings": settings(config, commands), **provenance.stamp()}


class Evaluator:
    """Encoder of a feature source, and its scores; features of the config's data are extracted once."""

    def __init__(self, experiment: Experiment, path: Path, source: str, data: EvaluationData | None = None):
        """Read the encoder at a path; nothing is measured yet. `frozen` needs the data of the config."""
        self.experiment, self.path, self.source, self._data = experiment, path, source, data
        self.state = experiment.encoder_state(path, source)
        self._encode = experiment.encode_with(self.state)

    @functools.cached_property
    def tables(self) -> tuple[FeatureTable, FeatureTable, dict[str, Any]]:
        """Features of both splits, and the entry "data" of a result."""
        return self.experiment.feature_tables(self._encode, self._data)

    def results(self, workdir: Path, commands: Sequence[str], measured: Measured) -> dict[str, Any]:
        """Return scores and details as the results of commands in a workdir, which may be another run's."""
        evaluation = Evaluation(self.source, self.state.step, tuple(measured[0]))
        origin = about(self.experiment.config, workdir, self.path, commands)
        return evaluation.to_json() | origin | measured[1]

    def frozen(self, commands: Sequence[str]) -> Measured:
        """Return the scores of the commands "probe" and "knn" on the features of the frozen encoder."""
        train, test, data_record = self.tables
        config, scores = self.experiment.config, []
        for command in commands:
            if command == "knn":
                scores += knn(config, train, test)
            else:
                scores += probe(config, self.experiment.layout, self._encode, train, test)
        counts = decode_failure_counts(train.decode_failures, test.decode_failures)
        return scores, counts | {"data": data_record}

    def finetuned(self, fractions: Sequence[float]) -> Measured:
        """Return the scores of fine-tuning with fractions of the labels."""
        return finetuning.finetune(self.experiment.config, self.state, fractions)

    def transfer(self, data_sets: Mapping[str, EvaluationData]) -> Measured:
        """Return the scores on the data sets of `open_transfers`: of the linear probe, or map of the SVMs.

        The details of an SVM are those of `svm.mean_average_precision`, "per_class" in percent.
        """
        config, scores, details = self.experiment.config, [], {}
        for name, data in data_sets.items():
            transfer = config.transfer[name]
            own = dataclasses.replace(config, data=transfer.data, probe=transfer.probe)
            experiment, more = dataclasses.replace(self.experiment, config=own), {}
            train, test, data_record = experiment.feature_tables(self._encode, data)
            if transfer.classifier == "svm":
                more = svm.mean_average_precision(train, test, config=transfer.svm, seed=config.seed)
                value = round(100 * more.pop("map"), 2)
                more["per_class"] = [p if p is None else round(100 * p, 2) for p in more["per_class"]]
                measured_on = (name, transfer.data.eval_split, len(test.labels))
                measured = [Score("transfer", "svm", "map", value, *measured_on)]
            else:
                measured = probe(own, experiment.layout, self._encode, train, test)
                measured = [dataclasses.replace(s, command="transfer", data_set=name) for s in measured]
            scores += measured
            log.info(f"{name}: {', '.join(f'{score.metric} {score.value}' for score in measured)}")
            command = "svm" if transfer.classifier == "svm" else "probe"
            protocol = {command: dataclasses.asdict(getattr(transfer, command))}
            details[name] = {
                **more,
                **decode_failure_counts(train.decode_failures, test.decode_failures),
                "data": data_record,
                "settings": settings(own, ()) | protocol,
            }
        return scores, {"transfer": details} if details else {}


def measure(
    command: str, config: Config, workdir: Path, path: Path, feature_source: str, only: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the results of "probe", "knn", "finetune" or "transfer" for the encoder at a path.

    `only` are keys of `config.transfer`; by default all whose data can be read. TFDS prepares the data sets
    that are named where it can.

    Raises:
      UserError: the data allow no accuracy, or the encoder cannot be read.
    """
    experiment = Experiment.from_config(config)
    if command == "transfer":
        data_sets = _choose_transfers(config, only)
        evaluator = Evaluator(experiment, path, feature_source)
        return evaluator.results(workdir, [], evaluator.transfer(data_sets))
    evaluator = Evaluator(experiment, path, feature_source, EvaluationData.open(config.data).check_labels())
    if command == "finetune":
        measured = evaluator.finetuned(config.finetune.label_fractions)
    else:
        measured = evaluator.frozen([command])
    return evaluator.results(workdir, [command], measured)


def missing_transfers(config: Config) -> dict[str, str]:
    """Return why data sets cannot be read, by their keys in `config.transfer`."""
    reasons = {name: catalog.unavailable_reason(transfer.data) for name, transfer in config.transfer.items()}
    return {
        name: reason.replace("config.data.", f"config.transfer.{name}.data.")
        for name, reason in reasons.items()
        if reason
    }


def open_transfers(config: Config, names: Sequence[str]) -> dict[str, EvaluationData]:
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


def _choose_transfers(config: Config, only: Sequence[str]) -> dict[str, EvaluationData]:
    if unknown := [name for name in only if name not in config.transfer]:
        keys = ", ".join(config.transfer)
        raise UserError(f"--only {','.join(only)}: config.transfer has no {unknown[0]!r}; it has {keys}")
    missing = {} if only else missing_transfers(config)
    if config.transfer.keys() == missing.keys():
        raise UserError(f"no data set of config.transfer can be read: {'; '.join(missing.values())}")
    return open_transfers(config, only or [name for name in config.transfer if name not in missing])
