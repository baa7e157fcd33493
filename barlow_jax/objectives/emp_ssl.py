"""EMP-SSL (Tong et al. 2023): many crops of an image agree with their mean, and span a large volume.

Over the unit embeddings u of V views:

    R(U) = 1/2 logdet(I + D / (N e^2) U^T U)                     total coding rate
    L    = -w mean_vb cos(u_vb, mean_v u_vb)  -  mean_v R(U_v)

The code's `eps`, 0.2, is the paper's e^2. By Sylvester's identity the determinant is that of the smaller one
of I + D / (N e^2) U^T U, [D, D], and I + D / (N e^2) U U^T, [N, N]; here it is computed by Cholesky, in
float32. All views share the statistics of each BatchNorm.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.losses.correlation import product
from barlow_jax.losses.embedding_statistics import embedding_statistics
from barlow_jax.losses.standardization import check_views
from barlow_jax.networks.unit_sphere import cosines, unit_rows
from barlow_jax.types import Grouping, Objective, RunInfo


class EmpSslTerms(NamedTuple):
    """Unweighted terms of the loss; float32 scalars."""

    cosine: jax.Array  # mean over views and images, -1 to 1
    coding_rate: jax.Array  # mean over views, from 0


def coding_rate(u: jax.Array, distortion: float = 0.2) -> jax.Array:
    """Return R(U) of `[N, D]` float32 unit rows, a float32 scalar from 0; `distortion` is e^2.

    >>> import jax.numpy as jnp
    >>> print(f"{coding_rate(jnp.eye(4)):.3f} {coding_rate(jnp.ones([4, 4]) / 2):.3f}")
    3.584 1.522
    """
    rows, width = u.shape
    u = u if rows <= width else u.T
    gram = product("ij,kj->ik", u, u, jnp.dtype(jnp.float32))
    factor = jnp.linalg.cholesky(jnp.eye(len(u)) + width / (rows * distortion) * gram)
    return jnp.sum(jnp.log(jnp.diagonal(factor)))


def emp_ssl_loss(
    embeddings: Sequence[jax.Array], *, similarity_weight: float = 200.0, distortion: float = 0.2
) -> jax.Array:
    """Compute the EMP-SSL loss of the embeddings of two or more views.

    Args:
      embeddings: `[N, D]` of each view, any float dtype, of the same images in the same order.
      similarity_weight: w.
      distortion: e^2, above 0.

    Returns:
      A float32 scalar.

    Raises:
      ValueError: If there is one view, or the shapes differ or are not `[N, D]`.

    >>> import jax
    >>> z = jax.random.normal(jax.random.key(0), (32, 64))
    >>> print(" ".join(f"{emp_ssl_loss([z, y]):.1f}" for y in (z, 3 * z, jax.numpy.ones_like(z))))
    -234.8 -234.8 -158.7

    References:
      Tong, Chen, Ma, LeCun 2023, https://arxiv.org/abs/2304.03977
    """
    terms = emp_ssl_terms(embeddings, distortion=distortion)
    return -similarity_weight * terms.cosine - terms.coding_rate


def emp_ssl_terms(embeddings: Sequence[jax.Array], *, distortion: float) -> EmpSslTerms:
    """Return the unweighted terms; arguments as in `emp_ssl_loss`."""
    check_views(embeddings)
    units = [unit_rows(z) for z in embeddings]
    center = sum(units[1:], units[0]) / len(units)
    terms = [[jnp.mean(cosines(u, center)) for u in units], [coding_rate(u, distortion) for u in units]]
    return EmpSslTerms(*(sum(values[1:], values[0]) / len(units) for values in terms))


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over all views."""
    settings = config.emp_ssl

    def loss(outputs, memory, context):
        embeddings = [outputs[name].embedding for name in run_info.views]
        terms = emp_ssl_terms(embeddings, distortion=settings.distortion)
        value = config.scale * (-settings.similarity_weight * terms.cosine - terms.coding_rate)
        statistics = embedding_statistics(embeddings, unit_length=True)
        return value, memory, {"loss": value, **terms._asdict(), **statistics}

    return Objective(loss, grouping=Grouping(encoder="size", heads="together"))
