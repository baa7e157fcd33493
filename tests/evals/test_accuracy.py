import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    precision_recall_curve,
    top_k_accuracy_score,
)

from barlow_jax.errors import UserError
from barlow_jax.evals import accuracy
from barlow_jax.types import FeatureTable


def _ranking(seed, rows=200, scale=None):
    rng = np.random.default_rng(seed)
    positive = rng.random(rows) < 0.2
    values = rng.normal(size=rows) + positive
    return positive, values if scale is None else np.round(values * scale)


@pytest.mark.parametrize("rows", [50, 5000])
def test_top1_and_top5_are_those_of_scikit_learn(rows):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(rows, 8)).astype(np.float32)
    head = {"weight": rng.normal(size=(8, 12)), "bias": rng.normal(size=12)}
    logits = features @ head["weight"] + head["bias"]
    labels = rng.integers(0, 12, rows).astype(np.int32)
    actual = accuracy.make_accuracy(FeatureTable(features, labels))(
        {k: jnp.asarray(v, jnp.float32) for k, v in head.items()}
    )
    for k in (1, 5):
        expected = top_k_accuracy_score(labels, logits, k=k, labels=np.arange(12))
        assert actual[f"top{k}"] == pytest.approx(expected, abs=1e-9)
    predicted = logits.argmax(axis=1)
    assert actual["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted), abs=1e-9)


def test_a_class_without_a_logit_is_never_hit_and_five_classes_have_no_top5():
    """Label 7 is a class that training never saw; one of four rows of class 0 and the only one of 7 fail."""
    labels = np.array([0, 0, 0, 0, 7], np.int32)
    features = np.array([[1.0], [1.0], [1.0], [-1.0], [1.0]], np.float32)
    head = {"weight": jnp.array([[1.0, 0, -1, -1, -1]]), "bias": jnp.zeros(5)}
    assert accuracy.make_accuracy(FeatureTable(features, labels))(head) == {
        "top1": 0.6,
        "balanced_accuracy": 0.375,
    }


def test_a_diverged_head_and_equal_logits_hit_no_more_than_they_should():
    test = FeatureTable(np.ones((12, 3), np.float32), np.arange(12, dtype=np.int32))
    measure = accuracy.make_accuracy(test)
    head = {"weight": jnp.zeros((3, 12)), "bias": jnp.zeros(12)}
    first, five = pytest.approx(1 / 12), pytest.approx(5 / 12)
    assert measure(head) == {"top1": first, "balanced_accuracy": first, "top5": five}
    assert set(measure(head | {"weight": jnp.full((3, 12), jnp.nan)}).values()) == {0.0}


def test_multi_label_images_are_an_error_that_names_the_command():
    with pytest.raises(UserError, match=r"2 classes.*`transfer`.*svm"):
        accuracy.check_single_label(np.zeros((4, 2), np.int32))


def test_average_precision_of_a_ranking_worked_by_hand():
    """Hits at ranks 1, 3 and 6: precisions 1, 2/3, 1/2 at recalls 1/3, 2/3, 1."""
    positive = np.array([1, 0, 1, 0, 0, 1, 0], bool)
    values = -np.arange(7.0)
    assert accuracy.average_precision(positive, values, "interpolated") == pytest.approx(
        (1 + 2 / 3 + 1 / 2) / 3
    )
    # Recalls 0 to 0.3 take 1, 0.4 to 0.6 take 2/3, 0.7 to 1 take 1/2.
    expected = (4 * 1 + 3 * 2 / 3 + 4 * 1 / 2) / 11
    assert accuracy.average_precision(positive, values, "eleven_point") == pytest.approx(expected)


def test_precision_is_the_best_at_that_recall_or_beyond():
    """Hits at ranks 2, 3, 4: the precision of the first, 1/2, is lifted to the 3/4 of the last."""
    positive = np.array([0, 1, 1, 1], bool)
    for method in ("interpolated", "eleven_point"):
        assert accuracy.average_precision(positive, -np.arange(4.0), method) == pytest.approx(3 / 4)


def test_a_tenth_of_recall_is_reached_exactly():
    """Ten positives, the third of them at rank 3: recall 0.3 is reached at rank 3, although 3 * 0.1 > 0.3."""
    positive = np.array([1] * 3 + [0] * 60 + [1] * 7, bool)
    expected = (4 * 1 + 7 * 10 / 70) / 11
    assert accuracy.average_precision(positive, -np.arange(70.0), "eleven_point") == pytest.approx(expected)


@pytest.mark.parametrize("scale", [None, 2], ids=["distinct", "ties"])
@pytest.mark.parametrize("seed", range(4))
def test_the_interpolated_area_is_that_under_scikit_learns_curve(seed, scale):
    positive, values = _ranking(seed, scale=scale)
    precision, recall, _ = precision_recall_curve(positive, values)  # from recall 1 to 0
    lifted = np.maximum.accumulate(precision)
    expected = -np.sum(np.diff(recall) * lifted[:-1])
    actual = accuracy.average_precision(positive, values, "interpolated")
    assert actual == pytest.approx(expected, abs=1e-12)


def test_the_area_is_scikit_learns_average_precision_where_precision_never_rises():
    positive = np.array([1, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0], bool)
    values = -np.arange(14.0)
    expected = average_precision_score(positive, values)
    assert accuracy.average_precision(positive, values, "interpolated") == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("method", ["interpolated", "eleven_point"])
def test_equal_scores_give_the_same_in_any_order_of_the_rows(method):
    positive, values = _ranking(0, scale=1)
    order = np.random.default_rng(1).permutation(len(values))
    assert accuracy.average_precision(positive[order], values[order], method) == accuracy.average_precision(
        positive, values, method
    )


def test_a_ranking_without_positives_or_with_a_score_that_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match="positives"):
        accuracy.average_precision(np.zeros(3, bool), np.arange(3.0), "interpolated")
    with pytest.raises(ValueError, match="finite"):
        accuracy.average_precision(np.ones(3, bool), np.array([1, np.nan, 2]), "interpolated")
