import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from barlow_jax.config.schema import Probe
from barlow_jax.errors import UserError
from barlow_jax.evals import accuracy, linear_sgd
from barlow_jax.types import FeatureTable


def _table(rows, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, rows).astype(np.int32)
    centers = np.random.default_rng(0).normal(size=(6, 10))
    return FeatureTable((centers[labels] + rng.normal(size=(rows, 10))).astype(np.float32), labels)


def _probe(config, train, test, seed=0):
    batches = linear_sgd.table_batches(train, config.batch_size, seed)
    return linear_sgd.train_and_test(
        batches, test, config=config, num_train=len(train.labels), num_classes=6, seed=seed
    )


def test_the_probe_reaches_what_logistic_regression_reaches():
    train, test = _table(600, 1), _table(2000, 2)
    reference = LogisticRegression(C=1e4, max_iter=2000).fit(train.features, train.labels)
    result = _probe(Probe(num_epochs=60, batch_size=64, learning_rate=0.1), train, test)
    assert result["top1"] == pytest.approx(reference.score(test.features, test.labels), abs=0.01)
    assert result["top1"] < result["top5"] <= 1


@pytest.mark.parametrize(("nesterov", "batch_size"), [(False, 32), (True, 32), (False, 48)])
def test_updates_are_torchs_sgd_with_decay_on_weight_and_bias(nesterov, batch_size):
    """Three full-batch epochs written out in NumPy, the rate moving once an epoch.

    With a batch size of 48, the 32 rows are a short last batch, whose padding has no weight.

    torch: d = g + wd p; m = mu m + d; the step is m, or with Nesterov d + mu m. The test rows are the unit
    vectors: their logits are the weights, and a hit shows which of a row is the largest.
    """
    train = _table(32, 1)
    config = Probe(
        num_epochs=3,
        batch_size=batch_size,
        learning_rate=0.5,
        momentum=0.9,
        weight_decay=0.1,
        nesterov=nesterov,
    )
    batches = list(next(iter(linear_sgd.table_batches(train, 32, 0)(epoch))) for epoch in range(3))
    weight = np.asarray(0.01 * jax.random.normal(jax.random.key(4), (10, 6)), np.float64)
    bias, momenta = np.zeros(6), [0.0, 0.0]
    for epoch, batch in enumerate(batches):
        logits = batch.features @ weight + bias
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(32), batch.labels] -= 1
        decayed = [batch.features.T @ p / 32 + 0.1 * weight, p.mean(0) + 0.1 * bias]
        momenta = [0.9 * m + d for m, d in zip(momenta, decayed, strict=True)]
        steps = [d + 0.9 * m for m, d in zip(momenta, decayed, strict=True)] if nesterov else momenta
        rate = 0.5 * (1 + np.cos(np.pi * epoch / 3)) / 2
        weight, bias = weight - rate * steps[0], bias - rate * steps[1]

    head, results = linear_sgd._train(lambda epoch: [batches[epoch]], train, config, batch_size, 6, seed=4)
    np.testing.assert_allclose(head["weight"], weight, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(head["bias"], bias, rtol=1e-5, atol=1e-6)
    assert results[-1] == accuracy.make_accuracy(train)(head) and len(results) == 3


@pytest.mark.parametrize("steps", [1, 5, 100])
def test_accuracies_do_not_depend_on_the_steps_of_a_call(monkeypatch, steps):
    """Train for 21 steps, three per epoch, in calls of 1, 5 and 21."""
    train, test = _table(40, 1), _table(300, 2)
    config = Probe(num_epochs=7, batch_size=16, learning_rate=0.1)
    expected = _probe(config, train, test)
    monkeypatch.setattr(linear_sgd, "_CHUNK_BYTES", steps * 4 * 16 * 10)
    assert _probe(config, train, test) == expected


def test_the_cosine_ends_one_epoch_before_zero():
    rates = linear_sgd.learning_rates(Probe(learning_rate=0.3), 100)
    np.testing.assert_allclose(
        [rates[epoch] for epoch in (0, 50, 99)], [0.3, 0.15, 0.3 * (1 + np.cos(np.pi * 0.99)) / 2], rtol=1e-12
    )


@pytest.mark.parametrize(
    ("num_epochs", "milestones", "expected"),
    [(14, (1 / 3, 2 / 3), (5, 10)), (84, (1 / 3, 2 / 3), (28, 56)), (100, (0.07, 0.57), (7, 57))],
)
def test_steps_divide_the_rate_at_fractions_of_the_epochs(num_epochs, milestones, expected):
    """Places205 and iNat18 of the paper; the product of the third is above the integer by rounding."""
    config = Probe(learning_rate=0.01, schedule="steps", milestones=milestones, decay=0.2)
    rates = linear_sgd.learning_rates(config, num_epochs)
    first, second = expected
    np.testing.assert_allclose(
        rates, [0.01] * first + [0.002] * (second - first) + [0.0004] * (num_epochs - second), rtol=1e-9
    )


def test_the_rate_is_per_256_rows_if_scaled():
    config = Probe(learning_rate=0.01, batch_size=1024, scale_learning_rate=True)
    assert linear_sgd.learning_rates(config, 10)[0] == pytest.approx(0.04)


def test_the_best_epoch_is_reported_next_to_the_last():
    """One epoch of the true labels, then epochs of labels shifted by one class: accuracy falls."""
    train, test = _table(600, 1), _table(500, 2)
    moved = FeatureTable(train.features, (train.labels + 1) % 6)
    config = Probe(
        num_epochs=6, batch_size=600, learning_rate=1.0, momentum=0.0, schedule="steps", milestones=()
    )
    result = linear_sgd.train_and_test(
        lambda epoch: [moved if epoch else train], test, config=config, num_train=600, num_classes=6, seed=0
    )
    alone = linear_sgd.train_and_test(
        lambda epoch: [train],
        test,
        config=Probe(num_epochs=1, batch_size=600, learning_rate=1.0, momentum=0.0),
        num_train=600,
        num_classes=6,
        seed=0,
    )
    assert result["top1"] < 0.4 < 0.6 < result["best_top1"] == alone["top1"]
    assert result["best_top5"] == alone["top5"]


def test_the_best_epoch_is_the_earliest_of_equal_ones(monkeypatch):
    results = iter([{"top1": 0.5, "top5": 0.8}, {"top1": 0.5, "top5": 0.9}])
    monkeypatch.setattr(accuracy, "from_ranks", lambda *_: next(results))
    train = _table(8, 1)
    result = _probe(Probe(num_epochs=2, batch_size=8), train, train)
    assert (result["best_top5"], result["top5"]) == (0.8, 0.9)


def test_multi_label_images_are_sent_to_transfer():
    train = FeatureTable(np.ones((4, 3), np.float32), np.ones((4, 2), np.int32))
    with pytest.raises(UserError, match=r"multi-label.*`transfer`.*svm"):
        linear_sgd.train_and_test(
            lambda epoch: [train], train, config=Probe(), num_train=4, num_classes=2, seed=0
        )


def test_padding_of_a_short_last_batch_has_no_weight():
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
    linear_sgd.train_and_test(epoch_batches, test, config=config, num_train=12, num_classes=6, seed=0)
    assert seen == list(range(7))


def test_the_scaler_leaves_dead_features_at_zero():
    features = np.array([[1.0, 5.0], [3.0, 5.0]], np.float32)
    scale = linear_sgd.standardizer(features, active=True)
    np.testing.assert_allclose(scale(features), [[-1, 0], [1, 0]])
    np.testing.assert_array_equal(linear_sgd.standardizer(features, active=False)(features), features)


def test_an_epoch_holds_every_row_once():
    table = FeatureTable(np.arange(10, dtype=np.float32)[:, None], np.arange(10, dtype=np.int32))
    batches = linear_sgd.table_batches(table, 4, seed=0)
    first, second = (np.concatenate([b.labels for b in batches(epoch)]) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(10)) and np.any(first != second)


def test_a_diverged_classifier_is_an_error_and_no_accuracy():
    train = _table(64, 1)
    config = Probe(num_epochs=40, batch_size=64, learning_rate=1e6, weight_decay=0.5)
    with pytest.raises(UserError, match=r"probe\.learning_rate = 1000000\.0"):
        linear_sgd.train_and_test(
            linear_sgd.table_batches(train, 64, 0), train, config=config, num_train=64, num_classes=6, seed=0
        )
