"""Images with several labels by linear SVMs, one class against the rest, on frozen features: VOC07's row.

For each class with y in {1, -1}, LIBLINEAR (Fan et al. 2008) minimises, with the intercept b as a weight,
  (|w|^2 + b^2) / 2 + C sum over rows i of weight(y_i) max(0, 1 - y_i (w x_i + b))^2.
C is the cost whose average precision, the mean over the folds, is best; then all training rows are fitted.
Protocol: Goyal et al. 2019, "Scaling and benchmarking self-supervised visual representation learning", as
VISSL carries it out.
"""

import os
import sys
from typing import Any, NamedTuple
import warnings

import numpy as np

from barlow_jax.config import schema as config_lib
from barlow_jax.errors import UserError
from barlow_jax.evals import scores
from barlow_jax.types import FeatureTable

_SHARED_ENTRIES = 1_000_000  # of the training features, from which the cores share the classes


class Outcome(NamedTuple):
    """Of one class."""

    cost: float
    decision: np.ndarray  # [M] of the test rows
    converged: bool  # the last fit; those of the cross-validation only rank the costs


def mean_average_precision(
    train: FeatureTable, test: FeatureTable, *, config: config_lib.Svm, seed: int
) -> dict[str, Any]:
    """Trains the SVMs and ranks the test rows by each.

    Test rows with label -1 are left out of a class's ranking; `config.difficult` says what such training
    rows are. A class with no positive test row, or with fewer positive or negative training rows than
    folds, is left out of the mean, and standard error says so.

    Args:
      train: `[N, C]` labels in 1, 0, -1.
      test: `[M, C]` labels.
      config: the protocol.
      seed: of LIBLINEAR's order of the rows, which matters little.

    Returns:
      "map", the mean average precision in 0..1; "per_class", that of each class, and "costs", the cost
      chosen for it, None where it is left out; "left_out", the numbers of these classes.
    """
    for table in (train, test):
        if table.labels.ndim != 2:
            raise UserError(
                "the SVMs need images with several labels, and here each has one: use the linear probe"
            )
    targets = [_targets(column, config) for column in train.labels.T]
    reasons = {
        number: reason
        for number, (target, column) in enumerate(zip(targets, test.labels.T, strict=True))
        if (reason := _why_not(target, column, config.folds))
    }
    for number, reason in reasons.items():
        print(f"class {number} is left out of the mean: {reason}", file=sys.stderr)
    counted = [number for number in range(len(targets)) if number not in reasons]
    if not counted:
        raise UserError(f"no class can be measured; class 0: {reasons[0]}")
    outcomes = dict(zip(counted, _run(train, test, [targets[c] for c in counted], config, seed), strict=True))
    late = [number for number in counted if not outcomes[number].converged]
    if late:
        print(
            f"the SVMs of classes {', '.join(map(str, late))} stopped at max_iterations = "
            f"{config.max_iterations}, short of their tolerance",
            file=sys.stderr,
        )
    precisions = {number: _precision(outcomes[number], test.labels[:, number], config) for number in counted}
    return {
        "map": float(np.mean(list(precisions.values()))),
        "per_class": [precisions.get(number) for number in range(len(targets))],
        "costs": [outcomes[number].cost if number in outcomes else None for number in range(len(targets))],
        "left_out": list(reasons),
    }


def fit(features: np.ndarray, target: np.ndarray, cost: float, *, config: config_lib.Svm, seed: int) -> Any:
    """scikit-learn's LinearSVC, fitted to `[N, H]` features and `[N]` targets 1 and -1."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    model = LinearSVC(
        C=cost,
        penalty="l2",
        loss="squared_hinge",
        dual=True,
        class_weight={1: config.positive_weight, -1: 1},
        intercept_scaling=1.0,
        tol=config.tolerance,
        max_iter=config.max_iterations,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `n_iter_` says it
        return model.fit(features, target)


def choose_cost(features: np.ndarray, target: np.ndarray, *, config: config_lib.Svm, seed: int) -> float:
    """The cost with the best mean over the folds of scikit-learn's average precision; the first of equal ones.

    The folds keep the share of positives, and rows in their order, as scikit-learn's cv=3 has them.
    """
    from sklearn.metrics import average_precision_score
    from sklearn.model_selection import StratifiedKFold

    folds = list(StratifiedKFold(config.folds).split(features, target))

    def validate(cost: float) -> float:
        models = [fit(features[kept], target[kept], cost, config=config, seed=seed) for kept, _ in folds]
        return np.mean(
            [
                average_precision_score(target[held] == 1, model.decision_function(features[held]))
                for model, (_, held) in zip(models, folds, strict=True)
            ]
        )

    return max(config.costs, key=validate)


def _targets(column: np.ndarray, config: config_lib.Svm) -> np.ndarray:
    """`[N]` of a class's labels: 1 and -1 to learn from, 0 for a row that is left out."""
    target = np.where(column == 1, 1, -1)
    return np.where(column == -1, 0, target) if config.difficult == "left_out" else target


def _why_not(target: np.ndarray, column: np.ndarray, folds: int) -> str:
    for sign, kind in ((1, "positive"), (-1, "negative")):
        if (count := np.sum(target == sign)) < folds:
            return f"its {count} {kind} training images are fewer than the {folds} folds"
    return "" if np.any(column == 1) else "no test image shows it"


def _run(
    train: FeatureTable, test: FeatureTable, targets: list[np.ndarray], config: config_lib.Svm, seed: int
) -> list[Outcome]:
    from sklearn.utils.parallel import Parallel, delayed

    rows, queries = (_prepare(table.features, config) for table in (train, test))
    # Processes, not threads: LIBLINEAR has one random generator a process, and results are to repeat.
    jobs = min(os.cpu_count() or 1, len(targets)) if rows.size >= _SHARED_ENTRIES else 1
    return Parallel(n_jobs=jobs)(
        delayed(_classify)(rows, target, queries, config, seed) for target in targets
    )


def _classify(
    rows: np.ndarray, target: np.ndarray, queries: np.ndarray, config: config_lib.Svm, seed: int
) -> Outcome:
    rows, target = rows[target != 0], target[target != 0]
    cost = choose_cost(rows, target, config=config, seed=seed)
    model = fit(rows, target, cost, config=config, seed=seed)
    return Outcome(cost, model.decision_function(queries), bool(model.n_iter_ < config.max_iterations))


def _prepare(features: np.ndarray, config: config_lib.Svm) -> np.ndarray:
    features = features.astype(np.float64)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / (norms + 1e-5) if config.normalize else features


def _precision(outcome: Outcome, column: np.ndarray, config: config_lib.Svm) -> float:
    judged = column != -1
    return scores.average_precision(column[judged] == 1, outcome.decision[judged], config.average_precision)
