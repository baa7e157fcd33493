"""Compares VSE++'s loss with its definition in float64 NumPy, query by query."""

import jax.numpy as jnp
import loss_reference
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Vse
from barlow_jax.config.overrides import from_tree, load_config_file
from barlow_jax.config.validation import Facts, validate
from barlow_jax.objectives.registry import make_objective
from barlow_jax.objectives.vse import max_hinge
from barlow_jax.types import Outputs

ROWS, MARGIN = 24, 0.4
OBJECTIVE = make_objective(config_lib.Objective(name="vse", scale=2.0, vse=Vse(margin=MARGIN)))


def _outputs():
    first, noise = np.random.default_rng(0).normal(size=(2, ROWS, 6))
    pair = first, first + 0.7 * noise
    return {name: Outputs(None, np.float32(z)) for name, z in zip("ab", pair, strict=True)}


def _definition(outputs):
    """Return the loss, and the fraction of queries that rank their positive first."""
    a, b = (np.float64(outputs[name].embedding) for name in "ab")
    a, b = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (a, b))
    terms, wins = [], []
    for queries, keys in ((a, b), (b, a)):
        for i, query in enumerate(queries):
            hardest = max(query @ key for j, key in enumerate(keys) if j != i)
            terms.append(max(0, MARGIN + hardest - query @ keys[i]))
            wins.append(query @ keys[i] > hardest)
    return 2 * sum(terms) / ROWS, np.mean(wins)


def test_value_and_gradients_are_the_definitions():
    outputs = _outputs()
    value, gradients, _, metrics = loss_reference.run(OBJECTIVE, outputs)
    loss, accuracy = _definition(outputs)
    np.testing.assert_allclose([value, metrics["loss"]], loss, rtol=2e-6)
    assert metrics["contrast_accuracy"] == pytest.approx(accuracy) and 0.3 < accuracy < 1
    loss_reference.assert_slopes(lambda outputs: _definition(outputs)[0], outputs, gradients)


def test_one_device_and_eight_agree():
    loss_reference.assert_one_device_matches_eight(OBJECTIVE, _outputs())


def test_the_loss_is_zero_beyond_the_margin():
    z = jnp.eye(4)
    assert max_hinge(z, z, margin=0.9).loss == 0 and max_hinge(z, -z, margin=0.0).loss == 2


@pytest.mark.parametrize("name", ["captioned_digits:vse", "coco_captions:vse"])
def test_captions_have_configs(name):
    config, problems = from_tree(load_config_file(name)[0].to_dict())
    assert not [*problems, *validate(config, Facts(num_devices=8))] and config.objective.vse.margin == 0.2
