"""What the evaluations of a run measured, whichever program did it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from barlow_jax import standings
from barlow_jax.report.facts import Run

KINDS = ("pixels", "untrained", "pretrained")
_GROUPS = ("linear", "knn", "finetune", "transfer")
# Of config.objective.name, in the papers' tables.
METHODS = {
    "barlow_twins": "Barlow Twins", "vicreg": "VICReg", "w_mse": "W-MSE", "simclr": "SimCLR", "byol": "BYOL",
    "simsiam": "SimSiam", "moco": "MoCo v2", "swav": "SwAV", "classification": "Supervised",
}  # fmt: skip


class Headline(NamedTuple):
    """One classifier on the most labels that it was given."""

    group: str  # "knn", "linear"
    name: str
    values: Mapping[str, float | None]  # by kind of features, in percent


def by_kind(run: Run) -> dict[str, dict[str, Any]]:
    """Results as `evaluate` gives them, by kind of features; what it lacks is of the programs of one evaluation."""
    found: dict[str, dict[str, Any]] = {}
    for program in sorted(run.results, key=lambda name: name != "evaluate"):
        result = run.results[program]
        parts = result if program == "evaluate" else {result.get("features", "pretrained"): result}
        for kind in KINDS:
            for group in ("step", *_GROUPS):
                if program != "retrieve" and group in parts.get(kind, {}):
                    found.setdefault(kind, {}).setdefault(group, parts[kind][group])
    return {kind: found[kind] for kind in KINDS if found.get(kind, {}).keys() & set(_GROUPS)}


def headlines(run: Run) -> list[Headline]:
    """k-NN and linear, of the most labels."""
    results = by_kind(run)
    if not results:
        return []
    # Fractions rise, so the last one of a classifier has the most labels.
    rows = dict(standings.by_kind(results))
    groups = {
        "knn": [name for name in rows if name.startswith("k-NN") and "Euclidean" not in name],
        "linear": [name for name in rows if name.startswith("linear")],
    }
    return [
        Headline(group, names[-1], dict(zip(results, rows[names[-1]], strict=True)))
        for group, names in groups.items()
        if names
    ]


def method(run: Run) -> str:
    name = run.config.get("objective.name")
    return METHODS.get(name, str(name or "a method that config.json does not say"))
