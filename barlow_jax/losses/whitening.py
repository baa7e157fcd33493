"""Whitening of embeddings over a sub-batch by a Cholesky factor (Ermolov et al. 2021, section 3.1).

    S = (1 - s) (V - mu)^T (V - mu) / (M - 1)  +  s I  =  L L^T
    Z = (V - mu) L^-T                                       each row L^-1 (v - mu)

s is the shrinkage of the official code; the paper has none. The gradient needs no derivative of L: in the
coordinates of Z, where a change of V - mu is dY, L changes by L Phi(T), Phi the lower triangle with half its
diagonal (Murray 2016, equation 8),

    dZ = dY - Z Phi(T)^T,    T = (1 - s) (dY^T Z + Z^T dY) / (M - 1)

A pivot L_ii^2 / S_ii is the fraction of a feature's variance that the features before it leave unexplained.
It lies between 0, where S is singular, and 1, at any scale of the features. Z and its gradient have a
relative error of about 1e-7 over the smallest pivot. Below D times float32's 1e-7, whitening would amplify
noise: such an S counts as singular.
"""

from functools import partial

import jax
from jax import lax
import jax.numpy as jnp

from barlow_jax.losses.standardization import center

_EPSILON = 2.0**-23
_product = partial(jnp.einsum, precision="highest")


def whiten(v: jax.Array, shrinkage: float = 0.0) -> tuple[jax.Array, jax.Array]:
    """Whiten each sub-batch separately.

    Args:
      v: `[..., M, D]` embeddings of sub-batches, any float dtype, with standard deviations from 1e-15 to
        1e15.
      shrinkage: s, from 0 to 1. The identity is added as an absolute variance: for embeddings with std 100,
        s = 0.1 has little effect.

    Returns:
      The `[..., M, D]` float32 whitened embeddings, with covariance I if s is 0; and the smallest pivot,
      `[...]`. A pivot of 0 means that S is singular to float32: the embeddings are then only centered and
      should not be trained on.

    >>> import jax.numpy as jnp
    >>> v = jnp.array([[3.0, 1.0], [1.0, 1.0], [2.0, 0.0], [2.0, 0.0]])
    >>> z, pivot = whiten(v)
    >>> print(abs(jnp.cov(z, rowvar=False)).round(3).tolist(), f"{pivot:.2f}")
    [[1.0, 0.0], [0.0, 1.0]] 1.00
    >>> print(whiten(v * jnp.array([[1, 0]]))[1])
    0.0
    """
    z, pivots = _whiten(center(v.astype(jnp.float32)), shrinkage)
    return z, lax.stop_gradient(pivots)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _whiten(x: jax.Array, shrinkage: float) -> tuple[jax.Array, jax.Array]:
    return _forward(x, shrinkage)[0]


def _forward(x: jax.Array, shrinkage: float):
    rows, width = x.shape[-2:]
    identity = jnp.broadcast_to(jnp.eye(width), (*x.shape[:-2], width, width))
    covariance = _product("...mi,...mj->...ij", x, x) * ((1 - shrinkage) / (rows - 1)) + shrinkage * identity
    factor = jnp.linalg.cholesky(covariance)  # NaN if it fails
    variances = jnp.diagonal(covariance, axis1=-2, axis2=-1)
    pivots = jnp.square(jnp.diagonal(factor, axis1=-2, axis2=-1)) / variances
    smallest = jnp.min(pivots, axis=-1)
    regular = smallest > width * _EPSILON  # False for NaN
    factor = jnp.where(regular[..., None, None], factor, identity)
    z = lax.linalg.triangular_solve(factor, x, left_side=False, lower=True, transpose_a=True)
    return (z, jnp.where(regular, smallest, 0.0)), (z, factor)


def _backward(shrinkage: float, residuals, cotangents):
    (z, factor), (d_z, _) = residuals, cotangents
    lower = jnp.tril(_product("...mi,...mj->...ij", d_z, z))
    symmetric = lower + jnp.tril(lower, -1).mT  # Phi plus its transpose: the diagonal counts once
    d_y = d_z - _product("...mi,...ij->...mj", z, symmetric) * ((1 - shrinkage) / (z.shape[-2] - 1))
    return (lax.linalg.triangular_solve(factor, d_y, left_side=False, lower=True),)


_whiten.defvjp(_forward, _backward)
