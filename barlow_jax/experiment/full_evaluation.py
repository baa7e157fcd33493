"""All evaluations of an encoder, with baselines and the papers' numbers, in one table.

Each result is on disk as soon as it is measured: a repeated evaluation resumes after them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
from functools import partial
import hashlib
import json
from typing import Any

import jax

from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.evals.evaluation_data import EvaluationData
from barlow_jax.experiment import evaluations
from barlow_jax.experiment.evaluations import Evaluator, Measured
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import jsonl, log
from barlow_jax.io.paths import Path
from barlow_jax.papers import tables
from barlow_jax.papers.scores import (
    FEATURE_SOURCES,
    PIXELS,
    PRETRAINED,
    Evaluation,
    describe_record,
    parse_scores,
)
from barlow_jax.training import compilation_cache
from barlow_jax.workdir import provenance


def evaluate(config: Config, workdir: Path, path: Path) -> dict[str, Any]:
    """Return the evaluations of pixels and of the encoder at a path before and after training.

    If the data allow no accuracy, only the transfer to other data sets is measured. Each result is logged
    and written when it is measured, and is not measured again if the evaluation is stopped and repeated.
    """
    data, missing = EvaluationData.open(config.data), evaluations.missing_transfers(config)
    problem = data.label_problem()
    names = [name for name in config.transfer if name not in missing]
    transfers = evaluations.open_transfers(config, names)
    if problem and not transfers:
        raise UserError(problem)
    if problem:
        log.warning(f"not measured: linear probe, k-NN and fine-tuning. {problem}")
    experiment = Experiment.from_config(config)
    commands = [] if problem else ["probe", "knn", "finetune"]
    about = evaluations.about(config, workdir, path, commands)
    partial_results = PartialResults(workdir, config, [data, *transfers.values()])
    by_source, results = {}, []
    # All encoders are read before anything is measured.
    sources = [PRETRAINED] if problem else FEATURE_SOURCES
    evaluators = [Evaluator(experiment, path, source, data) for source in sources]
    with compilation_cache.persistent(config.train.compilation_cache):
        for evaluator in evaluators:
            source, scores, details = evaluator.source, [], {}
            for name, measure in _parts(evaluator, commands, transfers):
                measured, more = partial_results.measure(source, name, evaluator.state[:2], measure)
                scores += measured
                for key, value in more.items():  # "transfer" has an entry from each data set
                    details[key] = {**details.get(key, {}), **value}
            if not problem:
                about["data"] = details.pop("data")
            not_measured = missing if source == PRETRAINED else {}
            by_source[source] = Evaluation(source, evaluator.state.step, tuple(scores), not_measured)
            results.append(by_source[source].to_json() | details)
    if not problem:
        log.info(f"measured on {describe_record(about['data'])}")
        log.info(tables.format_by_source(by_source))
    log.info(f"\n{tables.format_published(by_source[PRETRAINED], config.data.name)}")
    partial_results.remove()
    return {"evaluations": results, **about}


def _parts(
    evaluator: Evaluator, commands: Sequence[str], transfers: Mapping[str, EvaluationData]
) -> Iterator[tuple[str, Callable[[], Measured]]]:
    """Yield the parts of one feature source: their names, and functions that measure them."""

    def finetuned(fraction: float) -> Measured:
        # The tables read every image, so their counts of decode failures replace those of fine-tuning.
        return evaluator.finetuned([fraction])[0], {}

    for command in commands:
        if command != "finetune":
            yield command, partial(evaluator.frozen, [command])
        elif evaluator.source != PIXELS:
            for fraction in evaluator.experiment.config.finetune.label_fractions:
                yield f"finetune {fraction:g}", partial(finetuned, fraction)
    for name, data in transfers.items() if evaluator.source == PRETRAINED else ():
        yield f"transfer {name}", partial(evaluator.transfer, {name: data})


class PartialResults:
    """Measured parts of an evaluation in `WORKDIR/results/.evaluate.jsonl`, until it is complete.

    A part is used again only for the same key. Several processes measure everything again: they would have
    to agree on what is done.
    """

    def __init__(self, workdir: Path, config: Config, data_sets: Sequence[EvaluationData]):
        """Read what a stopped evaluation has left.

        The config, the images of the data sets, this version of the code and the number of devices are part
        of the key.
        """
        images = [_digest("", split.identity()) for data in data_sets for split in (data.train, data.test)]
        code = {name: value for name, value in provenance.stamp().items() if name != "date"}
        self._key = [dataclasses.asdict(config), images, code, jax.device_count()]
        self._path = workdir / "results" / ".evaluate.jsonl"
        self._writes, self._resumes = jax.process_index() == 0, jax.process_count() == 1
        rows = jsonl.reopen(self._path, lambda row: self._resumes) if self._writes else []
        self._found = {row["digest"]: row for row in rows if row.keys() == {"digest", "scores", "details"}}

    def measure(self, source: str, name: str, encoder: Any, measure: Callable[[], Measured]) -> Measured:
        """Return a part's scores and details, measured now or read, and log its accuracies.

        The name is unique for the feature source; `encoder` are the arrays of the encoder, none for pixels.
        """
        arrays = jax.tree.leaves(encoder) if self._resumes else []
        key = json.dumps([source, name, self._key], sort_keys=True)
        digest = _digest(key, (jax.device_get(array).tobytes() for array in arrays))
        if row := self._found.get(digest):
            log.info(f"{source}, {name}: already measured by an evaluation that was stopped")
            scores, details = list(parse_scores(row["scores"])), row["details"]
        else:
            scores, details = measure()
            if self._writes:
                row = {"digest": digest, "scores": [s.to_json() for s in scores], "details": details}
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.closing(jsonl.open_append(self._path)) as file:
                    file.append(json.dumps(row))
        for row in tables.rows_by_source({source: Evaluation(source, -1, tuple(scores))}):
            log.info(f"{source:<12}{row.name:<34}{row.values[source]:>6.1f} %")
        return scores, details

    def remove(self) -> None:
        """Remove the file: the evaluation is complete."""
        if self._writes:
            jsonl.remove(self._path)


def _digest(key: str, parts: Iterable[bytes]) -> str:
    sha256 = hashlib.sha256(key.encode())
    for part in parts:
        sha256.update(part)
    return sha256.hexdigest()
