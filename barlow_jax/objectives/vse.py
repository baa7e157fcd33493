"""VSE++ (Faghri et al. 2018): an image is closer to its caption than to the hardest other one, by a margin.

Equation 6, the max-hinge loss, with s_ij the cosine of the embeddings of image i and caption j:

    L = 1/N sum_i [max_{j != i} max(0, m + s_ij - s_ii)  +  max_{j != i} max(0, m + s_ji - s_ii)]

The official code sums over the batch instead of taking the mean. Only the hardest negative of each row has a
gradient. View b is the caption, or a second view of the image.
"""

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.losses.contrastive import LossAndAccuracy, similarities
from barlow_jax.losses.embedding_statistics import embedding_statistics
from barlow_jax.losses.standardization import check_views
from barlow_jax.networks.unit_sphere import unit_rows
from barlow_jax.types import Objective, RunInfo


def max_hinge(
    z_a: jax.Array, z_b: jax.Array, *, margin: float, operand_dtype: jnp.dtype = jnp.float32
) -> LossAndAccuracy:
    """Compute equation 6, and the fraction of the 2N queries whose positive is the closest.

    Args:
      z_a: `[N, D]` embeddings of one view, any float dtype and length, N >= 2.
      z_b: `[N, D]` embeddings of the other view, in the same order.
      margin: m.
      operand_dtype: Operand dtype of the product, which accumulates in float32.

    >>> z = jnp.array([[1.0, 0.0], [0.6, 0.8]])
    >>> print(f"{max_hinge(z, z, margin=0.5).loss:.2f}")  # 0.5 + 0.6 - 1 in both directions
    0.20
    """
    check_views([z_a, z_b])
    a, b = unit_rows(z_a), unit_rows(z_b)
    others = jnp.where(jnp.eye(len(a), dtype=bool), -jnp.inf, similarities(a, b, operand_dtype))
    hardest = jnp.stack([jnp.max(others, axis=1), jnp.max(others, axis=0)])
    positive = jnp.sum(a * b, axis=1)[jnp.newaxis]
    hinges = jnp.maximum(0.0, margin + hardest - positive)
    return LossAndAccuracy(jnp.mean(jnp.sum(hinges, axis=0)), jnp.mean(positive > hardest))


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over views a and b."""

    def loss(outputs, memory, context):
        pair = outputs["a"].embedding, outputs["b"].embedding
        result = max_hinge(*pair, margin=config.vse.margin, operand_dtype=jnp.dtype(config.operand_dtype))
        value = config.scale * result.loss
        metrics = {"loss": value, "contrast_accuracy": result.accuracy}
        return value, memory, metrics | embedding_statistics(pair, unit_length=True)

    return Objective(loss)
