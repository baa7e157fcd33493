import numpy as np
import pytest

from barlow_jax.errors import UserError
from barlow_jax.evals.accuracy import accuracy_by_fraction, label_subset

LABELS = np.repeat(np.arange(4), [100, 50, 200, 3])


def test_every_class_gives_the_same_fraction():
    chosen = label_subset(LABELS, 0.1, seed=0)
    assert np.bincount(LABELS[chosen]).tolist() == [10, 5, 20, 1]


@pytest.mark.parametrize("fraction", [0.001, 0.01])
def test_no_class_is_left_out(fraction):
    assert set(LABELS[label_subset(LABELS, fraction, seed=0)]) == {0, 1, 2, 3}


def test_the_number_of_images_of_a_class_is_rounded():
    labels = np.repeat([0, 1], [18, 14])
    assert np.bincount(labels[label_subset(labels, 0.1, seed=0)]).tolist() == [2, 1]


def test_a_seed_fixes_the_subset():
    first, same, different = (label_subset(LABELS, 0.2, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert np.any(first != different) and np.all(np.diff(first) > 0)


def test_all_labels_are_all_labels():
    np.testing.assert_array_equal(label_subset(LABELS, 1.0, 0), np.arange(len(LABELS)))


def test_images_without_a_label_are_in_no_subset():
    labels = np.where(np.arange(len(LABELS)) % 3 == 0, -1, LABELS)
    np.testing.assert_array_equal(label_subset(labels, 1.0, 0), np.flatnonzero(labels >= 0))
    assert labels[label_subset(labels, 0.5, 0)].min() == 0


def test_accuracies_become_percent_and_figures_of_a_solver_do_not():
    def measure(rows, seed):
        return {"top1": len(rows) / 1000 + seed / 100, "iterations": 10 * seed, "gradient": 3e-6}

    assert accuracy_by_fraction(LABELS, (0.1, 1.0), 3, measure) == [
        (0.1, 3, {"top1": 4.6, "iterations": 10.0, "gradient": pytest.approx(3e-6)}),
        (1.0, 1, {"top1": 35.3, "iterations": 0.0, "gradient": 3e-6}),
    ]


@pytest.mark.parametrize("fraction", [0.1, 1.0])
def test_multi_label_images_have_no_subset_by_class(fraction):
    with pytest.raises(UserError, match=r"`transfer`.*svm"):
        label_subset(np.ones((10, 3), np.int32), fraction, seed=0)
