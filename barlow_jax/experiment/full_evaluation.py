"""All evaluations of an encoder, with baselines and the papers' numbers, in one table."""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import pathlib
from typing import Any

from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.evals.evaluation_data import EvaluationData
from barlow_jax.evals.features import decode_failure_counts
from barlow_jax.evals.transfer import missing_data
from barlow_jax.experiment import encoders, evaluations as measure
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.experiment.partial_results import Measured, PartialResults
from barlow_jax.io import log
from barlow_jax.papers import tables
from barlow_jax.papers.scores import FEATURE_SOURCES, PIXELS, PRETRAINED, Evaluation, Score, describe_record
from barlow_jax.training import compilation_cache


def evaluate(
    config: Config, workdir: pathlib.Path, encoder: pathlib.Path | str | None = None
) -> dict[str, Any]:
    """Return the evaluations of pixels and of the encoder before and after training.

    If the data allow no accuracy, only the transfer to other data sets is measured. Each result is logged
    and written when it is measured, and is not measured again if the evaluation is stopped and repeated.
    """
    data, names = EvaluationData.open(config.data), measure.available_transfers(config)
    problem, transfers = data.label_problem(), measure.open_transfers(config, names)
    if problem and not transfers:
        raise UserError(problem)
    if problem:
        log.warning(f"not measured: linear probe, k-NN and fine-tuning. {problem}")
    experiment, path = Experiment.from_config(config), encoders.encoder_path(workdir, encoder)
    about = measure.about(config, workdir, path, [] if problem else ["probe", "knn", "finetune"])
    partial_results = PartialResults(workdir, config, [data, *transfers.values()])
    evaluations, results = {}, []
    # All encoders are read before anything is measured.
    sources = [PRETRAINED] if problem else FEATURE_SOURCES
    parts_of = {source: _Parts(source, experiment, path, partial_results) for source in sources}
    with compilation_cache.persistent(config.train.compilation_cache):
        for source, parts in parts_of.items():
            if not problem:
                parts.classify(data)
                about["data"] = parts.details.pop("data")
            if source == PRETRAINED:
                parts.transfer(transfers)
            missing = [n for n in config.transfer if source == PRETRAINED and n not in names]
            not_measured = {name: missing_data(name, config.transfer[name]) for name in missing}
            evaluations[source] = Evaluation(source, parts.step, tuple(parts.scores), not_measured)
            results.append(evaluations[source].to_json() | parts.details)
    if not problem:
        log.info(f"measured on {describe_record(about['data'])}")
        log.info(tables.format_by_source(evaluations))
    log.info(f"\n{tables.format_published(evaluations[PRETRAINED], config.data.name)}")
    partial_results.remove()
    return {"evaluations": results, **about}


class _Parts:
    """Scores and details of one feature source, part by part."""

    def __init__(self, source: str, experiment: Experiment, path: pathlib.Path, partial: PartialResults):
        """Read the encoder; nothing is measured yet."""
        self._source, self._experiment, self._partial = source, experiment, partial
        self._state = None if source == PIXELS else experiment.encoder_state(path, source)
        if self._state:
            self._encode, self.step = experiment.encode_with(self._state), self._state.step
        else:
            self._encode, self.step = experiment.encoder(path, source)
        self.scores: list[Score] = []
        self.details: dict[str, Any] = {}

    def classify(self, data: EvaluationData) -> None:
        """Measure linear probe, k-NN and, except for pixels, fine-tuning by label fraction."""
        config = self._experiment.config
        tables = functools.cache(lambda: self._experiment.feature_tables(self._encode, data))

        def frozen(command: str) -> Measured:
            train, test, record = tables()
            scores = measure.frozen_scores(self._experiment, [command], self._encode, train, test)
            counts = decode_failure_counts(train.decode_failures, test.decode_failures)
            return scores, counts | {"data": record}

        def finetuned(fraction: float) -> Measured:
            settings = dataclasses.replace(config.finetune, label_fractions=(fraction,))
            one = dataclasses.replace(config, finetune=settings)
            # The tables read every image, so their counts of decode failures replace those of fine-tuning.
            return measure.finetune_scores(one, self._state)[0], {}

        for command in ("probe", "knn"):
            self._measure(command, functools.partial(frozen, command))
        for fraction in config.finetune.label_fractions if self._state else ():
            self._measure(f"finetune {fraction:g}", functools.partial(finetuned, fraction))

    def transfer(self, data_sets: Mapping[str, EvaluationData]) -> None:
        """Measure the transfer to other data sets."""
        for name, data in data_sets.items():
            part = functools.partial(measure.transfer_scores, self._experiment, self._encode, {name: data})
            self._measure(f"transfer {name}", part)

    def _measure(self, name: str, measure: Callable[[], Measured]) -> None:
        arrays = self._state and (self._state.params, self._state.batch_stats)
        scores, details = self._partial.measure(self._source, name, arrays, measure)
        self.scores += scores
        for key, value in details.items():  # "transfer" has an entry from each data set
            self.details[key] = {**self.details.get(key, {}), **value}
