"""Compares the schedules with the official curves."""

import math

import numpy as np
import pytest

from barlow_jax.config.schema import Config
from barlow_jax.optim import optimizers
from barlow_jax.optim.schedules import epoch_factors, warmup_cosine


def _official(step, peak, warmup, total, final=0.001):
    """Return the official rate: linear, then half a cosine from the peak to `final` times the peak."""
    if step < warmup:
        return peak * step / warmup
    factor = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
    return peak * (factor + final * (1 - factor))


@pytest.mark.parametrize("warmup", [0, 1, 10])
def test_every_step_is_on_the_official_curve(warmup):
    rate = warmup_cosine(peak=1.6, warmup_steps=warmup, num_steps=100, final_scale=0.001)
    actual = [float(rate(step)) for step in range(101)]
    np.testing.assert_allclose(
        actual, [_official(s, 1.6, warmup, 100) for s in range(101)], rtol=1e-5, atol=1e-8
    )


def test_the_imagenet_recipe_peaks_at_the_papers_rates():
    rates = optimizers.learning_rates(Config(), steps_per_epoch=625)
    assert float(rates["weights"](0)) == 0
    np.testing.assert_allclose(rates["weights"](6250), 1.6, rtol=1e-6)
    np.testing.assert_allclose(rates["biases"](6250), 0.0384, rtol=1e-6)
    np.testing.assert_allclose(rates["weights"](625_000), 0.0016, rtol=1e-3)


def test_an_offset_enters_the_schedule_later():
    config = Config()
    whole, entered = (optimizers.learning_rates(config, 625, offset) for offset in (0, 1000))
    for group in ("weights", "biases"):
        assert float(entered[group](7)) == float(whole[group](1007))


def test_the_cosine_by_epoch():
    np.testing.assert_allclose(
        epoch_factors("cosine", 4), [1, (1 + np.sqrt(0.5)) / 2, 0.5, (1 - np.sqrt(0.5)) / 2]
    )


def test_steps_are_at_fractions_of_the_epochs():
    """The paper's fine-tuning: 20 epochs, a fifth of the rate after 12 and 16."""
    expected = [1.0] * 12 + [0.2] * 4 + [0.2**2] * 4
    np.testing.assert_allclose(epoch_factors("steps", 20, milestones=(0.6, 0.8), decay=0.2), expected)
