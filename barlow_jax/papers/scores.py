"""Scores of an encoder: records that the evaluations write to results/*.json and that all tables read."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple

# Feature sources: the image itself, the encoder before training, and the encoder of a checkpoint or file.
FEATURE_SOURCES = PIXELS, UNTRAINED, PRETRAINED = "pixels", "untrained", "pretrained"
CHANCE = "chance"  # retrieval only: a random ranking


@dataclasses.dataclass(frozen=True)
class Score:
    """One number that an evaluation measured, and what it was measured on."""

    command: str  # the evaluation: probe, knn, finetune, transfer or retrieve
    classifier: str  # linear, knn, finetuned or svm; ranking for retrieval
    metric: str  # top1, top5, best_top1, best_top5, map or recall; L-BFGS adds iterations and gradient
    value: float  # percent; iterations and gradient are plain numbers
    data_set: str  # config.data.name; for transfer a key of config.transfer
    split: str  # evaluation split
    num_images: int  # images of the split that could be decoded
    label_fraction: float = 1.0  # of the training labels, in 0..1
    repeats: int = 1  # label subsets that the value is the mean over
    k: int | None = None  # neighbours of k-NN, or K of R@K
    distance: str | None = None  # of k-NN: cosine (weighted votes) or euclidean (uniform votes)
    direction: str | None = None  # image_to_text or text_to_image

    @property
    def setting(self) -> tuple[Any, ...]:
        """The fields that identify a row of a table: scores with equal settings are compared in one row."""
        return self.command, self.metric, self.label_fraction, self.k, self.distance

    def to_json(self) -> dict[str, Any]:
        """Return the fields; those that do not apply (None) are left out."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


class Evaluation(NamedTuple):
    """All scores of one feature source."""

    feature_source: str
    step: int  # updates that the encoder has seen; -1 for pixels, and where a file does not record it
    scores: tuple[Score, ...]
    not_measured: Mapping[str, str] = {}  # reason by key of config.transfer

    def to_json(self) -> dict[str, Any]:
        """Return the fields, with scores as JSON objects and without an empty `not_measured`."""
        fields = self._asdict() | {"scores": [score.to_json() for score in self.scores]}
        if not self.not_measured:
            del fields["not_measured"]
        return fields


def parse_scores(records: Sequence[Mapping[str, Any]]) -> tuple[Score, ...]:
    """Return the scores of a list "scores" in JSON."""
    return tuple(Score(**record) for record in records)


def parse_evaluations(result: Mapping[str, Any]) -> list[Evaluation]:
    """Return the evaluations in the content of one result file: one, a list "evaluations", or none."""
    return [
        Evaluation(
            record.get("feature_source", PRETRAINED),
            record.get("step", -1),
            parse_scores(record["scores"]),
            record.get("not_measured", {}),
        )
        for record in result.get("evaluations", [result])
        if "scores" in record
    ]


def read_evaluations(
    results: Mapping[str, Mapping[str, Any]], *, step: int | None = None
) -> dict[str, Evaluation]:
    """Merge the classifier scores of a run's result files by feature source.

    If two files hold scores of the same command, the later step wins; at the same step, `evaluate` wins.

    Args:
      results: contents of results/*.json by file name; `retrieve` is left out.
      step: use only scores of the pretrained encoder at this step; None uses any.
    """
    names = sorted(results, key=lambda name: name == "evaluate")
    evaluations = [e for name in names if name != "retrieve" for e in parse_evaluations(results[name])]
    evaluations.sort(key=lambda evaluation: evaluation.step)
    merged = {}
    for source in FEATURE_SOURCES:
        by_command: dict[str, tuple[Score, ...]] = {}
        newest, not_measured = None, {}
        for evaluation in evaluations:
            if evaluation.feature_source != source:
                continue
            if source == PRETRAINED and step is not None and evaluation.step != step:
                continue
            commands = dict.fromkeys(score.command for score in evaluation.scores)
            for command in commands:
                by_command[command] = tuple(s for s in evaluation.scores if s.command == command)
            if "transfer" in commands or evaluation.not_measured:
                not_measured = evaluation.not_measured
            newest = evaluation.step
        if newest is not None:
            merged[source] = Evaluation(source, newest, sum(by_command.values(), ()), not_measured)
    return merged
