"""Compares with equation 1 of Chen et al. 2020 in float64 NumPy, anchor by anchor."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import loss_reference
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.config.methods import Simclr
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.objectives.registry import make_objective
from barlow_jax.objectives.simclr import nt_xent
from barlow_jax.types import Outputs

ROWS, WIDTH = 24, 6
CONFIG = config_lib.Objective(name="simclr", scale=2.0, simclr=Simclr(temperature=0.3))
OBJECTIVE = make_objective(CONFIG)


def _outputs(scale=1.0):
    first, noise = np.random.default_rng(0).normal(size=(2, ROWS, WIDTH))
    pair = first, first + 0.5 * noise
    return {name: Outputs(None, np.float32(scale * z)) for name, z in zip("ab", pair, strict=True)}


def _definition(outputs, temperature=CONFIG.simclr.temperature):
    """Return the loss and the fraction of anchors whose positive is the closest view."""
    z = np.concatenate([outputs["a"].embedding, outputs["b"].embedding]).astype(np.float64)
    terms, wins = [], []
    for i, anchor in enumerate(z):
        j = (i + ROWS) % (2 * ROWS)
        similarity = [z_k @ anchor / np.linalg.norm(z_k) / np.linalg.norm(anchor) for z_k in z]
        others = [np.exp(s / temperature) for k, s in enumerate(similarity) if k != i]
        terms.append(-np.log(np.exp(similarity[j] / temperature) / np.sum(others)))
        wins.append(similarity[j] == max(s for k, s in enumerate(similarity) if k != i))
    return CONFIG.scale * np.mean(terms), np.mean(wins)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e25])
def test_value_and_accuracy_are_the_definitions_at_any_length(scale):
    outputs = _outputs(scale)
    value, _, _, metrics = loss_reference.run(OBJECTIVE, outputs)
    loss, accuracy = _definition(outputs)
    np.testing.assert_allclose([value, metrics["loss"]], loss, rtol=2e-6)
    np.testing.assert_allclose(metrics["contrast_accuracy"], accuracy, rtol=1e-6)
    assert 0.5 < accuracy < 1


def test_gradients_are_those_of_the_definition():
    outputs = _outputs()
    _, gradients, _, _ = loss_reference.run(OBJECTIVE, outputs)
    loss_reference.assert_slopes(lambda outputs: _definition(outputs)[0], outputs, gradients)


def test_one_device_and_eight_agree():
    loss_reference.assert_one_device_matches_eight(OBJECTIVE, _outputs())


def test_logits_are_split_by_rows_over_devices():
    """No device holds a whole block of them."""
    rows, layout = 256, Layout(make_mesh())
    embeddings = jax.ShapeDtypeStruct((rows, 16), jnp.float32, sharding=layout.batch)
    gradients = jax.grad(lambda a, b: nt_xent(a, b, temperature=0.1).loss, argnums=(0, 1))
    text = jax.jit(gradients).lower(embeddings, embeddings).compile().as_text()
    shapes = {tuple(map(int, shape)) for shape in re.findall(r"\[(\d+),(\d+)\]", text)}
    assert (rows // 8, rows) in shapes and max(np.prod(s) for s in shapes) == rows // 8 * rows


def test_bfloat16_operands_change_the_loss_a_little():
    objective = make_objective(dataclasses.replace(CONFIG, operand_dtype="bfloat16"))
    actual = loss_reference.run(objective, _outputs())[0]
    assert actual != loss_reference.run(OBJECTIVE, _outputs())[0]
    np.testing.assert_allclose(actual, _definition(_outputs())[0], rtol=1e-2)


@pytest.mark.parametrize("level", [0.0, 3.0, 1e30])
def test_a_collapsed_batch_costs_the_logarithm_of_its_size_and_is_detected(level):
    constant = np.full((ROWS, WIDTH), level, np.float32)
    value, gradients, _, metrics = loss_reference.run(
        OBJECTIVE, {name: Outputs(None, constant) for name in "ab"}
    )
    np.testing.assert_allclose(value, CONFIG.scale * np.log(2 * ROWS - 1), rtol=1e-6)
    loss_reference.assert_finite(gradients)
    assert metrics["contrast_accuracy"] == metrics["embedding_spread"] == 0


def test_all_views_share_the_statistics():
    sizes = {"a": 32, "b": 32}
    assert OBJECTIVE.grouping.passes(sizes) == OBJECTIVE.grouping.encoder_groups(sizes) == [("a", "b")]


@pytest.mark.parametrize(
    ("shape_a", "shape_b", "pattern"),
    [
        ((4, 3), (4, 2), r"\(4, 3\) and \(4, 2\)"),
        ((4,), (4,), r"two or more \[N, D\] arrays"),
        ((1, 3), (1, 3), "use a larger batch"),
    ],
)
def test_wrong_shapes_are_named(shape_a, shape_b, pattern):
    with pytest.raises(ValueError, match=pattern):
        nt_xent(jnp.zeros(shape_a), jnp.zeros(shape_b), temperature=0.1)
