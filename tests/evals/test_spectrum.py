import numpy as np
import pytest
from scipy.stats import entropy

from barlow_jax.evals.spectrum import spectrum


def test_the_rank_of_orthogonal_directions_is_their_number():
    rows = np.kron(np.eye(4), np.array([[1.0], [-1.0]]))  # centered already
    assert spectrum(rows).effective_rank == pytest.approx(4)
    assert spectrum(rows * [1, 1, 0, 0] + 7).effective_rank == pytest.approx(2)


def test_it_is_the_exponential_of_the_entropy_of_the_singular_values():
    features = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32) * np.arange(1, 9)
    values = np.sqrt(np.linalg.eigvalsh(np.cov(features.T.astype(np.float64))))
    assert spectrum(features).effective_rank == pytest.approx(np.exp(entropy(values)), rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e6])
def test_one_vector_for_all_has_rank_one(value):
    assert spectrum(np.full((20, 5), value, np.float32)).effective_rank == 1.0


@pytest.mark.parametrize("shape", [(50, 8), (9, 30)])
def test_the_spectrum_is_that_of_the_covariance(shape):
    features = np.random.default_rng(0).normal(size=shape).astype(np.float32) * np.arange(1, shape[1] + 1)
    eigenvalues = np.linalg.eigvalsh(np.cov(features.T.astype(np.float64)))[::-1]
    result = spectrum(features)
    assert result.variance_fractions.shape == (min(shape[0] - 1, shape[1]),)
    np.testing.assert_allclose(
        result.variance_fractions,
        (eigenvalues / eigenvalues.sum())[: len(result.variance_fractions)],
        rtol=1e-9,
    )
    assert result.effective_rank == spectrum(features).effective_rank


def test_one_vector_for_all_has_no_spectrum():
    result = spectrum(np.full((20, 5), 3.0, np.float32))
    assert (
        result.variance_fractions.shape == (5,)
        and not result.variance_fractions.any()
        and result.effective_rank == 1.0
    )
