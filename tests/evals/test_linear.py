import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from barlow_jax.config import Probe
from barlow_jax.evals import linear
from barlow_jax.types import FeatureTable


def _table(rows, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, rows).astype(np.int32)
    centers = np.random.default_rng(0).normal(size=(6, 10))
    return FeatureTable((centers[labels] + rng.normal(size=(rows, 10))).astype(np.float32), labels)


def _probe(config, train, test, seed=0):
    batches = linear.table_batches(train, config.batch_size, seed)
    return linear.probe_accuracy(
        batches, test, config=config, num_train=len(train.labels), num_classes=6, seed=seed
    )


def test_the_probe_reaches_what_logistic_regression_reaches():
    train, test = _table(600, 1), _table(2000, 2)
    reference = LogisticRegression(C=1e4, max_iter=2000).fit(train.features, train.labels)
    accuracy = _probe(Probe(num_epochs=60, batch_size=64, learning_rate=0.1), train, test)
    assert accuracy["top1"] == pytest.approx(reference.score(test.features, test.labels), abs=0.01)
    assert accuracy["top1"] < accuracy["top5"] <= 1


def test_updates_are_torchs_sgd_with_decay_on_weight_and_bias():
    """Three full-batch epochs written out in NumPy, the rate moving once an epoch."""
    train = _table(32, 1)
    config = Probe(num_epochs=3, batch_size=32, learning_rate=0.5, momentum=0.9, weight_decay=0.1)
    recorded = []
    batches = linear.table_batches(train, 32, 0)

    def epoch_batches(epoch):
        for batch in batches(epoch):
            recorded.append(batch)
            yield batch

    probes = FeatureTable(np.eye(10, dtype=np.float32), np.zeros(10, np.int32))
    actual = linear.probe_accuracy(epoch_batches, probes, config=config, num_train=32, num_classes=6, seed=4)

    import jax

    weight = np.asarray(0.01 * jax.random.normal(jax.random.key(4), (10, 6)), np.float64)
    bias, momenta = np.zeros(6), [0.0, 0.0]
    for epoch, batch in enumerate(recorded):
        logits = batch.features @ weight + bias
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(32), batch.labels] -= 1
        gradients = batch.features.T @ p / 32 + 0.1 * weight, p.mean(0) + 0.1 * bias
        momenta = [0.9 * m + g for m, g in zip(momenta, gradients, strict=True)]
        rate = 0.5 * (1 + np.cos(np.pi * epoch / 3)) / 2
        weight, bias = weight - rate * momenta[0], bias - rate * momenta[1]
    order = np.argsort(-(weight + bias), axis=1, kind="stable")
    assert actual["top1"] == np.mean(order[:, 0] == 0)
    assert actual["top5"] == np.mean(np.any(order[:, :5] == 0, axis=1))


def test_a_last_batch_that_is_short_weighs_its_rows_alone():
    train, test = _table(100, 1), _table(500, 2)
    short = _probe(Probe(num_epochs=30, batch_size=64, learning_rate=0.1), train, test)
    assert short["top1"] > 0.6


def test_few_rows_get_the_least_number_of_steps():
    train, test = _table(12, 1), _table(300, 2)
    seen = []

    def epoch_batches(epoch):
        seen.append(epoch)
        yield train

    config = Probe(num_epochs=2, min_steps=7, batch_size=12)
    linear.probe_accuracy(epoch_batches, test, config=config, num_train=12, num_classes=6, seed=0)
    assert seen == list(range(7))


def test_the_scaler_leaves_dead_features_at_zero():
    features = np.array([[1.0, 5.0], [3.0, 5.0]], np.float32)
    scale = linear.Scaler.of(features, active=True)
    np.testing.assert_allclose(scale(features), [[-1, 0], [1, 0]])
    np.testing.assert_array_equal(linear.Scaler.of(features, active=False)(features), features)


def test_an_epoch_holds_every_row_once():
    table = FeatureTable(np.arange(10, dtype=np.float32)[:, None], np.arange(10, dtype=np.int32))
    batches = linear.table_batches(table, 4, seed=0)
    first, second = (np.concatenate([b.labels for b in batches(epoch)]) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(10)) and np.any(first != second)
