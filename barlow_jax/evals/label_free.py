"""Metrics of an encoder that need no labels, from several views of the same images.

n images with q views each, features `[n, q, D]`; f is a row, u = f / |f|. Computed in float32 from singular
values of the features themselves: squaring them first, as in a covariance, would lose every direction below
3e-4 of the largest.
"""

import jax
import jax.numpy as jnp

from barlow_jax.networks.unit_sphere import unit_rows

EPSILON, DELTA = 1e-7, 1e-4
NEIGHBORS = 10  # of an image
FIT_RANGE = (3, 100)  # directions of `alpha_req`, from 1
_NOISE = 1e-6  # singular values below this fraction of the largest are float32's rounding


@jax.jit
def label_free_metrics(representations: jax.Array, embeddings: jax.Array | None) -> dict[str, jax.Array]:
    """Return the metrics of `[n, q, H]` representations, and RankMe of `[n, D]` embeddings if there are any.

    A metric is nan if it is not defined: for features that are not finite, or all 0.
    """
    x = representations.astype(jnp.float32)
    with jax.default_matmul_precision("highest"):
        metrics = {
            "rankme": rankme(x[:, 0]),
            "lidar": lidar(x),
            "alpha_req": alpha_req(x[:, 0]),
            "alignment": alignment(x),
            "uniformity": uniformity(x[:, 0]),
            "view_retrieval_top1": view_retrieval_top1(x),
        }
        if embeddings is not None:
            metrics["rankme_embedding"] = rankme(embeddings.astype(jnp.float32))
    return metrics


def rankme(features: jax.Array) -> jax.Array:
    """Effective rank of `[n, D]` features (RankMe, Garrido et al. 2023): 1 to min(n, D), higher is better.

        p_k = s_k / sum_j s_j + 1e-7,  rank = exp(-sum_k p_k log p_k)

    s are the singular values of the features, whose mean is not subtracted.
    """
    return _effective_rank(jnp.linalg.svd(features, compute_uv=False))


def lidar(features: jax.Array) -> jax.Array:
    """Effective rank of the LDA matrix of `[n, q, D]` features (LiDAR, Thilak et al. 2024), higher is better.

        S_w = mean_ij (f_ij - m_i)(f_ij - m_i)^T + 1e-4 I,  S_b = mean_i (m_i - m)(m_i - m)^T

    with the mean m_i of an image's views. The rank is that of `rankme`, over the eigenvalues of
    S_w^-1/2 S_b S_w^-1/2: directions count if they differ between images by more than between views. S_b
    contains S_w / q, so few views overrate directions without information. Range: 1 to min(n, D).
    """
    n, q, width = features.shape
    means = jnp.mean(features, axis=1)
    within = (features - means[:, jnp.newaxis]).reshape(n * q, width) / jnp.sqrt(n * q)
    # S_w = R^T R, with the square root of its condition number.
    r = jnp.linalg.qr(jnp.concatenate([within, jnp.sqrt(DELTA) * jnp.eye(width)]), mode="r")
    between = (means - jnp.mean(means, axis=0, keepdims=True)) / jnp.sqrt(n)
    whitened = jax.scipy.linalg.solve_triangular(r, between.T, trans="T")
    return _effective_rank(jnp.square(jnp.linalg.svd(whitened, compute_uv=False)))


def alpha_req(features: jax.Array) -> jax.Array:
    """Decay exponent of the covariance spectrum of `[n, D]` features (alpha-ReQ, Agrawal et al. 2022).

    The exponent of l_j ~ j^-alpha, the eigenvalues in descending order: least squares of log l_j on log j
    over j = 3 ... 100, weighted by 1 / j, which spreads the weight evenly over log j. Range: from 0; near 1
    is best, more means few directions, less means noise. nan below two usable eigenvalues.
    """
    centered = features - jnp.mean(features, axis=0, keepdims=True)
    values = jnp.linalg.svd(centered, compute_uv=False)[: FIT_RANGE[1]]
    j = jnp.arange(1, len(values) + 1)
    used = (j >= FIT_RANGE[0]) & (values > _NOISE * values[0])
    weights = jnp.where(used, 1 / j, 0)
    weights = weights / jnp.sum(weights)
    log_j, log_values = jnp.log(j), 2 * jnp.log(jnp.where(used, values, 1))
    deviations = log_j - jnp.sum(weights * log_j)
    slope = jnp.sum(weights * deviations * log_values) / jnp.sum(weights * jnp.square(deviations))
    return jnp.where(jnp.sum(used) >= 2, -slope, jnp.nan)


def alignment(features: jax.Array) -> jax.Array:
    """Mean squared distance between two views of an image on the unit sphere (Wang and Isola 2020).

    mean_i,j<k |u_ij - u_ik|^2 of `[n, q, D]` features. Range: 0 (views agree) to 4, lower is better.
    """
    u = _unit(features)
    squares = jnp.sum(jnp.square(u - jnp.mean(u, axis=1, keepdims=True)), axis=(1, 2))
    return 2 * jnp.mean(squares) / (features.shape[1] - 1)


def uniformity(features: jax.Array) -> jax.Array:
    """Log of the mean Gaussian potential of two images on the unit sphere (Wang and Isola 2020), t = 2.

    log mean_i!=k exp(-2 |u_i - u_k|^2) of `[n, D]` features. Range: 0 (all images are one vector) to about -4
    (uniform on the sphere), lower is better.
    """
    n = len(features)
    u = _unit(features)
    potentials = jnp.exp(4 * u @ u.T - 4)
    return jnp.log(jnp.sum(jnp.where(jnp.eye(n, dtype=bool), 0, potentials)) / (n * (n - 1)))


def view_retrieval_top1(features: jax.Array) -> jax.Array:
    """Fraction of images whose second view is nearest to their first one, among the second views of all.

    By cosine similarity of `[n, q, D]` features. Range: 1 / n (chance) to 1, higher is better.
    """
    u = _unit(features)
    similarities = u[:, 0] @ u[:, 1].T
    hits = jnp.mean(jnp.argmax(similarities, axis=1) == jnp.arange(len(u)))
    return jnp.where(jnp.all(jnp.isfinite(similarities)), hits, jnp.nan)


@jax.jit
def view_retrieval(features: jax.Array) -> jax.Array:
    """Return how often views of an image of `[n, q, D]` features find each other: `[n]` from 0 to 1.

    Each view is compared with each other view of all images; the nearest one by cosine is found.
    """
    u, q = _unit(features), features.shape[1]
    with jax.default_matmul_precision("highest"):
        found = [jnp.argmax(u[:, i] @ u[:, j].T, axis=1) for i in range(q) for j in range(q) if i != j]
    return jnp.mean(jnp.stack(found) == jnp.arange(len(u))[jnp.newaxis], axis=0)


@jax.jit
def mean_neighbors(features: jax.Array) -> jax.Array:
    """Return the `[n, k]` nearest other images of each image, by the mean of its views' unit features."""
    return _neighbors(jnp.mean(_unit(features), axis=1))


@jax.jit
def neighbor_recovery(features: jax.Array, neighbors: jax.Array) -> jax.Array:
    """Return the fraction of `[n, k]` given neighbors that single views of `[n, q, D]` recover, `[n]`."""
    found = [_neighbors(features[:, i]) for i in range(features.shape[1])]
    hits = [jnp.any(rows[:, :, jnp.newaxis] == neighbors[:, jnp.newaxis], axis=1) for rows in found]
    return jnp.mean(jnp.stack(hits), axis=(0, 2))


def _neighbors(features: jax.Array) -> jax.Array:
    u, n = unit_rows(features), len(features)
    with jax.default_matmul_precision("highest"):
        cosines = jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, u @ u.T)
    return jax.lax.top_k(cosines, min(NEIGHBORS, n - 1))[1]


def _effective_rank(values: jax.Array) -> jax.Array:
    p = values / jnp.sum(values) + EPSILON
    return jnp.exp(-jnp.sum(p * jnp.log(p)))


def _unit(features: jax.Array) -> jax.Array:
    return unit_rows(features.reshape(-1, features.shape[-1])).reshape(features.shape)
