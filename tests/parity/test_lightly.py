"""Compares losses and gradients with lightly's modules in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.losses.sinkhorn import sinkhorn_codes
from barlow_jax.networks.unit_sphere import unit_rows
from barlow_jax.objectives.barlow_twins import barlow_twins_loss
from barlow_jax.objectives.byol import byol_loss
from barlow_jax.objectives.emp_ssl import emp_ssl_loss
from barlow_jax.objectives.sigreg import sigreg_loss
from barlow_jax.objectives.simclr import nt_xent
from barlow_jax.objectives.swav import swav_loss
from barlow_jax.objectives.vicreg import vicreg_loss
from barlow_jax.objectives.w_mse import w_mse_loss

pytestmark = pytest.mark.parity
ROWS, WIDTH, KEY = 32, 12, jax.random.key(0)


@pytest.fixture(scope="module")
def lightly():
    reason = "lightly is not installed here: pip install -e '.[parity]'"
    return pytest.importorskip("lightly.loss", reason=reason)


def _swav(views):
    scores = dict(zip("abc", map(unit_rows, views), strict=True))
    codes = {name: sinkhorn_codes(scores[name], epsilon=0.05, iterations=3) for name in "ab"}
    return swav_loss(scores, codes, temperature=0.1)


def _lightly_swav(lightly, views):
    units = [z / z.norm(dim=1, keepdim=True) for z in views]
    return lightly.SwaVLoss()(units[:2], units[2:])


def _lightly_sigreg(lightly, views):
    module = lightly.LeJEPALoss(lambda_param=0.1)
    vectors = np.asarray(unit_rows(jax.random.normal(KEY, (1024, WIDTH)))).T
    module.sigreg._generate_unit_vectors = lambda *_: views.new_tensor(vectors)
    return module(global_proj=views[:2], local_proj=views[2:])


def _lightly_byol(lightly, views):
    return 2 + 2 * lightly.NegativeCosineSimilarity()(views[0], views[1].detach())


def _lightly_emp_ssl(lightly, views):
    # EMPSSLLoss adds the coding rate, which paper and official code subtract; its network scales the rows.
    terms = lightly.emp_ssl_loss
    units = views / views.norm(dim=2, keepdim=True)
    return 200 * terms.invariance_loss(units) - terms.tcr_loss(units, eps=0.2)


# Our loss of the views' embeddings, lightly's, and the number of views.
CASES = {
    "Barlow Twins": (
        lambda views: barlow_twins_loss(*views, off_diagonal_weight=0.02),
        lambda lightly, views: lightly.BarlowTwinsLoss(lambda_param=0.02)(*views),
        2,
    ),
    "VICReg": (lambda views: vicreg_loss(*views), lambda lightly, views: lightly.VICRegLoss()(*views), 2),
    "SimCLR": (
        lambda views: nt_xent(*views, temperature=0.2).loss,
        lambda lightly, views: lightly.NTXentLoss(temperature=0.2)(*views),
        2,
    ),
    "BYOL": (lambda views: byol_loss(*views), _lightly_byol, 2),
    "SwAV": (_swav, _lightly_swav, 3),
    # One sub-batch: the permutation of the rows has no effect.
    "W-MSE": (
        partial(w_mse_loss, key=KEY, sub_batch=ROWS),
        lambda lightly, views: lightly.WMSELoss(
            embedding_dim=WIDTH, w_size=ROWS, track_running_stats=False, num_samples=4
        )(views.flatten(0, 1)),
        4,
    ),
    "LeJEPA": (partial(sigreg_loss, key=KEY, weight=0.1), _lightly_sigreg, 4),
    "EMP-SSL": (emp_ssl_loss, _lightly_emp_ssl, 4),
}


@pytest.mark.parametrize("method", CASES)
def test_loss_and_gradients_are_lightlys(lightly, method):
    import torch

    ours, theirs, number = CASES[method]
    rng = np.random.default_rng(0)
    views = rng.normal(size=(ROWS, WIDTH)) + rng.normal(size=(number, ROWS, WIDTH)) / 2 + 0.5
    views = views.astype(np.float32)
    value, gradients = jax.value_and_grad(ours)(list(jnp.asarray(views)))

    leaf = torch.tensor(views, dtype=torch.float64, requires_grad=True)
    expected = theirs(lightly, leaf)
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-6)
    difference = np.linalg.norm(np.stack(gradients) - leaf.grad.numpy())
    assert difference < 2e-6 * np.linalg.norm(leaf.grad.numpy())
