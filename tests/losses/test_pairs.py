"""Losses over all pairs of several views, against their definitions in float64 NumPy, and their cost."""

import itertools

import jax
import jax.numpy as jnp
import loss_reference
import numpy as np
import pytest

from barlow_jax.config import schema as config_lib
from barlow_jax.losses.pairs import mean_over_pairs
from barlow_jax.objectives.registry import make_objective
from barlow_jax.types import Outputs, RunInfo

ROWS, WIDTH, VIEWS = 16, 6, ("a", "b", "c", "d")


def _barlow_twins(a, b):
    a, b = ((z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) for z in (a, b))
    c = a.T @ b / len(a)
    return np.sum((1 - np.diag(c)) ** 2) + 0.0051 * np.sum((c - np.diag(np.diag(c))) ** 2)


def _vicreg(a, b):
    total = 25 * np.mean((a - b) ** 2)
    for z in (a, b):
        covariance = np.cov(z, rowvar=False)
        total += 25 / 2 * np.mean(np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)))
        total += np.sum((covariance - np.diag(np.diag(covariance))) ** 2) / WIDTH
    return total


def _simclr(a, b):
    u = np.concatenate([a, b])
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    logits = u @ u.T / 0.1
    np.fill_diagonal(logits, -np.inf)
    positive = np.roll(np.arange(len(u)), len(a))
    return np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(u)), positive])


DEFINITIONS = {"barlow_twins": _barlow_twins, "vicreg": _vicreg, "simclr": _simclr}


def _outputs(views):
    rng = np.random.default_rng(0)
    common = rng.normal(size=(ROWS, WIDTH))
    noisy = {name: (common + rng.normal(size=common.shape)).astype(np.float32) for name in views}
    return {name: Outputs(None, z) for name, z in noisy.items()}


def _make(name, views, **options):
    return make_objective(config_lib.Objective(name=name, **options), RunInfo(views, WIDTH, ROWS))


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("views", [VIEWS[:2], VIEWS[:3], VIEWS])
def test_the_loss_is_the_mean_over_all_pairs(name, views):
    def definition(outputs):
        embeddings = [outputs[view].embedding.astype(np.float64) for view in views]
        return np.mean([DEFINITIONS[name](a, b) for a, b in itertools.combinations(embeddings, 2)])

    outputs = _outputs(views)
    value, gradients, *_ = loss_reference.assert_one_device_matches_eight(_make(name, views), outputs)
    np.testing.assert_allclose(value, definition(outputs), rtol=1e-5)
    loss_reference.assert_slopes(definition, outputs, gradients)


@pytest.mark.parametrize(("name", "form"), [("vicreg", "direct"), ("barlow_twins", "gram")])
def test_what_depends_on_one_view_is_computed_once(name, form):
    """The matrix products of four views cost twice those of two, although there are six pairs."""

    def flops(views):
        objective = _make(name, views, form=form)

        def loss(embeddings):
            outputs = {view: Outputs(None, z) for view, z in zip(views, embeddings, strict=True)}
            return objective.loss(outputs, {}, loss_reference.loss_context(64))[0]

        shapes = [jax.ShapeDtypeStruct((64, 64), jnp.float32)] * len(views)
        return jax.jit(loss).lower(shapes).compile().cost_analysis()["flops"]

    assert flops(VIEWS) < 2.4 * flops(VIEWS[:2])


def test_one_pair_is_left_as_it_is():
    assert mean_over_pairs(lambda a, b: (a, b), ["x", "y"]) == ("x", "y")
