"""Results of the evaluations as rows: ours by kind of features, and ours beside the papers'. In percent."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from barlow_jax.papers import published

# Columns of the papers' tables; the others would not fit a terminal.
_METHODS = ("Supervised", "SimCLR", "BYOL", "SwAV", "Barlow Twins")
_SMALL_METHODS = ("SimCLR", "BYOL", "W-MSE", "VICReg", "Barlow Twins")
_TRANSFER = {"places205": "Places205, top-1", "voc07": "VOC07, mAP", "inat18": "iNaturalist 2018, top-1"}
_DETECTION = "Detectron2 does that, by configs/detectron2; it is no part of this program"
_GROUPS = {"linear": "linear", "knn": "k-NN", "finetune": "fine-tuned"}
_PROGRAMS = {"linear": "probe", "knn": "knn", "finetune": "finetune"}
KINDS = ("pixels", "untrained", "pretrained")  # of features


class Row(NamedTuple):
    """One measurement, the papers' and ours."""

    name: str
    theirs: Mapping[str, float | None]  # by method
    ours: float | None
    why_not: str | None  # why there is none of ours


class Published(NamedTuple):
    """The papers' table that a data set belongs to."""

    setting: str  # what the papers measured on
    methods: Sequence[str]  # its columns
    rows: Sequence[Row]


def of_run(results: Mapping[str, Mapping[str, Any]], *, step: int | None = None) -> dict[str, dict[str, Any]]:
    """What the evaluations of a run measured, by kind of features, as `evaluate` gives it, whichever program did it.

    Of two results that say the same the one of the later step counts, and `evaluate`'s of the same step.

    Args:
      results: of a run, by the name of their file.
      step: of the trained encoder, whose others do not count; None: any.
    """
    found: dict[str, dict[str, Any]] = {}
    single = [(one.get("features", "pretrained"), one) for name, one in results.items() if name != "evaluate"]
    for kind, one in sorted(
        [*single, *results.get("evaluate", {}).items()], key=lambda it: it[1].get("step", -1)
    ):
        groups = {name: one[name] for name in (*_GROUPS, "transfer") if name in one}
        if kind in KINDS and groups and (step is None or kind != "pretrained" or one.get("step") == step):
            found.setdefault(kind, {}).update({"step": one.get("step", -1), **groups})
    return {kind: found[kind] for kind in KINDS if kind in found}


def by_kind(results: Mapping[str, Any]) -> Iterator[tuple[str, list[float | None]]]:
    """Top-1 of each classifier and label fraction, the fewest labels first; None where one has none.

    Args:
      results: of each kind of features (`evaluate`'s): "linear", "knn", "finetune", each by label fraction.
    """
    for group, title in _GROUPS.items():
        of_group = [kind.get(group, {}) for kind in results.values()]
        for fraction in sorted({fraction for scores in of_group for fraction in scores}, key=float):
            scores = [kind.get(fraction, {}) for kind in of_group]
            for key in dict.fromkeys(key for one in scores for key in one if key == "top1" or group == "knn"):
                name = f"{title}{_neighbours(key)}, {float(fraction):.0%} of labels"
                yield name, [one.get(key) for one in scores]


def beside_the_papers(ours: Mapping[str, Any], data_name: str) -> Published:
    """What the papers report, ours, and why a row was not measured.

    Args:
      ours: results of the pretrained encoder.
      data_name: of the data set; CIFAR and its like have tables of their own.
    """
    if data_name in published.SMALL_LINEAR:
        rows = tuple(_small_rows(ours, data_name))
        return Published(f"{data_name}, ResNet-18", _SMALL_METHODS, rows)
    return Published("ImageNet, ResNet-50", _METHODS, tuple(_rows(ours)))


def retrieval(results: Mapping[str, Any], data_name: str) -> dict[str, Mapping[str, Mapping[str, float]]]:
    """R@K by direction, a row a kind of embeddings (`retrieve`'s results); on COCO also the papers'."""
    rows = {kind: results[kind] for kind in ("chance", "untrained", "pretrained")}
    if data_name.partition("/")[0] == "coco_captions":
        rows |= {f"{name} (published)": row for name, row in published.RETRIEVAL.items()}
    return rows


def _rows(ours: Mapping[str, Any]) -> Iterator[Row]:
    linear, why = _of_labels(ours, "linear")
    for key in ("top1", "top5"):
        theirs = {method: getattr(top, key) for method, top in published.LINEAR.items()}
        yield Row(f"linear, {_shown(key)}", theirs, linear.get(key), why)
    for fraction in (0.01, 0.1):
        tuned, why = _of_labels(ours, "finetune", fraction)
        for key in ("top1", "top5"):
            theirs = {
                method: getattr(row[fraction], key) for method, row in published.SEMI_SUPERVISED.items()
            }
            yield Row(f"fine-tuned, {fraction:.0%} of labels, {_shown(key)}", theirs, tuned.get(key), why)
    transfers = ours.get("transfer", {})
    for name in sorted(transfers, key=[*_TRANSFER, *transfers].index):
        scores = transfers[name]
        theirs = {method: row.get(name) for method, row in published.TRANSFER.items()}
        score = scores.get("map", scores.get("top1"))
        yield Row(f"transfer, {_TRANSFER.get(name, name)}", theirs, score, scores.get("why_not"))
    neighbours, why = _of_labels(ours, "knn")
    for key, score in neighbours.items():
        yield Row(f"k-NN{_neighbours(key)}, top-1", {}, score, why)
    yield Row("detection and segmentation", {}, None, _DETECTION)


def _small_rows(ours: Mapping[str, Any], data_name: str) -> Iterator[Row]:
    linear, why = _of_labels(ours, "linear")
    yield Row("linear, top-1", published.SMALL_LINEAR[data_name], linear.get("top1"), why)
    neighbours, why = _of_labels(ours, "knn")
    tables = {"euclidean5": published.SMALL_EUCLIDEAN5, "k200": published.SMALL_KNN200}
    for key, score in neighbours.items():
        yield Row(f"k-NN{_neighbours(key)}, top-1", tables.get(key, {}).get(data_name, {}), score, why)


def _of_labels(
    ours: Mapping[str, Any], group: str, fraction: float = 1.0
) -> tuple[Mapping[str, float], str | None]:
    """Scores by key; or why there are none."""
    if group not in ours:
        return {}, f"needs {_PROGRAMS[group]}, or evaluate"
    scores = ours[group].get(f"{fraction:g}")
    return scores or {}, None if scores else f"config.{_PROGRAMS[group]}.label_fractions has no {fraction:g}"


def _neighbours(key: str) -> str:
    """k20 is " 20", euclidean5 is " 5 Euclidean"; a score of another kind is nothing."""
    if key.startswith("euclidean"):
        return f" {key.removeprefix('euclidean')} Euclidean"
    return f" {key[1:]}" if key[0] == "k" else ""


def _shown(key: str) -> str:
    return key.replace("top", "top-")
