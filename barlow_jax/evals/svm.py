"""Linear SVMs on frozen features of multi-label images, one class against the rest: the protocol of VOC07.

For each class with y in {1, -1}, LIBLINEAR (Fan et al. 2008) minimizes, with the intercept b as a weight,
  (|w|^2 + b^2) / 2 + C sum over rows i of weight(y_i) max(0, 1 - y_i (w x_i + b))^2.
The cost C with the best mean average precision over the folds is used to fit all training rows.
Protocol: Goyal et al. 2019, "Scaling and benchmarking self-supervised visual representation learning", as
implemented in VISSL.
"""

from typing import Any, NamedTuple
import warnings

import numpy as np

from barlow_jax.config.schema import Svm
from barlow_jax.errors import UserError
from barlow_jax.evals.accuracy import average_precision
from barlow_jax.io import log, processors
from barlow_jax.types import FeatureTable

_PARALLEL_ENTRIES = 1_000_000  # from this size of the training features on, all cores are used


class ClassResult(NamedTuple):
    """The SVM of one class."""

    cost: float
    decision: np.ndarray  # [M] decision values of the test rows
    converged: bool  # whether the final fit did; the fits of the cross-validation only rank the costs


def mean_average_precision(
    train: FeatureTable, test: FeatureTable, *, config: Svm, seed: int
) -> dict[str, Any]:
    """Train the SVMs and return the mean average precision of their rankings of the test rows.

    Test rows with label -1 are left out of a class's ranking; `config.difficult` sets how such training rows
    are used. A class with no positive test row, or with fewer positive or negative training rows than folds,
    is left out of the mean with a warning.

    Labels are `[N, C]`, in 1, 0, -1. The seed sets LIBLINEAR's order of the rows, which has little effect.

    Returns:
      "map", the mean average precision in 0..1; "per_class", the average precision of each class, and
      "costs", its chosen cost, both None for a class that is left out; "left_out", indices of these classes.

    Raises:
      UserError: the images are single-label, or no class can be measured.
    """
    if train.labels.ndim != 2 or test.labels.ndim != 2:
        raise UserError(
            "the SVMs need multi-label images, but each image has one label: use the linear probe"
        )
    targets, reasons = [_targets(column, config) for column in train.labels.T], {}
    for index, (target, column) in enumerate(zip(targets, test.labels.T, strict=True)):
        if reason := _exclusion_reason(target, column, config.folds):
            reasons[index] = reason
            log.warning(f"class {index} is left out of the mean: {reason}")
    included = [index for index in range(len(targets)) if index not in reasons]
    if not included:
        raise UserError(f"no class can be measured; class 0: {reasons[0]}")
    fits = _fit_classes(train, test, [targets[index] for index in included], config, seed)
    results = dict(zip(included, fits, strict=True))
    if late := [index for index in included if not results[index].converged]:
        log.warning(
            f"the SVMs of classes {', '.join(map(str, late))} stopped at max_iterations = "
            f"{config.max_iterations} before they reached the tolerance {config.tolerance}"
        )
    precisions = {index: _precision(results[index], test.labels[:, index], config) for index in included}
    return {
        "map": float(np.mean(list(precisions.values()))),
        "per_class": [precisions.get(index) for index in range(len(targets))],
        "costs": [results[index].cost if index in results else None for index in range(len(targets))],
        "left_out": list(reasons),
    }


def fit(features: np.ndarray, target: np.ndarray, *, config: Svm, seed: int) -> Any:
    """Return scikit-learn's LinearSVC fitted to `[N, H]` features and `[N]` targets in 1, -1.

    Its cost `C` has the best mean average precision (scikit-learn's) over the folds; the first of equal costs
    wins. The folds keep the fraction of positives and the order of the rows, like cv=3 of scikit-learn.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.svm import LinearSVC

    solver = {"tol": config.tolerance, "max_iter": config.max_iterations, "random_state": seed}
    weights = {1: config.positive_weight, -1: 1}
    model = LinearSVC(loss="squared_hinge", dual=True, class_weight=weights, **solver)
    costs, folds = {"C": list(config.costs)}, StratifiedKFold(config.folds)
    search = GridSearchCV(model, costs, scoring="average_precision", cv=folds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # checked by `n_iter_`
        return search.fit(features, target).best_estimator_


def _targets(column: np.ndarray, config: Svm) -> np.ndarray:
    """Return `[N]` targets of a class: 1 and -1 for training, 0 for a row that is left out."""
    target = np.where(column == 1, 1, -1)
    return np.where(column == -1, 0, target) if config.difficult == "left_out" else target


def _exclusion_reason(target: np.ndarray, column: np.ndarray, folds: int) -> str:
    for sign, name in ((1, "positive"), (-1, "negative")):
        if (count := np.sum(target == sign)) < folds:
            return f"it has {count} {name} training images, fewer than the {folds} folds"
    return "" if np.any(column == 1) else "it has no positive test image"


def _fit_classes(
    train: FeatureTable, test: FeatureTable, targets: list[np.ndarray], config: Svm, seed: int
) -> list[ClassResult]:
    from sklearn.utils.parallel import Parallel, delayed

    rows, queries = (_prepare(table.features, config) for table in (train, test))
    # Processes, not threads: LIBLINEAR has one random generator per process, and results must repeat.
    jobs = min(processors.available(), len(targets)) if rows.size >= _PARALLEL_ENTRIES else 1
    return Parallel(n_jobs=jobs)(
        delayed(_fit_class)(rows, target, queries, config, seed) for target in targets
    )


def _fit_class(
    rows: np.ndarray, target: np.ndarray, queries: np.ndarray, config: Svm, seed: int
) -> ClassResult:
    rows, target = rows[target != 0], target[target != 0]
    model = fit(rows, target, config=config, seed=seed)
    return ClassResult(model.C, model.decision_function(queries), bool(model.n_iter_ < config.max_iterations))


def _prepare(features: np.ndarray, config: Svm) -> np.ndarray:
    features = features.astype(np.float64)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / (norms + 1e-5) if config.normalize else features


def _precision(result: ClassResult, column: np.ndarray, config: Svm) -> float:
    ranked = column != -1
    return average_precision(column[ranked] == 1, result.decision[ranked], config.average_precision)
