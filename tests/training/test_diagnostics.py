"""Collapse warnings appear once, if a sign lasts; the values were measured in runs on the digits."""

import dataclasses

import pytest

from barlow_jax.config import records
from barlow_jax.config.methods import BarlowTwins
from barlow_jax.config.schema import Config, Objective, Optim
from barlow_jax.training.diagnostics import CollapseWarner

HEALTHY = {"embedding_spread": 0.93, "diagonal_mean": 0.39, "off_diagonal_rms": 0.20}
# Measured: step 110 and later of 200 steps without one of the terms; and one vector for all.
RANK_ONE = {"embedding_spread": 0.98, "diagonal_mean": 0.686, "off_diagonal_rms": 0.672}
NO_INVARIANCE = {"embedding_spread": 0.90, "diagonal_mean": 0.067, "off_diagonal_rms": 0.108}
ONE_VECTOR = {"embedding_spread": 0.001, "diagonal_mean": 0.3, "off_diagonal_rms": 0.1}


def _make(config):
    return CollapseWarner(records.flatten(dataclasses.asdict(config)), steps_per_epoch=10)


def _warner(**objective):
    settings = BarlowTwins(**objective)
    config = Config(optim=Optim(warmup_epochs=4.0), objective=Objective(barlow_twins=settings))
    return _make(config)


def test_other_methods_have_no_correlations_and_advice_of_their_own():
    """VICReg's rows have no diagonal."""
    config = Config(optim=Optim(warmup_epochs=4.0), objective=Objective(name="vicreg"))
    one_vector = {"embedding_spread": 0.001, "embedding_std_mean": 0.4}
    (message,) = _messages(_make(config), [one_vector] * 9)
    assert "one vector (embedding_spread is 0.001;" in message
    assert "a larger --config.objective.vicreg.variance_weight; or a lower" in message
    healthy = {"embedding_spread": 0.86, "embedding_std_mean": 0.28}
    assert not _messages(_make(config), [healthy] * 9)


@pytest.mark.parametrize(("name", "warns"), [("vicreg", True), ("byol", False)])
def test_embeddings_that_shrink_to_zero_cause_a_warning_if_the_loss_depends_on_lengths(name, warns):
    """The row is from 120 steps of VICReg without its variance term."""
    config = Config(optim=Optim(warmup_epochs=4.0), objective=Objective(name=name))
    row = {"embedding_spread": 0.74, "embedding_std_mean": 0.004}
    messages = _messages(_make(config), [row] * 9)
    assert len(messages) == warns and (not warns or "(embedding_std_mean is 0.004;" in messages[0])


def _messages(warner, rows, first=50):
    return [message for number, row in enumerate(rows) for message in warner(first + number, row)]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            RANK_ONE,
            "the same (off_diagonal_rms is 0.67; diagonal_mean 0.69). Use a larger --config.objective.barlow",
        ),
        (NO_INVARIANCE, "do not agree (diagonal_mean is 0.067"),
        (ONE_VECTOR, "have collapsed to one vector (embedding_spread is 0.001"),
    ],
)
def test_a_lasting_sign_causes_one_warning_with_a_remedy(row, words):
    warner = _warner()
    assert _messages(warner, [row] * 4 + [HEALTHY] + [row] * 4) == []
    (message,) = _messages(warner, [row] * 50)
    assert words in message and "--config." in message
    assert _messages(warner, [HEALTHY] * 3 + [row] * 50) == []


def test_a_healthy_run_and_the_warm_up_are_silent():
    assert _messages(_warner(), [HEALTHY] * 50) == []
    assert _messages(_warner(), [NO_INVARIANCE] * 40, first=0) == []


@pytest.mark.parametrize(
    "objective", [{"normalization": "sample"}, {"normalization": "none"}, {"temperature": 0.1}]
)
def test_if_c_is_not_a_correlation_its_entries_cause_no_warning(objective):
    assert _messages(_warner(**objective), [NO_INVARIANCE] * 50) == []
    assert len(_messages(_warner(**objective), [ONE_VECTOR] * 50)) == 1


def test_a_loss_without_embeddings_has_no_signs():
    assert _messages(_warner(), [{"loss": 1.0}] * 50) == []
