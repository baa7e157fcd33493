"""Collapse is told once, when it lasts; the numbers of the runs were measured on the digits."""

import pytest

from barlow_jax.config.methods import BarlowTwins
from barlow_jax.config.schema import Config, Objective, Optim
from barlow_jax.training.collapse_warning import CollapseWarner

HEALTHY = {"embedding_spread": 0.93, "diagonal_mean": 0.39, "off_diagonal_rms": 0.20}
# All seen: step 110 and later of 200 steps without one of the terms; and one vector for all.
RANK_ONE = {"embedding_spread": 0.98, "diagonal_mean": 0.686, "off_diagonal_rms": 0.672}
NO_INVARIANCE = {"embedding_spread": 0.90, "diagonal_mean": 0.067, "off_diagonal_rms": 0.108}
ONE_VECTOR = {"embedding_spread": 0.001, "diagonal_mean": 0.3, "off_diagonal_rms": 0.1}


def _collapse(**objective):
    settings = BarlowTwins(**objective)
    config = Config(optim=Optim(warmup_epochs=4.0), objective=Objective(barlow_twins=settings))
    return CollapseWarner(config, steps_per_epoch=10)


def test_other_methods_have_no_correlations_and_advice_of_their_own():
    """VICReg's rows have no diagonal."""
    config = Config(optim=Optim(warmup_epochs=4.0), objective=Objective(name="vicreg"))
    one_vector = {"embedding_spread": 0.001, "embedding_std_mean": 0.4}
    (words,) = _said(CollapseWarner(config, steps_per_epoch=10), [one_vector] * 9)
    assert "one vector (embedding_spread 0.001," in words
    assert "a larger --config.objective.vicreg.variance_weight; or a lower" in words
    healthy = {"embedding_spread": 0.86, "embedding_std_mean": 0.28}
    assert not _said(CollapseWarner(config, steps_per_epoch=10), [healthy] * 9)


@pytest.mark.parametrize(("name", "told"), [("vicreg", True), ("byol", False)])
def test_embeddings_that_shrink_to_nothing_are_told_where_the_loss_reads_lengths(name, told):
    """Of 120 steps of VICReg without its variance term."""
    config = Config(optim=Optim(warmup_epochs=4.0), objective=Objective(name=name))
    row = {"embedding_spread": 0.74, "embedding_std_mean": 0.004}
    said = _said(CollapseWarner(config, steps_per_epoch=10), [row] * 9)
    assert len(said) == told and (not told or "one vector (embedding_std_mean 0.004," in said[0])


def _said(collapse, rows, first=50):
    return [words for number, row in enumerate(rows) for words in collapse(first + number, row)]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            RANK_ONE,
            "one and the same (off_diagonal_rms 0.67, diagonal_mean 0.69): a larger --config.objective.barlow_twins.off_d",
        ),
        (NO_INVARIANCE, "do not agree (diagonal_mean 0.067"),
        (ONE_VECTOR, "have collapsed to one vector (embedding_spread 0.001"),
    ],
)
def test_a_sign_that_lasts_is_told_once_with_a_remedy(row, words):
    collapse = _collapse()
    assert _said(collapse, [row] * 4 + [HEALTHY] + [row] * 4) == []
    (said,) = _said(collapse, [row] * 50)
    assert said.startswith("warning: ") and words in said and "--config." in said
    assert _said(collapse, [HEALTHY] * 3 + [row] * 50) == []


def test_a_healthy_run_and_the_warm_up_are_silent():
    assert _said(_collapse(), [HEALTHY] * 50) == []
    assert _said(_collapse(), [NO_INVARIANCE] * 40, first=0) == []


@pytest.mark.parametrize(
    "objective", [{"normalization": "sample"}, {"normalization": "none"}, {"temperature": 0.1}]
)
def test_where_c_is_no_correlation_its_entries_are_not_judged(objective):
    assert _said(_collapse(**objective), [NO_INVARIANCE] * 50) == []
    assert len(_said(_collapse(**objective), [ONE_VECTOR] * 50)) == 1


def test_a_loss_without_embeddings_has_no_signs():
    assert _said(_collapse(), [{"loss": 1.0}] * 50) == []
