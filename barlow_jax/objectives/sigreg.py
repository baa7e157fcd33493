"""SIGReg (LeJEPA; Balestriero and LeCun 2025): views agree, and embeddings are an isotropic Gaussian.

    c_b  = (z_ab + z_bb) / 2                            center of the two full views a and b of image b
    L    = (1 - lambda) mean_vbi (c_bi - z_vbi)^2  +  lambda mean_v S(Z_v)
    S(Z) = mean_m  N  int_-3^3 |1/N sum_b exp(i t u_m . z_b) - exp(-t^2 / 2)|^2 exp(-t^2 / 2) dt

S is the Epps-Pulley statistic of M projections onto random unit vectors u_m. It compares the characteristic
function of each projection with that of N(0, 1), by the trapezoidal rule on 17 knots of [0, 3]. The vectors
are new in every step and are the same for all views and devices: S is the statistic of the global batch.
Far from a Gaussian it grows with N, so the best lambda depends on the batch size.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.config import schema as config_lib
from barlow_jax.config.recipe import FULL_VIEWS
from barlow_jax.losses.correlation import product
from barlow_jax.losses.embedding_statistics import embedding_statistics
from barlow_jax.losses.standardization import check_views
from barlow_jax.networks.unit_sphere import unit_rows
from barlow_jax.types import Grouping, Objective, RunInfo

_KNOTS, _WIDTH_OF_KNOTS = np.linspace(0, 3, 17), 3 / 16
_GAUSSIAN = np.exp(-np.square(_KNOTS) / 2)
# The integrand is even: the knots inside stand for t and -t.
_WEIGHTS = _GAUSSIAN * _WIDTH_OF_KNOTS * np.where((_KNOTS == 0) | (_KNOTS == 3), 1, 2)


class SigregTerms(NamedTuple):
    """Unweighted terms of the loss; float32 scalars."""

    invariance: jax.Array  # mean squared distance from the center
    gaussianity: jax.Array  # mean S(Z_v), about 1 for Gaussian embeddings


def epps_pulley(projections: jax.Array) -> jax.Array:
    """Return the `[M]` Epps-Pulley statistics of `[N, M]` float32 projections, from 0.

    >>> import jax
    >>> z = jax.random.normal(jax.random.key(0), (1000, 1))
    >>> print(" ".join(f"{epps_pulley(x)[0]:.2f}" for x in (z, 2 * z, 0 * z)))
    1.00 218.33 402.05
    """

    @jax.checkpoint  # the gradient computes sines and cosines again: 17 times the projections
    def error(knot):
        t, target = knot
        real, imaginary = (jnp.mean(f(t * projections), axis=0) for f in (jnp.cos, jnp.sin))
        return jnp.square(real - target) + jnp.square(imaginary)

    knots = jnp.asarray(_KNOTS, jnp.float32), jnp.asarray(_GAUSSIAN, jnp.float32)
    return projections.shape[0] * (jnp.asarray(_WEIGHTS, jnp.float32) @ jax.lax.map(error, knots))


def sigreg_loss(
    embeddings: Sequence[jax.Array], key: jax.Array, *, weight: float = 0.05, projections: int = 1024
) -> jax.Array:
    """Compute the LeJEPA loss of the embeddings of two or more views.

    Args:
      embeddings: `[N, D]` of each view, any float dtype, of the same images in the same order. The first two
        are the full views.
      key: Random key of the projections.
      weight: lambda, from 0 to 1.
      projections: M, random projections.

    Returns:
      A float32 scalar from 0.

    Raises:
      ValueError: If there is one view, or the shapes differ or are not `[N, D]`.

    >>> import jax
    >>> z = jax.random.normal(jax.random.key(0), (512, 8))
    >>> loss = [sigreg_loss([z, y], jax.random.key(1)) for y in (z, -z, 0 * z)]
    >>> print(" ".join(f"{value:.2f}" for value in loss))
    0.04 1.01 5.41

    References:
      Balestriero, LeCun 2025, https://arxiv.org/abs/2511.08544
    """
    terms = sigreg_terms(embeddings, key, projections=projections)
    return (1 - weight) * terms.invariance + weight * terms.gaussianity


def sigreg_terms(embeddings: Sequence[jax.Array], key: jax.Array, *, projections: int) -> SigregTerms:
    """Return the unweighted terms; arguments as in `sigreg_loss`."""
    check_views(embeddings)
    z = [x.astype(jnp.float32) for x in embeddings]
    center = (z[0] + z[1]) / 2
    vectors = unit_rows(jax.random.normal(key, (projections, z[0].shape[1])))
    projected = [product("nd,md->nm", x, vectors, jnp.dtype(jnp.float32)) for x in z]
    distances = [jnp.mean(jnp.square(center - x)) for x in z]
    return SigregTerms(
        sum(distances[1:], distances[0]) / len(z), jnp.mean(epps_pulley(jnp.concatenate(projected, axis=1)))
    )


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over all views; a and b are the full views."""
    settings = config.sigreg

    def loss(outputs, memory, context):
        order = sorted(run_info.views, key=lambda name: name not in FULL_VIEWS)
        embeddings = [outputs[name].embedding for name in order]
        terms = sigreg_terms(embeddings, context.key, projections=settings.projections)
        weight = settings.weight
        value = config.scale * ((1 - weight) * terms.invariance + weight * terms.gaussianity)
        return value, memory, {"loss": value, **terms._asdict(), **embedding_statistics(embeddings)}

    return Objective(loss, grouping=Grouping(encoder="size", heads="together"))
