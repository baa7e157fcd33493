"""SimCLR (Chen et al. 2020): identify an image's other view among all other views in the batch.

Equation 1, NT-Xent, over the 2N embeddings u of a global batch, on the unit sphere:

    l(i, j) = -log( exp(u_i . u_j / t) / sum_{k != i} exp(u_i . u_k / t) )
    L = 1 / 2N  sum over both views of all images of l(i, its other view)

As in the official code all views share the statistics of each BatchNorm.

Cost: the 2N x 2N logits are four [N, N] blocks, whose rows are split over the P devices like the batch. A
block's columns are all embeddings of a view, which are gathered: N D numbers each, twice that for the
gradient. At N = 4096 the logits take 268 MB / P, up to half more with the gradient's; 8 N^2 D flops / P
forward, three times that with the gradient.
"""

from functools import partial

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.losses.contrastive import LossAndAccuracy, info_nce, similarities
from barlow_jax.losses.embedding_statistics import embedding_statistics
from barlow_jax.losses.pairs import mean_over_pairs
from barlow_jax.losses.standardization import check_views
from barlow_jax.networks.unit_sphere import unit_rows
from barlow_jax.types import Grouping, Objective, RunInfo


def nt_xent(
    z_a: jax.Array, z_b: jax.Array, *, temperature: float, operand_dtype: jnp.dtype = jnp.float32
) -> LossAndAccuracy:
    """Compute equation 1, and the fraction of the 2N anchors whose positive is the closest view.

    Args:
      z_a: `[N, D]` embeddings of one view, any float dtype and length, N >= 2.
      z_b: `[N, D]` embeddings of the other view of the same images, in the same order.
      temperature: t, above 0.
      operand_dtype: Operand dtype of the large products, which accumulate in float32. The positive's cosine
        is always computed in float32.

    Raises:
      ValueError: If the shapes differ or are not `[N, D]`, or if N is 1.

    >>> import jax.numpy as jnp
    >>> z = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> print(f"{nt_xent(z, z, temperature=1.0).loss:.4f}")  # log(1 + 2 / e)
    0.5514
    """
    check_views([z_a, z_b])
    if len(z_a) < 2:
        raise ValueError(f"NT-Xent needs 2 images or more, got {z_a.shape}; use a larger batch")
    a, b = unit_rows(z_a), unit_rows(z_b)
    positive = jnp.sum(a * b, axis=1) / temperature
    diagonal = jnp.eye(len(a), dtype=bool)  # an anchor with itself, and with its positive, counted above

    def negatives(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(diagonal, -jnp.inf, similarities(x, y, operand_dtype) / temperature)

    # b a^T is computed again, as the transpose of a b^T would move N^2 numbers between devices.
    both = [info_nce(positive, negatives(x, x), negatives(x, y)) for x, y in ((a, b), (b, a))]
    return jax.tree.map(lambda from_a, from_b: (from_a + from_b) / 2, *both)


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over all pairs of views; the negatives of a pair are in its two views."""

    def loss(outputs, memory, context):
        embeddings = [outputs[name].embedding for name in run_info.views]
        operand_dtype = jnp.dtype(config.operand_dtype)
        terms = partial(nt_xent, temperature=config.simclr.temperature, operand_dtype=operand_dtype)
        result = mean_over_pairs(terms, embeddings)
        value = config.scale * result.loss
        metrics = {"loss": value, "contrast_accuracy": result.accuracy}
        return value, memory, metrics | embedding_statistics(embeddings, unit_length=True)

    return Objective(loss, grouping=Grouping(encoder="size", heads="together"))
