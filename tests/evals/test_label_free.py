"""Label-free metrics against float64 definitions that are written in another way, and closed forms."""

import numpy as np
import pytest
from scipy.linalg import eigh, svdvals
from scipy.spatial.distance import cdist, pdist
from scipy.stats import entropy

from barlow_jax.evals import label_free


@pytest.fixture(scope="module")
def features():
    """[60, 4, 24] features with a decaying spectrum, a mean, and views that differ by noise."""
    rng = np.random.default_rng(0)
    scales = np.arange(1, 25) ** -0.8
    images = rng.normal(size=(60, 1, 24)) * scales + 0.3
    return (images + 0.6 * rng.normal(size=(60, 4, 24)) * scales).astype(np.float32)


def _unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _rank(values):
    p = values / values.sum() + 1e-7
    return np.exp(entropy(p) * p.sum() - p.sum() * np.log(p.sum()))  # scipy normalizes p


def _lidar(x):
    n, q, width = x.shape
    means = x.mean(1, dtype=np.float64)
    within = sum(np.outer(row - m, row - m) for views, m in zip(x, means, strict=True) for row in views)
    within = within / (n * q) + 1e-4 * np.eye(width)
    return _rank(eigh(np.cov(means.T, bias=True), within, eigvals_only=True))  # S_b v = l S_w v


def _reference(x):
    x = x.astype(np.float64)
    n, _, width = x.shape
    one, two = x[:, 0], x[:, 1]
    spectrum = np.sort(np.linalg.eigvalsh(np.cov(one.T)))[::-1]
    j = np.arange(3, min(100, width) + 1)
    slope, _ = np.polyfit(np.log(j), np.log(spectrum[j - 1]), 1, w=j**-0.5)  # polyfit squares the weights
    nearest = np.argmin(cdist(one, two, "cosine"), axis=1)
    return {
        "rankme": _rank(svdvals(one)),
        "lidar": _lidar(x),
        "alpha_req": -slope,
        "alignment": np.mean([pdist(_unit(views), "sqeuclidean").mean() for views in x]),
        "uniformity": np.log(np.mean(np.exp(-2 * pdist(_unit(one), "sqeuclidean")))),
        "view_retrieval_top1": np.mean(nearest == np.arange(n)),
    }


def test_they_agree_with_their_definitions(features):
    reference = _reference(features)
    embeddings = features[:, 1] ** 3
    reference["rankme_embedding"] = _rank(svdvals(embeddings.astype(np.float64)))
    measured = label_free.label_free_metrics(features, embeddings)
    assert measured.keys() == reference.keys()
    assert 0.1 < reference["view_retrieval_top1"] < 1
    for name, value in reference.items():
        assert float(measured[name]) == pytest.approx(value, rel=2e-5), name


def test_more_features_than_views_and_a_large_scale_are_exact_enough():
    """S_w is 1e6 at its largest and 1e-4 at its smallest: too much for a covariance in float32."""
    rng = np.random.default_rng(1)
    scales = 10.0 ** np.linspace(3, -1, 40)
    x = (rng.normal(size=(12, 1, 40)) * scales + rng.normal(size=(12, 2, 40)) * scales).astype(np.float32)
    assert float(label_free.lidar(x)) == pytest.approx(_lidar(x), rel=1e-3)


def test_closed_forms():
    """Orthogonal images whose views agree fill all directions; equal images fill one."""
    orthogonal = np.repeat(np.eye(8, dtype=np.float32)[:, np.newaxis], 3, axis=1)
    metrics = {k: float(v) for k, v in label_free.label_free_metrics(orthogonal, None).items()}
    assert metrics["rankme"] == pytest.approx(8, rel=1e-5)
    assert metrics["lidar"] == pytest.approx(7, rel=1e-4)  # one direction less: S_b subtracts the mean
    assert metrics["uniformity"] == pytest.approx(-4, rel=1e-5)  # |u_i - u_k|^2 = 2
    assert metrics["alignment"] == 0 and metrics["view_retrieval_top1"] == 1
    equal = label_free.label_free_metrics(np.ones((8, 3, 5), np.float32), None)
    assert float(equal["rankme"]) == pytest.approx(1, abs=1e-4)
    assert abs(float(equal["uniformity"])) < 1e-5 and float(equal["view_retrieval_top1"]) == 1 / 8
    opposite = np.array([[[1.0, 0.0], [-1.0, 0.0]]] * 2, np.float32)
    assert float(label_free.alignment(opposite)) == 4


def test_the_exponent_of_a_power_law_is_recovered():
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(200, 120)) - 0.0)
    q -= q.mean(0)
    u, _, vt = np.linalg.svd(q, full_matrices=False)
    for alpha in (0.5, 1.0, 2.5):
        x = (u * np.arange(1, 121) ** (-alpha / 2)) @ vt
        assert float(label_free.alpha_req(x.astype(np.float32))) == pytest.approx(alpha, rel=1e-3)


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_features_without_a_direction_have_no_rank(value):
    metrics = label_free.label_free_metrics(np.full((8, 2, 4), value, np.float32), None)
    names = ["rankme", "lidar", "alpha_req"] + (["view_retrieval_top1", "alignment"] if value else [])
    assert all(np.isnan(float(metrics[name])) for name in names)
