"""NPID (Wu et al. 2018): every image is a class of its own, and the memory bank is the classifier.

Equation 2 for the embedding v_b of image i, on the unit sphere, and the bank's rows w:

    L = -1/N sum_b log( exp(w_i . v_b / t) / sum_j exp(w_j . v_b / t) )

over all images j (`negatives` 0, the exact softmax), or over i and K images that are sampled uniformly.
`loss=nce` is equations 4 to 7 instead: i is told from K noise images, with

    h(j) = p_j / (p_j + K / M),    p_j = exp(w_j . v_b / t) / Z
    L    = -1/N sum_b [log h(i) + sum_k log(1 - h(k))]

for M images, and Z the mean of exp(w . v / t) in the first batch, times M. The row of an image then moves
towards its embedding: w_i <- unit(m w_i + (1 - m) v_b).

The official code samples K negatives for each row of the batch; here they are the same for all rows, so that
the bank is read once: `[K, D]` instead of `[B, K, D]`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.errors import UserError
from barlow_jax.losses import memory_bank
from barlow_jax.losses.contrastive import LossAndAccuracy, info_nce, similarities
from barlow_jax.losses.embedding_statistics import embedding_statistics
from barlow_jax.networks.unit_sphere import unit_rows
from barlow_jax.types import Objective, RunInfo

_EPSILON = 1e-7  # the official code's, where the own row has no likelihood


class Logits(NamedTuple):
    """Inner products of unit embeddings with rows of the bank, over the temperature; float32."""

    own: jax.Array  # [N] with the image's own row
    others: jax.Array  # [N, K] with the rows that are compared with


def compute_logits(v: jax.Array, own: jax.Array, others: jax.Array, temperature: float) -> Logits:
    """Return the logits of `[N, D]` embeddings with their `[N, D]` own and `[K, D]` other rows."""
    v, (own, others) = unit_rows(v), jax.lax.stop_gradient((own, others))
    return Logits(jnp.sum(v * own, axis=1) / temperature, similarities(v, others) / temperature)


def nce_loss(logits: Logits, z: jax.Array, num_images: int) -> tuple[LossAndAccuracy, jax.Array]:
    """Compute equation 7, and the fraction of images whose own row is closer than all noise images.

    Args:
      logits: with K noise images.
      z: `[]` Z; 0 if it is to be estimated from these logits.
      num_images: M.

    Returns:
      The loss and the fraction, and Z.

    >>> import jax.numpy as jnp
    >>> logits = Logits(jnp.array([2.0]), jnp.array([[2.0, 2.0]]))
    >>> result, z = nce_loss(logits, jnp.array(0.0), num_images=8)
    >>> print(f"{result.loss:.3f}, {z / jnp.exp(2):.1f}")  # p is 1/8, h is 1/3
    1.910, 8.0
    """
    scores = jnp.exp(jnp.concatenate([logits.own[:, None], logits.others], axis=1))
    z = jnp.where(z > 0, z, num_images * jax.lax.stop_gradient(jnp.mean(scores)))
    p, noise = scores / z, logits.others.shape[1] / num_images
    likelihoods = jnp.log(p[:, 0] / (p[:, 0] + noise) + _EPSILON)
    likelihoods += jnp.sum(jnp.log(noise / (p[:, 1:] + noise)), axis=1)
    accuracy = jnp.mean(logits.own > jnp.max(logits.others, axis=1))
    return LossAndAccuracy(-jnp.mean(likelihoods), accuracy), z


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over view a.

    Its memory is {"bank": `[R, D]`}, and with loss=nce {"z": `[]`}.

    Raises:
      UserError: If loss=nce has no negatives.
    """
    settings, num_images = config.npid, run_info.num_images
    is_nce = settings.loss == "nce"
    if is_nce and not settings.negatives:
        key = f"config.objective.{config.name}"
        raise UserError(f"{key}.negatives is 0, but {key}.loss=nce compares with sampled images. Set both.")

    def loss(outputs, memory, context):
        v, bank, index = outputs["a"].embedding, memory["bank"], context.index
        own = bank[index]
        sample = jax.random.randint(context.key, [settings.negatives], 0, num_images)
        sample, others = (sample, bank[sample]) if settings.negatives else (jnp.arange(len(bank)), bank)
        logits = compute_logits(v, own, others, settings.temperature)
        if is_nce:
            result, z = nce_loss(logits, memory["z"], num_images)
        else:
            is_other = (index[:, None] != sample[None]) & (sample < num_images)[None]
            result, z = info_nce(logits.own, jnp.where(is_other, logits.others, -jnp.inf)), None
        value = config.scale * result.loss
        rows = unit_rows(settings.momentum * own + (1 - settings.momentum) * unit_rows(v))
        memory = {"bank": memory_bank.write(bank, index, rows)} | ({"z": z} if is_nce else {})
        metrics = {"loss": value, "contrast_accuracy": result.accuracy}
        return value, memory, metrics | embedding_statistics([v], unit_length=True)

    def init_memory(key):
        memory = {"bank": memory_bank.init_bank(key, num_images, run_info.width)}
        return memory | ({"z": jnp.zeros([])} if is_nce else {})

    return Objective(loss, views=("a",), init_memory=init_memory)
