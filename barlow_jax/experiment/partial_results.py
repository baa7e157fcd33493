"""Results of an evaluation, on disk as soon as each is measured; a repeated evaluation resumes after them."""

from collections.abc import Callable, Iterable, Sequence
import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import jax

from barlow_jax.config.schema import Config
from barlow_jax.evals.evaluation_data import EvaluationData
from barlow_jax.io import jsonl, log
from barlow_jax.papers import tables
from barlow_jax.papers.scores import Evaluation, Score, parse_scores
from barlow_jax.workdir import provenance

# Scores, and the details that belong to them as JSON values.
Measured = tuple[list[Score], dict[str, Any]]


class PartialResults:
    """Measured parts of an evaluation in `WORKDIR/results/.evaluate.jsonl`, until it is complete.

    A part is used again only for the same key. Several processes measure everything again: they would have
    to agree on what is done.
    """

    def __init__(self, workdir: pathlib.Path, config: Config, data_sets: Sequence[EvaluationData]):
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

        The name is unique for the feature source; `encoder` are the arrays of the encoder, None for pixels.
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
                jsonl.AppendOnlyFile(self._path).append(json.dumps(row))
        for row in tables.rows_by_source({source: Evaluation(source, -1, tuple(scores))}):
            log.info(f"{source:<12}{row.name:<34}{row.values[source]:>6.1f} %")
        return scores, details

    def remove(self) -> None:
        """Remove the file: the evaluation is complete."""
        if self._writes:
            self._path.unlink(missing_ok=True)


def _digest(key: str, parts: Iterable[bytes]) -> str:
    sha256 = hashlib.sha256(key.encode())
    for part in parts:
        sha256.update(part)
    return sha256.hexdigest()
