"""SimCLR (Chen et al. 2020): an image's other view is told from all other views of the batch.

Equation 1, NT-Xent, over the 2N embeddings u of a global batch, on the unit sphere:

    l(i, j) = -log( exp(u_i . u_j / t) / sum_{k != i} exp(u_i . u_k / t) )
    L = 1 / 2N  sum over both views of all images of l(i, its other view)

As in the official code all views share the statistics of each BatchNorm.

What it costs: the 2N x 2N logits are four [N, N] blocks, whose rows are split over the P devices as the batch
is. A block's columns are all embeddings of a view, which are gathered: N D numbers each, twice that for the
gradient. At N = 4096 the logits are 268 MB / P, up to half more with the gradient's; 8 N^2 D flops / P forward,
three times that with the gradient.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.losses import health
from barlow_jax.losses.contrast import Contrast, info_nce, similarities
from barlow_jax.losses.sphere import unit_rows
from barlow_jax.types import Grouping, LossContext, Metrics, Objective, Outputs, RunInfo


def nt_xent(
    z_a: jax.Array, z_b: jax.Array, *, temperature: float, operand_dtype: jnp.dtype = jnp.float32
) -> Contrast:
    """The loss of two views' embeddings and the share of the 2N anchors whose positive wins; equation 1.

    Args:
      z_a: `[N, D]` embeddings of one view, any float dtype and length, N >= 2.
      z_b: `[N, D]` of the other view, row by row of the same images.
      temperature: t, above 0.
      operand_dtype: of what the large products read; they accumulate in float32, and so is the positive's cosine.

    Raises:
      ValueError: the shapes differ, are not `[N, D]`, or N is 1.

    >>> import jax.numpy as jnp
    >>> z = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> print(f"{nt_xent(z, z, temperature=1.0).loss:.4f}")  # log(1 + 2 / e)
    0.5514
    """
    if z_a.ndim != 2 or z_a.shape != z_b.shape:
        raise ValueError(f"expected two [N, D] arrays of one shape, got {z_a.shape} and {z_b.shape}")
    if len(z_a) < 2:
        raise ValueError(f"nothing to tell an image from: use larger batches than {z_a.shape}")
    a, b = unit_rows(z_a), unit_rows(z_b)
    positive = jnp.sum(a * b, axis=1) / temperature
    diagonal = jnp.eye(
        len(a), dtype=bool
    )  # an anchor with itself, and with its positive, which is there already

    def others(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(diagonal, -jnp.inf, similarities(x, y, operand_dtype) / temperature)

    # b a^T anew, not (a b^T)^T: a transposition would move N^2 numbers between devices.
    both = [info_nce(positive, others(x, x), others(x, y)) for x, y in ((a, b), (b, a))]
    return jax.tree.map(lambda of_a, of_b: (of_a + of_b) / 2, *both)


def make(config: config_lib.Objective, setup: RunInfo) -> Objective:
    """The objective over views a and b."""
    del setup

    def loss(
        outputs: Mapping[str, Outputs], memory: Any, context: LossContext
    ) -> tuple[jax.Array, Any, Metrics]:
        del context
        pair = outputs["a"].embedding, outputs["b"].embedding
        operand_dtype = jnp.dtype(config.operand_dtype)
        contrast = nt_xent(*pair, temperature=config.simclr.temperature, operand_dtype=operand_dtype)
        value = config.scale * contrast.loss
        metrics = {"loss": value, "contrast_accuracy": contrast.accuracy}
        return value, memory, metrics | health.spread(pair, directions=True)

    return Objective(loss, grouping=Grouping(encoder="size", heads="together"))
