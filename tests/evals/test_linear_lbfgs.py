import numpy as np
import pytest
import scipy.optimize
from sklearn.linear_model import LogisticRegression

from barlow_jax.config.schema import Probe
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.evals import linear_lbfgs
from barlow_jax.types import FeatureTable

CLASSES = 6


def _table(rows, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, rows).astype(np.int32)
    centers = np.random.default_rng(0).normal(size=(CLASSES, 10))
    return FeatureTable((centers[labels] + rng.normal(size=(rows, 10)) + 0.5).astype(np.float32), labels)


def _value_and_gradient(theta, table, weight_decay):
    """Return f and its gradient in float64; theta is the weight with the bias as its last row."""
    theta = theta.reshape(-1, CLASSES)
    inputs = np.append(table.features.astype(np.float64), np.ones((len(table.labels), 1)), axis=1)
    logits = inputs @ theta
    logits -= logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    rows = np.arange(len(table.labels))
    value = -log_p[rows, table.labels].mean() + weight_decay / 2 * np.sum(theta**2)
    p = np.exp(log_p)
    p[rows, table.labels] -= 1
    return value, (inputs.T @ p / len(rows) + weight_decay * theta).ravel()


def _minimize(table, weight_decay, devices=None, tolerance=1e-5, max_iterations=1000):
    config = Probe(weight_decay=weight_decay, max_iterations=max_iterations, tolerance=tolerance)
    layout = Layout(make_mesh(devices))
    fit = linear_lbfgs.minimize(table, config=config, num_classes=CLASSES, layout=layout)
    return fit, np.append(np.asarray(fit.head["weight"]), np.asarray(fit.head["bias"])[np.newaxis], axis=0)


@pytest.mark.parametrize("weight_decay", [pytest.param(1e-1, marks=pytest.mark.slow), 1e-3, 1e-6])
def test_the_gradient_of_the_objective_vanishes(devices, weight_decay):
    """301 rows: no number of devices divides them, so some rows are padding."""
    table = _table(301, 1)
    fit, theta = _minimize(table, weight_decay, devices)
    _, gradient = _value_and_gradient(theta.astype(np.float64), table, weight_decay)
    assert np.abs(gradient).max() < 2e-5  # 1e-5 is asked for; the rest is float32
    assert fit.gradient == pytest.approx(np.abs(gradient).max(), rel=0.1, abs=1e-6)
    assert 1 < fit.iterations < 1000


def test_the_minimizer_is_scipys():
    table = _table(301, 1)
    reference = scipy.optimize.minimize(
        _value_and_gradient,
        np.zeros(11 * CLASSES),
        (table, 1e-3),
        jac=True,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000},
    )
    _, theta = _minimize(table, 1e-3)
    np.testing.assert_allclose(theta.ravel(), reference.x, atol=5e-3 * np.abs(reference.x).max())
    value, _ = _value_and_gradient(theta.astype(np.float64), table, 1e-3)
    assert 0 <= value - reference.fun < 1e-6


def test_the_minimizer_is_scikit_learns_with_the_bias_as_a_weight():
    """C = 1 / (N weight_decay), and a column of ones replaces the intercept, which has no penalty."""
    table = _table(301, 1)
    inputs = np.append(table.features.astype(np.float64), np.ones((301, 1)), axis=1)
    reference = LogisticRegression(C=1 / (301 * 1e-2), fit_intercept=False, tol=1e-10, max_iter=10_000)
    reference.fit(inputs, table.labels)
    _, theta = _minimize(table, 1e-2, tolerance=1e-6)
    np.testing.assert_allclose(theta.T, reference.coef_, atol=1e-3 * np.abs(reference.coef_).max())


def test_accuracies_come_with_iterations_and_gradient(capsys):
    train, test = _table(600, 1), _table(2000, 2)
    config = Probe(solver="lbfgs", weight_decay=1e-4)
    result = linear_lbfgs.train_and_test(
        train, test, config=config, num_classes=CLASSES, layout=Layout(make_mesh())
    )
    reference = LogisticRegression(C=1 / (600 * 1e-4), max_iter=2000).fit(train.features, train.labels)
    assert result["top1"] == pytest.approx(reference.score(test.features, test.labels), abs=2e-3)
    assert result["top1"] < result["top5"] <= 1
    assert result["gradient"] <= 1e-5 and 1 < result["iterations"] < 1000
    assert not capsys.readouterr().err


def test_a_solver_that_stops_early_is_logged(capsys):
    train = _table(300, 1)
    config = Probe(solver="lbfgs", weight_decay=1e-4, max_iterations=3)
    result = linear_lbfgs.train_and_test(
        train, train, config=config, num_classes=CLASSES, layout=Layout(make_mesh())
    )
    assert result["iterations"] == 3 and result["gradient"] > 1e-5
    assert "stopped after 3 iterations with a gradient of" in capsys.readouterr().err


def test_nan_features_are_not_reported_as_a_minimum(capsys):
    train = _table(64, 1)
    train.features[5, 2] = np.nan
    result = linear_lbfgs.train_and_test(
        train, train, config=Probe(solver="lbfgs"), num_classes=CLASSES, layout=Layout(make_mesh())
    )
    assert result["top1"] == 0 and np.isnan(result["gradient"])
    assert "a gradient of nan" in capsys.readouterr().err


def test_multi_label_images_are_sent_to_transfer():
    table = FeatureTable(np.ones((4, 3), np.float32), np.ones((4, 2), np.int32))
    with pytest.raises(UserError, match=r"multi-label.*`transfer`.*svm"):
        _minimize(table, 1e-3)
