"""Off-diagonal energy of a cross-correlation matrix, in two exact forms, and the choice of the cheaper one.

The energy is sum_i sum_{j != i} C_ij^2, of C = A^T B / N for standardized embeddings A and B, both `[N, D]`.

    direct   builds C, [D, D], and masks its diagonal
    gram     |C|^2 = sum((A A^T) * (B B^T)) / N^2, two [N, N] matrices; then less sum_i C_ii^2

Both are written for global arrays. On a mesh, `Reshard` lays A and B out by features, so that mean, variance
and diagonal need no communication. The compiler inserts the collectives (gram: a sum of two [N, N] matrices;
direct: a gather of B and a scattered sum of its gradient).
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from barlow_jax.types import Reshard

Form = Literal["auto", "direct", "gram"]

# Flops that a chip computes while it sends one byte. A v5e: 32e12 flop/s (197e12 in bfloat16, over the six
# passes of a float32 product) to 9e10 bytes/s. v4, v5p and v6e: 200 to 500.
_FLOPS_PER_BYTE = 350


class CorrelationTerms(NamedTuple):
    """Unweighted terms of a loss on the cross-correlation matrix C; float32 scalars."""

    invariance: jax.Array  # sum_i (1 - C_ii)^2
    redundancy: jax.Array  # sum_i sum_{j != i} C_ij^2
    diagonal_mean: jax.Array  # mean_i C_ii; 1 if both views agree


def choose_form(num_rows: int, width: int, num_devices: int = 1) -> Form:
    """Return the cheaper form for loss and gradient, of N rows with D features on P devices.

    Costs per device, in flops and, on more than one device, in float32 bytes sent:

        direct   6 N D^2 / P     8 N D     gather B, scatter the sum of its gradient
        gram     8 N^2 D / P    16 N^2     sum two Gram matrices, once down and once up

    On one device gram is cheaper below N = 3/4 D. There C has rank N - 1 at most, so that
    |C|^2 >= (trace C)^2 / (N - 1): the diagonal that gram subtracts is less than 3/4 of |C|^2, and nothing
    cancels.
    """
    n, d, p = num_rows, width, num_devices
    byte_cost = _FLOPS_PER_BYTE if p > 1 else 0
    direct = 6 * n * d * d / p + byte_cost * 8 * n * d
    gram = 8 * n * n * d / p + byte_cost * 16 * n * n
    return "gram" if gram < direct and 4 * n <= 3 * d else "direct"


def resolve_form(form: Form, num_rows: int, width: int, reshard: Reshard | None) -> Form:
    """Return the form, with "auto" resolved to the cheaper one on the devices that share the embeddings."""
    if form != "auto":
        return form
    return choose_form(num_rows, width, reshard.num_devices if reshard else 1)


def off_diagonal_energy(
    a: jax.Array, b: jax.Array, diagonal: jax.Array, *, form: Form, operand_dtype: jnp.dtype = jnp.float32
) -> jax.Array:
    """Return sum_i sum_{j != i} C_ij^2, a float32 scalar.

    Args:
      a: `[N, D]` standardized embeddings of one view, float32.
      b: `[N, D]` standardized embeddings of the other view, float32.
      diagonal: `[D]` diagonal of C.
      form: "direct" or "gram".
      operand_dtype: Operand dtype of the matrix products, which accumulate in float32.
    """
    rows = a.shape[0]
    if form == "gram":
        return _gram_energy(a, b, operand_dtype) / rows**2 - jnp.sum(jnp.square(diagonal))
    correlation = product("ni,nj->ij", a, b, operand_dtype) / rows
    # The diagonal is masked, not subtracted: near the identity the difference would cancel.
    return jnp.sum(jnp.where(jnp.eye(diagonal.size, dtype=bool), 0.0, jnp.square(correlation)))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _gram_energy(a: jax.Array, b: jax.Array, operand_dtype: jnp.dtype) -> jax.Array:
    """Return |A^T B|^2, whose gradients are 2 (B B^T) A and 2 (A A^T) B.

    Automatic differentiation does not use the symmetry of Gram matrices and would compute each product twice.
    """
    return _gram_forward(a, b, operand_dtype)[0]


def _gram_forward(a: jax.Array, b: jax.Array, operand_dtype: jnp.dtype):
    gram_a, gram_b = (product("ni,mi->nm", x, x, operand_dtype) for x in (a, b))
    # Summed row by row: one long float32 sum of N^2 terms would lose digits.
    return jnp.sum(jnp.sum(gram_a * gram_b, axis=1)), (a, b, gram_a, gram_b)


def _gram_backward(operand_dtype: jnp.dtype, residuals, cotangent: jax.Array):
    a, b, gram_a, gram_b = residuals
    scale = 2 * cotangent  # applied to the small matrices
    return (
        product("nm,mi->ni", scale * gram_b, a, operand_dtype),
        product("nm,mi->ni", scale * gram_a, b, operand_dtype),
    )


_gram_energy.defvjp(_gram_forward, _gram_backward)


def product(subscripts: str, x: jax.Array, y: jax.Array, operand_dtype: jnp.dtype) -> jax.Array:
    """Compute an einsum with operands cast to a dtype and float32 accumulation.

    Float32 operands are multiplied at the highest precision.
    """
    return jnp.einsum(
        subscripts,
        x.astype(operand_dtype),
        y.astype(operand_dtype),
        precision="highest" if operand_dtype == jnp.float32 else None,
        preferred_element_type=jnp.float32,
    )
