"""Result tables: scores by feature source, and scores next to the numbers that papers report. In percent."""

from collections.abc import Iterator, Mapping, Sequence
import re
from typing import NamedTuple

from barlow_jax.papers import published
from barlow_jax.papers.scores import PRETRAINED, Evaluation, Score

# Methods of the papers' tables that are shown; more would not fit a terminal.
_METHODS = ("Supervised", "SimCLR", "BYOL", "SwAV", "Barlow Twins")
_SMALL_METHODS = ("SimCLR", "BYOL", "W-MSE 2", "W-MSE 4", "VICReg", "Barlow Twins")
_SMALL_DATA = {data_set for table in published.SMALL_LINEAR.values() for data_set in table}
_TRANSFER = {"places205": "Places205, top-1", "voc07": "VOC07, mAP", "inat18": "iNaturalist 2018, top-1"}
_DETECTION = "Detectron2 measures it; see configs/detectron2"
_DETECTION_ROWS = {"detection, VOC07+12, AP": 0, "detection, COCO, AP": 3, "segmentation, COCO, AP": 6}
_TITLES = {"probe": "linear", "knn": "k-NN", "finetune": "fine-tuned"}
DIRECTIONS = {"image_to_text": "image to text", "text_to_image": "text to image"}


class SourceRow(NamedTuple):
    """Accuracy of one classifier on one fraction of the labels, for several feature sources."""

    name: str  # "k-NN 20, 10% of labels"
    score: Score  # a score of this row: its classifier, label fraction and k
    values: Mapping[str, float | None]  # percent by feature source; None if not measured


class PublishedRow(NamedTuple):
    """One measurement: what the papers report, and this run's."""

    name: str
    published: Mapping[str, float | None]  # percent by method
    measured: float | None  # percent
    reason: str | None  # why `measured` is None


class PublishedTable(NamedTuple):
    """The papers' table for a data set, with this run's scores."""

    setting: str  # data set and encoder of the papers
    methods: Sequence[str]  # columns
    rows: Sequence[PublishedRow]


def rows_by_source(evaluations: Mapping[str, Evaluation], metric: str = "top1") -> Iterator[SourceRow]:
    """Yield the metric (top1 or balanced_accuracy) of each classifier and label fraction, lowest first."""
    for command, title in _TITLES.items():
        columns = {
            source: {s.setting: s for s in evaluation.scores if s.command == command and s.metric == metric}
            for source, evaluation in evaluations.items()
        }
        first = {k: score for column in reversed(columns.values()) for k, score in column.items()}
        order = dict.fromkeys(setting for column in columns.values() for setting in column)
        for setting in sorted(order, key=lambda setting: first[setting].label_fraction):
            score = first[setting]
            name = f"{title}{_neighbors(score)}, {score.label_fraction:.0%} of labels"
            values = {s: c[setting].value if setting in c else None for s, c in columns.items()}
            yield SourceRow(name, score, values)


def has_published(data_set: str) -> bool:
    """Return whether the papers report results for this data set, in any version."""
    return re.split("[:/]", data_set)[0] in ("imagenet2012", *_SMALL_DATA)


def published_table(evaluation: Evaluation | None, data_set: str) -> PublishedTable:
    """Return the papers' numbers, this run's, and why a number of this run is missing.

    The evaluation is that of the pretrained encoder. CIFAR and STL-10 have tables of their own.
    """
    evaluation = evaluation or Evaluation(PRETRAINED, -1, ())
    if data_set in _SMALL_DATA:
        rows = tuple(_small_rows(evaluation, data_set))
        return PublishedTable(f"{data_set}, ResNet-18", _SMALL_METHODS, rows)
    return PublishedTable("ImageNet, ResNet-50", _METHODS, tuple(_imagenet_rows(evaluation)))


def retrieval_rows(
    evaluations: Sequence[Evaluation], data_set: str
) -> dict[str, Mapping[str, Mapping[int, float]]]:
    """Return R@K in percent by direction and K, one row per feature source; on COCO also the papers' rows."""
    rows: dict[str, Mapping[str, Mapping[int, float]]] = {}
    for evaluation in evaluations:
        row: dict[str, dict[int, float]] = {}
        for score in evaluation.scores:
            row.setdefault(score.direction, {})[score.k] = score.value
        rows[evaluation.feature_source] = row
    if data_set.partition("/")[0] == "coco_captions":
        rows |= {f"{method} (published)": row for method, row in published.RETRIEVAL.items()}
    return rows


def format_by_source(evaluations: Mapping[str, Evaluation]) -> str:
    """Return a table of accuracies in percent: a row per classifier and label fraction, a column per source.

    Top-1 comes first, then the balanced accuracy, the mean over the classes.
    """
    lines = []
    for title, metric in (("top-1, %", "top1"), ("balanced accuracy, %", "balanced_accuracy")):
        lines.append(f"{title:<34}" + "".join(f"{source:>12}" for source in evaluations))
        for name, _, values in rows_by_source(evaluations, metric):
            lines.append(f"{name:<34}" + "".join(_cell(value, 12) for value in values.values()))
    return "\n".join(lines)


def format_published(evaluation: Evaluation | None, data_set: str) -> str:
    """Return a table of published numbers, a column per method, with this run's in the last column.

    Lines below the table name the rows that this run did not measure, and why. CIFAR and STL-10 have tables
    of their own.
    """
    setting, methods, rows = published_table(evaluation, data_set)
    widths = {method: len(method) + 2 for method in methods}
    lines = [f"published on {setting}; this run on {data_set}"]
    lines.append(f"{'%':<36}" + "".join(f"{m:>{w}}" for m, w in widths.items()) + f"{'this run':>10}")
    for row in rows:
        cells = "".join(_cell(row.published.get(method), width) for method, width in widths.items())
        lines.append(f"{row.name:<36}{cells}{_cell(row.measured, 10)}")
    reasons = [f"  {row.name}: {row.reason}" for row in rows if row.reason]
    return "\n".join([*lines, *(["not measured:", *reasons] if reasons else [])])


def format_retrieval(evaluations: Sequence[Evaluation], data_set: str) -> str:
    """Return a table of R@K in percent: a row per feature source, and on COCO those of the papers."""
    rows = retrieval_rows(evaluations, data_set)
    ks = list(next(iter(rows.values()))["image_to_text"])
    width = 7
    titles = "".join(f"{title:<{width * len(ks) + 2}}" for title in DIRECTIONS.values())
    heads = "  ".join("".join(f"{f'R@{k}':>{width}}" for k in ks) for _ in DIRECTIONS)
    lines = [" " * 28 + titles, f"{'%':<24}{heads}"]
    for name, row in rows.items():
        cells = "  ".join("".join(_cell(row[way].get(k), width) for k in ks) for way in DIRECTIONS)
        lines.append(f"{name:<24}{cells}")
    return "\n".join(lines)


def _imagenet_rows(evaluation: Evaluation) -> Iterator[PublishedRow]:
    for metric in ("top1", "top5"):
        linear = published.LINEAR | published.OWN_LINEAR
        reported = {method: getattr(top, metric) for method, top in linear.items()}
        yield _row(f"linear, {_title(metric)}", reported, evaluation, "probe", metric)
    for fraction in (0.01, 0.1):
        for metric in ("top1", "top5"):
            name = f"fine-tuned, {fraction:.0%} of labels, {_title(metric)}"
            reported = {m: getattr(row[fraction], metric) for m, row in published.SEMI_SUPERVISED.items()}
            yield _row(name, reported, evaluation, "finetune", metric, fraction)
    measured = {
        score.data_set: score.value
        for score in evaluation.scores
        if score.command == "transfer" and score.metric in ("top1", "map")
    }
    data_sets = {**measured, **evaluation.not_measured}
    for data_set in sorted(data_sets, key=[*_TRANSFER, *data_sets].index):
        reported = {method: row.get(data_set) for method, row in published.TRANSFER.items()}
        value = measured.get(data_set)
        reason = None if data_set in measured else evaluation.not_measured[data_set]
        yield PublishedRow(f"transfer, {_TRANSFER.get(data_set, data_set)}", reported, value, reason)
    yield from _knn_rows(evaluation, {})
    for name, column in _DETECTION_ROWS.items():
        reported = {method: row[column] for method, row in published.DETECTION.items()}
        yield PublishedRow(name, reported, None, _DETECTION)


def _small_rows(evaluation: Evaluation, data_set: str) -> Iterator[PublishedRow]:
    for protocol, table in published.SMALL_LINEAR.items():
        if data_set in table:
            yield _row(f"linear, top-1 ({protocol})", table[data_set], evaluation, "probe", "top1")
    tables = {("euclidean", 5): published.SMALL_EUCLIDEAN5, ("cosine", 200): published.SMALL_KNN200}
    yield from _knn_rows(evaluation, {key: table.get(data_set, {}) for key, table in tables.items()})


def _row(
    name: str,
    reported: Mapping[str, float | None],
    evaluation: Evaluation,
    command: str,
    metric: str,
    fraction: float = 1.0,
) -> PublishedRow:
    scores = [score for score in evaluation.scores if score.command == command]
    if not scores:
        return PublishedRow(name, reported, None, f"run {command} or evaluate")
    for score in scores:
        if (score.metric, score.label_fraction) == (metric, fraction):
            return PublishedRow(name, reported, score.value, None)
    if any(score.label_fraction == fraction for score in scores):
        return PublishedRow(name, reported, None, "with five classes or fewer it is always 100%")
    return PublishedRow(name, reported, None, f"config.{command}.label_fractions has no {fraction:g}")


def _knn_rows(
    evaluation: Evaluation, reported: Mapping[tuple[str, int], Mapping[str, float]]
) -> Iterator[PublishedRow]:
    for score in evaluation.scores:
        if (score.command, score.metric, score.label_fraction) == ("knn", "top1", 1):
            name = f"k-NN{_neighbors(score)}, top-1"
            yield PublishedRow(name, reported.get((score.distance, score.k), {}), score.value, None)


def _neighbors(score: Score) -> str:
    if score.k is None:
        return ""
    return f" {score.k} Euclidean" if score.distance == "euclidean" else f" {score.k}"


def _title(metric: str) -> str:
    return metric.replace("top", "top-")


def _cell(value: float | None, width: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.1f}"
