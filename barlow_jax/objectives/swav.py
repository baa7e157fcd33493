"""SwAV (Caron et al. 2020): every view predicts the code (soft prototype assignment) of the other views.

Equations 1 and 2, for the scores s = z . c_k of an embedding with K prototypes, both on the unit sphere:

    l(s, q) = -sum_k q_k log softmax(s / t)_k
    L = 1/2 sum over the views i in {a, b}  1/(V - 1) sum over the other views v  mean_b l(s_v, q_i)

Codes q come from the two full views only, over the global batch (`losses/sinkhorn.py`, equations 3 to 5).
Predictions come from all V views, including small crops. As in the official code, L is the mean of both
codes' terms, not their sum.

As in the official code, a queue starts to fill at `queue_from_epoch` and is used for the codes once it is
full, that is, once its last row is not 0. Prototypes are scaled to unit vectors before each step. For the
first epochs they have no gradient. (The official code skips their update altogether. Here weight decay still
changes their length, which the scaling removes.)
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import entr

from barlow_jax.config import schema as config_lib
from barlow_jax.config.recipe import FULL_VIEWS
from barlow_jax.losses.contrastive import similarities
from barlow_jax.losses.embedding_statistics import embedding_statistics
from barlow_jax.losses.queue import check_queue_size, push
from barlow_jax.losses.sinkhorn import sinkhorn_codes
from barlow_jax.networks.unit_sphere import unit_rows
from barlow_jax.types import Grouping, LossContext, Objective, Outputs, RunInfo


def swav_loss(
    scores: Mapping[str, jax.Array], codes: Mapping[str, jax.Array], *, temperature: float
) -> jax.Array:
    """Compute equation 1, averaged over all codes and the views that predict them, a float32 scalar.

    Args:
      scores: `[B, K]` cosines with the prototypes by view, of two views or more.
      codes: `[B, K]` codes of some of these views, whose rows sum to 1; no gradient.
      temperature: t, above 0.

    >>> import jax.numpy as jnp
    >>> scores = {"a": jnp.zeros((1, 4)), "b": jnp.array([[1.0, 0.0, 0.0, 0.0]])}
    >>> print(f"{swav_loss(scores, {'b': scores['b']}, temperature=0.1):.4f}")  # log 4
    1.3863
    """
    predictions = {name: jax.nn.log_softmax(s / temperature, axis=1) for name, s in scores.items()}
    terms = [
        -jnp.mean(jnp.sum(jax.lax.stop_gradient(code) * predictions[view], axis=1))
        for name, code in codes.items()
        for view in predictions
        if view != name
    ]
    return jnp.mean(jnp.stack(terms))


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over all views.

    Its memory is the queue of each full view, `[Q, D]` unit rows, newest first.

    Raises:
      UserError: If the queue does not hold a whole number of batches.
    """
    settings = config.swav
    if settings.queue_size:
        check_queue_size("config.objective.swav.queue_size", settings.queue_size, run_info.batch_size)
    queue_from, frozen_until = (
        epochs * run_info.steps_per_epoch
        for epochs in (settings.queue_from_epoch, settings.freeze_prototypes_epochs)
    )

    def compute_scores(output: Outputs, context: LossContext) -> jax.Array:
        """Return one view's scores, without a gradient to the prototypes while these are frozen."""
        assert output.scores is not None and output.embedding is not None and context.prototypes is not None
        if not settings.freeze_prototypes_epochs:
            return output.scores
        frozen = similarities(unit_rows(output.embedding), context.prototypes.T)
        return jnp.where(context.step < frozen_until, frozen, output.scores)

    def compute_code(scores: jax.Array, queue: jax.Array | None, context: LossContext) -> jax.Array:
        assert context.prototypes is not None
        return sinkhorn_codes(
            scores,
            None if queue is None else similarities(queue, context.prototypes.T),
            epsilon=settings.epsilon,
            iterations=settings.sinkhorn_iterations,
            use_queue=True if queue is None else jnp.any(queue[-1] != 0),
        )

    def loss(outputs, memory, context):
        scores = {name: compute_scores(outputs[name], context) for name in run_info.views}
        codes = {name: compute_code(scores[name], memory.get(name), context) for name in FULL_VIEWS}
        value = config.scale * swav_loss(scores, codes, temperature=settings.temperature)
        is_filling = context.step >= queue_from
        new_memory = {
            name: jnp.where(is_filling, push(queue, unit_rows(outputs[name].embedding)), queue)
            for name, queue in memory.items()
        }
        entropy = jnp.mean(jnp.stack([jnp.mean(jnp.sum(entr(code), axis=1)) for code in codes.values()]))
        # Relative to log K: 1 if codes do not depend on the image, as when all embeddings are one vector.
        metrics = {"loss": value, "code_entropy": entropy / jnp.log(scores["a"].shape[1])}
        full = [outputs[name].embedding for name in FULL_VIEWS]
        return value, new_memory, metrics | embedding_statistics(full, unit_length=True)

    def init_memory(key: jax.Array) -> dict[str, jax.Array]:
        shape = settings.queue_size, run_info.width
        return {name: jnp.zeros(shape) for name in FULL_VIEWS if settings.queue_size}

    return Objective(
        loss,
        grouping=Grouping(encoder="size", heads="together"),
        init_memory=init_memory,
        constrain=_normalize_prototypes,
    )


def _normalize_prototypes(params: Any) -> Any:
    """Scale the columns of the `[D, K]` prototypes to length 1."""
    return params | {"prototypes": {"vectors": unit_rows(params["prototypes"]["vectors"].T).T}}
