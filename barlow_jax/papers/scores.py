"""Scores of an encoder: records that the evaluations write to results/*.json and that all tables read."""

from collections.abc import Mapping, Sequence
import dataclasses
import os
from typing import Any, Final, NamedTuple

from barlow_jax.io import dataframes, paths

# Feature sources: the image itself, the encoder before training, and the encoder of a checkpoint or file.
PIXELS: Final = "pixels"
UNTRAINED: Final = "untrained"
PRETRAINED: Final = "pretrained"
FEATURE_SOURCES = (PIXELS, UNTRAINED, PRETRAINED)
CHANCE = "chance"  # retrieval only: a random ranking
UNNAMED = ("images",)  # data sets without a public name


@dataclasses.dataclass(frozen=True)
class Score:
    """One number that an evaluation measured, and what it was measured on."""

    command: str  # the evaluation: probe, knn, finetune, transfer or retrieve
    classifier: str  # linear, knn, finetuned or svm; ranking for retrieval
    # top1, top5, balanced_accuracy (mean recall of the classes), each also with best_; map or recall; L-BFGS
    # adds iterations and gradient.
    metric: str
    value: float  # percent; iterations and gradient are plain numbers
    data_set: str  # config.data.name; for transfer a key of config.transfer
    split: str  # evaluation split
    num_images: int  # images of the split that could be decoded
    label_fraction: float = 1.0  # of the training labels, in 0..1
    repeats: int = 1  # label subsets that the value is the mean over
    k: int | None = None  # neighbors of k-NN, or K of R@K
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

    @property
    def table(self) -> Any:
        """Scores as a pandas.DataFrame, or as a list of dicts without pandas."""
        return dataframes.make([score.to_json() for score in self.scores])

    def value(self, metric: str = "top1", **fields: Any) -> float:
        """Return the value of the one score with this metric and these fields, such as k=20.

        Raises:
          KeyError: no score, or more than one, has them; the message lists what there is.
        """
        wanted = {"metric": metric} | fields
        values = [score.value for score in self.scores if wanted.items() <= dataclasses.asdict(score).items()]
        if len(values) != 1:
            raise KeyError(f"{len(values)} scores have {wanted}: {self!r}")
        return values[0]

    def __repr__(self) -> str:
        lines = [f"Evaluation of {self.feature_source}" + (f", step {self.step}" if self.step >= 0 else "")]
        hidden = ("classifier", "repeats", "split", "num_images", "value", "metric", "command")
        for score in self.scores:
            details = [f"{k}={v}" for k, v in score.to_json().items() if k not in hidden]
            lines.append(f"{score.command} {score.metric} {score.value:.4g} ({', '.join(details)})")
        return "\n  ".join([*lines, *(f"{name}: {reason}" for name, reason in self.not_measured.items())])

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


def data_identity(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what identifies the images of an evaluation: name, absolute folder, splits, and their labels.

    Args:
      data: the fields of `config.data`, or the entry "data" of a result.
    """
    folder = data["data_dir"]
    splits = {name: data[name] for name in ("train_split", "eval_split")}
    labels = {name: data[name] for name in ("labels", "label_column") if data.get(name)}
    labels |= {"classes": [*data["classes"]]} if data.get("classes") else {}  # as in JSON
    return {"name": data["name"], "data_dir": paths.absolute(folder) if folder else None, **splits, **labels}


def measured_on(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what identifies encoder and images of a result file; None if it is not an evaluation's.

    "encoder" is None for the encoder of the workdir's own run.
    """
    entries = {name: more["data"] for name, more in result.get("transfer", {}).items() if "data" in more}
    if isinstance(data := result.get("data"), Mapping):
        entries = {"data": data}
    if not entries:
        return None
    images = {name: data_identity(entry) for name, entry in entries.items()}
    return {"encoder": result.get("encoder"), **images}


def by_data(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Mapping[str, Any]]]:
    """Group the result files of a run's own encoder by the images that they were measured on.

    The first group, which may be empty, holds those of the run's own data, and files without data, such as
    those of `transfer`, whose scores name their data sets. "@" in a file's name marks other data
    (`workdir.results`); the names in a group have neither that nor what follows it.
    """
    groups: dict[str, dict[str, Mapping[str, Any]]] = {"": {}}
    own = None
    for name in sorted(results, key=lambda name: ("@" in name, name != "pretrain")):
        measured = measured_on(results[name]) or {}
        if measured.get("encoder") is not None:
            continue
        key = str(measured) if "@" in name or "data" in measured else ""
        own = own or ("" if "@" in name else key)
        groups.setdefault("" if key == own else key, {})[name.partition("@")[0]] = results[name]
    return list(groups.values())


def describe_data(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a phrase for the images that the results of one group of `by_data` were measured on."""
    phrases = [
        describe_record(entry)
        for result in results.values()
        for entry in [result.get("data"), *(more.get("data") for more in result.get("transfer", {}).values())]
        if isinstance(entry, Mapping) and entry.get("eval_images")
    ]
    return "; ".join(dict.fromkeys(phrases))


def describe_record(data: Mapping[str, Any]) -> str:
    """Return a phrase for the entry "data" of a result, with the last part of its folder alone.

    >>> data = {"name": "images", "data_dir": "/data/pets", "eval_split": "val", "eval_images": 360}
    >>> describe_record(data | {"num_classes": 10})
    'images (pets), split val (360 images, 10 classes)'
    """
    folder = f" ({os.path.basename(data['data_dir'])})" if data["name"] in UNNAMED else ""
    classes = f", {data['num_classes']} classes" if data.get("num_classes") else ""
    shared = f", {data['shared_images']} of them used in training" if data.get("shared_images") else ""
    return (
        f"{data['name']}{folder}, split {data['eval_split']} ({data['eval_images']} images{classes}{shared})"
    )


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
        own = [e for e in evaluations if e.feature_source == source]
        if source == PRETRAINED and step is not None:
            own = [e for e in own if e.step == step]
        merged_scores: dict[tuple[str, str], tuple[Score, ...]] = {}
        not_measured: dict[str, str] = {}
        for evaluation in own:
            for key in dict.fromkeys(map(_merge_key, evaluation.scores)):
                merged_scores[key] = tuple(s for s in evaluation.scores if _merge_key(s) == key)
            not_measured |= evaluation.not_measured
        reasons = {n: why for n, why in not_measured.items() if ("transfer", n) not in merged_scores}
        if own:
            merged[source] = Evaluation(source, own[-1].step, sum(merged_scores.values(), ()), reasons)
    return merged


def _merge_key(score: Score) -> tuple[str, str]:
    """Return what a newer result replaces: all scores of a command, of `transfer` those of a data set."""
    return score.command, score.data_set if score.command == "transfer" else ""
