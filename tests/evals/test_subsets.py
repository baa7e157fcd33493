import numpy as np
import pytest

from barlow_jax.evals.subsets import label_subset

LABELS = np.repeat(np.arange(4), [100, 50, 200, 3])


def test_every_class_gives_the_same_share():
    chosen = label_subset(LABELS, 0.1, seed=0)
    assert np.bincount(LABELS[chosen]).tolist() == [10, 5, 20, 1]


@pytest.mark.parametrize("fraction", [0.001, 0.01])
def test_no_class_is_left_out(fraction):
    assert set(LABELS[label_subset(LABELS, fraction, seed=0)]) == {0, 1, 2, 3}


def test_a_seed_fixes_the_subset():
    one, same, other = (label_subset(LABELS, 0.2, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other) and np.all(np.diff(one) > 0)


def test_all_labels_are_all_labels():
    np.testing.assert_array_equal(label_subset(LABELS, 1.0, 0), np.arange(len(LABELS)))
