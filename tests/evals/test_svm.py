import multi_label
import numpy as np
import pytest
import scipy.optimize
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_score
from sklearn.svm import LinearSVC

from barlow_jax.config.schema import Svm
from barlow_jax.errors import UserError
from barlow_jax.evals import svm
from barlow_jax.evals.accuracy import average_precision
from barlow_jax.types import FeatureTable

COSTS = (0.01, 1.0, 100.0)


def _table(rows, seed, classes=4, difficult=0.1):
    """Features are the sum of one direction per shown class and noise."""
    rng = np.random.default_rng(seed)
    shown = rng.random((rows, classes)) < 0.25
    directions = np.random.default_rng(0).normal(size=(classes, 12))
    features = shown @ directions + rng.normal(size=(rows, 12))
    labels = np.where(shown & (rng.random(shown.shape) < difficult), -1, shown)
    return FeatureTable(features.astype(np.float32), labels.astype(np.int32))


def _run(train, test, **changes):
    return svm.mean_average_precision(train, test, config=Svm(**{"costs": COSTS} | changes), seed=0)


def _normalized(table):
    features = table.features.astype(np.float64)
    return features / (np.linalg.norm(features, axis=1, keepdims=True) + 1e-5)


@pytest.mark.filterwarnings("ignore:Liblinear failed to converge")  # at the largest cost, as in the protocol
def test_the_result_is_that_of_the_protocol_written_with_scikit_learn():
    """cross_val_score with cv=4 chooses; difficult images are negatives in training, left out in testing."""
    train, test = _table(200, 1), _table(150, 2)
    result = _run(train, test, folds=4, tolerance=0.1, positive_weight=3.0)
    for number in range(4):
        target = np.where(train.labels[:, number] == 1, 1, -1)
        models = [
            LinearSVC(C=c, class_weight={1: 3, -1: 1}, dual=True, tol=0.1, max_iter=2000, random_state=0)
            for c in COSTS
        ]
        validated = [
            cross_val_score(model, _normalized(train), target, cv=4, scoring="average_precision").mean()
            for model in models
        ]
        best = int(np.argmax(validated))
        assert result["costs"][number] == COSTS[best]
        ranked = test.labels[:, number] != -1
        decision = models[best].fit(_normalized(train), target).decision_function(_normalized(test)[ranked])
        positive = test.labels[ranked, number] == 1
        expected = average_precision(positive, decision, "interpolated")
        assert result["per_class"][number] == pytest.approx(expected, abs=1e-12)
        assert result["per_class"][number] == pytest.approx(
            average_precision_score(positive, decision), abs=0.03
        )
    assert result["map"] == pytest.approx(np.mean(result["per_class"]), abs=1e-12)
    assert result["left_out"] == [] and 0.5 < result["map"] < 1


@pytest.mark.parametrize("cost", [0.1, 10.0])
def test_the_decision_is_that_of_another_solver_of_the_same_objective(cost):
    """With a weight of positives other than the protocol's."""
    train = _table(200, 1)
    features, target = _normalized(train), np.where(train.labels[:, 0] == 1, 1, -1)
    inputs = np.append(features, np.ones((200, 1)), axis=1)
    weights = np.where(target == 1, 5.0, 1.0)

    def objective(w):
        short = np.maximum(0, 1 - target * (inputs @ w))
        gradient = w - 2 * cost * (weights * short * target) @ inputs
        return w @ w / 2 + cost * np.sum(weights * short**2), gradient

    reference = scipy.optimize.minimize(
        objective, np.zeros(13), jac=True, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9}
    )
    config = Svm(costs=(cost,), tolerance=1e-9, max_iterations=1_000_000, positive_weight=5.0)
    model = svm.fit(features, target, config=config, seed=0)
    np.testing.assert_allclose(model.decision_function(features), inputs @ reference.x, atol=1e-5)


def test_difficult_training_images_are_negatives_or_left_out():
    """With half of the positives difficult, leaving them out is to train on the other rows alone."""
    train, test = _table(300, 1, classes=1, difficult=0.5), _table(150, 2, classes=1)
    kept = train.labels[:, 0] != -1
    alone = _run(FeatureTable(train.features[kept], train.labels[kept]), test)
    as_negatives = _run(FeatureTable(train.features, np.maximum(train.labels, 0)), test)
    assert _run(train, test, difficult="left_out") == alone
    assert _run(train, test, difficult="negative") == as_negatives
    assert alone["map"] != as_negatives["map"]


def test_difficult_test_images_are_not_ranked():
    train, test = _table(200, 1), _table(150, 2, difficult=0.0)
    changed = test.labels.copy()
    changed[:40, 0] = -1
    kept = FeatureTable(test.features[40:], test.labels[40:])
    result, cut = (_run(train, t) for t in (FeatureTable(test.features, changed), kept))
    assert result["per_class"][0] == cut["per_class"][0]
    assert result["per_class"][1] != cut["per_class"][1]


def test_a_class_that_cannot_be_measured_is_named_and_left_out_of_the_mean(capsys):
    train, test = _table(200, 1), _table(150, 2)
    train.labels[2:, 1] = 0
    train.labels[:2, 1] = 1
    test.labels[:, 3] = np.minimum(test.labels[:, 3], 0)
    result = _run(train, test)
    assert result["left_out"] == [1, 3]
    assert [value is None for value in result["per_class"]] == [False, True, False, True]
    assert [value is None for value in result["costs"]] == [False, True, False, True]
    assert result["map"] == pytest.approx((result["per_class"][0] + result["per_class"][2]) / 2)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(lines) == 2 and "class 1" in lines[0] and "2 positive training images" in lines[0]
    assert "class 3" in lines[1] and "no positive test image" in lines[1]


def test_without_any_class_to_measure_there_is_an_error():
    train, test = _table(200, 1), _table(150, 2)
    with pytest.raises(UserError, match=r"no class can be measured; class 0:.*no positive test image"):
        _run(train, FeatureTable(test.features, np.zeros_like(test.labels)))


def test_single_label_images_are_sent_to_the_probe():
    table = FeatureTable(np.ones((4, 2), np.float32), np.zeros(4, np.int32))
    with pytest.raises(UserError, match="use the linear probe"):
        _run(table, table)


def test_an_svm_that_stops_early_is_logged(capsys):
    train, test = _table(200, 1), _table(150, 2)
    _run(train, test, max_iterations=2, costs=(1000.0,))
    assert "classes 0, 1, 2, 3 stopped at max_iterations = 2" in capsys.readouterr().err


def test_classes_in_parallel_give_the_same(monkeypatch):
    train, test = _table(200, 1), _table(150, 2)
    alone = _run(train, test)
    monkeypatch.setattr(svm, "_PARALLEL_ENTRIES", 0)
    assert _run(train, test) == alone


def test_features_keep_their_norm_if_not_normalized():
    """A factor of 100 on every feature is one of 10^4 on the cost, the intercept apart."""
    train, test = _table(200, 1), _table(150, 2)
    scaled = [FeatureTable(100 * table.features, table.labels) for table in (train, test)]
    assert _run(*scaled)["map"] == pytest.approx(_run(train, test)["map"], abs=1e-4)
    assert _run(*scaled, normalize=False)["map"] != _run(train, test, normalize=False)["map"]


def test_the_digits_of_an_image_are_found_in_its_pixels():
    """A random ranking has an average precision of the fraction of positives, about 0.3."""
    train, test = (
        FeatureTable(
            np.stack([image.ravel() / 255 for image, _ in examples]).astype(np.float32),
            np.stack([multi_label.multi_hot(objects) for _, objects in examples]),
        )
        for examples in (
            multi_label.examples("train") + multi_label.examples("validation"),
            multi_label.examples("test"),
        )
    )
    result = _run(train, test, costs=(0.1, 10.0))
    assert result["map"] > 0.8 and result["left_out"] == []
    eleven = _run(train, test, costs=(0.1, 10.0), average_precision="eleven_point")
    assert eleven["costs"] == result["costs"] and 0 < abs(eleven["map"] - result["map"]) < 0.05
