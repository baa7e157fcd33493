"""The tables that `evaluate` prints: ours by kind of features, and ours beside the papers'."""

from collections.abc import Iterator, Mapping
from typing import Any

from barlow_jax import published

# Columns of the papers' tables; the others would not fit a terminal.
_METHODS = ("Supervised", "SimCLR", "BYOL", "SwAV", "Barlow Twins")
_SMALL_METHODS = ("SimCLR", "BYOL", "W-MSE", "VICReg", "Barlow Twins")
_TRANSFER = {"places205": "Places205, top-1", "voc07": "VOC07, mAP", "inat18": "iNaturalist 2018, top-1"}
_DETECTION = "Detectron2 does that, by configs/detectron2; it is no part of this program"


def by_kind(results: Mapping[str, Any]) -> str:
    """Top-1 in percent: a row a classifier and label fraction, a column a kind of features."""
    kinds = list(results)
    lines = [f"{'top-1, %':<34}" + "".join(f"{kind:>12}" for kind in kinds)]
    last = results[kinds[-1]]
    for group, title in (("linear", "linear"), ("knn", "k-NN"), ("finetune", "fine-tuned")):
        for fraction, scores in last[group].items():
            for key in [key for key in scores if key == "top1" or group == "knn"]:
                name = f"{title}{_neighbours(key)}, {float(fraction):.0%} of labels"
                row = (results[kind].get(group, {}).get(fraction, {}).get(key) for kind in kinds)
                lines.append(f"{name:<34}" + "".join(_cell(score, 12) for score in row))
    return "\n".join(lines)


def beside_the_papers(ours: Mapping[str, Any], data_name: str) -> str:
    """What the papers report, a column a method, and ours last; below, why a row was not measured.

    Args:
      ours: results of the pretrained encoder.
      data_name: of the data set; CIFAR and its like have tables of their own.
    """
    small = data_name in published.SMALL_LINEAR
    methods = _SMALL_METHODS if small else _METHODS
    setting = f"{data_name}, ResNet-18" if small else "ImageNet, ResNet-50"
    widths = {method: len(method) + 2 for method in methods}
    lines = [f"published on {setting}; this run on {data_name}"]
    lines.append(f"{'%':<36}" + "".join(f"{m:>{w}}" for m, w in widths.items()) + f"{'this run':>10}")
    notes = []
    for name, theirs, score, why in _small_rows(ours, data_name) if small else _rows(ours):
        cells = "".join(_cell(theirs.get(method), width) for method, width in widths.items())
        lines.append(f"{name:<36}{cells}{_cell(score, 10)}")
        notes += [f"  {name}: {why}"] if why else []
    return "\n".join([*lines, *(["not measured:", *notes] if notes else [])])


# Name, published by method, ours, and why there is none.
_Row = tuple[str, Mapping[str, float | None], float | None, str | None]


def _rows(ours: Mapping[str, Any]) -> Iterator[_Row]:
    linear, why = _of_all_labels(ours["linear"])
    for key in ("top1", "top5"):
        theirs = {method: getattr(top, key) for method, top in published.LINEAR.items()}
        yield f"linear, {_shown(key)}", theirs, linear.get(key), why
    for fraction in (0.01, 0.1):
        tuned = ours["finetune"].get(f"{fraction:g}")
        why = None if tuned else f"config.finetune.label_fractions has no {fraction:g}"
        for key in ("top1", "top5"):
            theirs = {
                method: getattr(row[fraction], key) for method, row in published.SEMI_SUPERVISED.items()
            }
            yield f"fine-tuned, {fraction:.0%} of labels, {_shown(key)}", theirs, (tuned or {}).get(key), why
    for name in sorted(ours["transfer"], key=[*_TRANSFER, *ours["transfer"]].index):
        scores = ours["transfer"][name]
        theirs = {method: row.get(name) for method, row in published.TRANSFER.items()}
        score = scores.get("map", scores.get("top1"))
        yield f"transfer, {_TRANSFER.get(name, name)}", theirs, score, scores.get("why_not")
    neighbours, why = _of_all_labels(ours["knn"])
    for key, score in neighbours.items():
        yield f"k-NN{_neighbours(key)}, top-1", {}, score, why
    yield "detection and segmentation", {}, None, _DETECTION


def _small_rows(ours: Mapping[str, Any], data_name: str) -> Iterator[_Row]:
    linear, why = _of_all_labels(ours["linear"])
    yield "linear, top-1", published.SMALL_LINEAR[data_name], linear.get("top1"), why
    neighbours, why = _of_all_labels(ours["knn"])
    tables = {"euclidean5": published.SMALL_EUCLIDEAN5, "k200": published.SMALL_KNN200}
    for key, score in neighbours.items():
        yield f"k-NN{_neighbours(key)}, top-1", tables.get(key, {}).get(data_name, {}), score, why


def _of_all_labels(by_fraction: Mapping[str, Any]) -> tuple[Mapping[str, float], str | None]:
    if "1" in by_fraction:
        return by_fraction["1"], None
    return {}, "label_fractions has no 1"


def _neighbours(key: str) -> str:
    """k20 is " 20", euclidean5 is " 5 Euclidean"; a score of another kind is nothing."""
    if key.startswith("euclidean"):
        return f" {key.removeprefix('euclidean')} Euclidean"
    return f" {key[1:]}" if key[0] == "k" else ""


def _shown(key: str) -> str:
    return key.replace("top", "top-")


def _cell(score: float | None, width: int) -> str:
    return f"{'-':>{width}}" if score is None else f"{score:>{width}.1f}"
