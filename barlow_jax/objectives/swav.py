"""SwAV (Caron et al. 2020): the code of one view, its share of each prototype, is predicted from every other view.

Equations 1 and 2, for the scores s = z . c_k of an embedding with K prototypes, both on the unit sphere:

    l(s, q) = -sum_k q_k log softmax(s / t)_k
    L = 1/2 sum over the views i in {a, b}  1/(V - 1) sum over the other views v  mean_b l(s_v, q_i)

Codes q come from the two full views alone, over the global batch (`sinkhorn.py`, equations 3 to 5); predictions come
from all V views, small crops too. As in the official code the mean, not the sum, of both codes' terms.

As there, a queue begins to fill at `queue_from_epoch`, and takes part in the codes from when it is full. Where its
last row is 0 it is not. Prototypes are made unit vectors before each step; for the first epochs they have no gradient
(the official code takes no step at all: weight decay changes their length alone, which is lost).
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import entr

from barlow_jax.config import schema as config_lib
from barlow_jax.losses import health
from barlow_jax.losses.contrast import similarities
from barlow_jax.losses.queue import check_size, push
from barlow_jax.losses.sinkhorn import sinkhorn_codes
from barlow_jax.losses.sphere import unit_rows
from barlow_jax.types import Grouping, LossContext, Metrics, Objective, Outputs, RunInfo

FULL_VIEWS = ("a", "b")


def swav_loss(
    scores: Mapping[str, jax.Array], codes: Mapping[str, jax.Array], *, temperature: float
) -> jax.Array:
    """The mean over codes and the views other than theirs, a float32 scalar.

    Args:
      scores: `[B, K]` cosines by view, of two views or more.
      codes: `[B, K]` of some of these views, rows that sum to 1; no gradient.
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


def make(config: config_lib.Objective, setup: RunInfo) -> Objective:
    """The objective over all views. Its memory is the queue of each full view, `[Q, D]` unit rows, newest first.

    Raises:
      UserError: the queue does not hold whole batches.
    """
    settings = config.swav
    if settings.queue_size:
        check_size("config.objective.swav.queue_size", settings.queue_size, setup.batch_size)
    queue_from, frozen_until = (
        epochs * setup.steps_per_epoch
        for epochs in (settings.queue_from_epoch, settings.freeze_prototypes_epochs)
    )

    def scores_of(output: Outputs, context: LossContext) -> jax.Array:
        """Of one view; while prototypes are frozen, with those that have no gradient."""
        if not settings.freeze_prototypes_epochs:
            return output.scores
        frozen = similarities(unit_rows(output.embedding), context.prototypes.T)
        return jnp.where(context.step < frozen_until, frozen, output.scores)

    def code_of(scores: jax.Array, queue: jax.Array | None, context: LossContext) -> jax.Array:
        others = None if queue is None else similarities(queue, context.prototypes.T)
        return sinkhorn_codes(
            scores,
            others,
            epsilon=settings.epsilon,
            iterations=settings.sinkhorn_iterations,
            count_others=True if queue is None else jnp.any(queue[-1] != 0),
        )

    def loss(
        outputs: Mapping[str, Outputs], memory: Any, context: LossContext
    ) -> tuple[jax.Array, Any, Metrics]:
        scores = {name: scores_of(outputs[name], context) for name in setup.views}
        codes = {name: code_of(scores[name], memory.get(name), context) for name in FULL_VIEWS}
        value = config.scale * swav_loss(scores, codes, temperature=settings.temperature)
        new = {
            name: jnp.where(
                context.step >= queue_from, push(queue, unit_rows(outputs[name].embedding)), queue
            )
            for name, queue in memory.items()
        }
        entropy = jnp.mean(jnp.stack([jnp.mean(jnp.sum(entr(code), axis=1)) for code in codes.values()]))
        # Of the logarithm of K: 1 where codes say nothing of their image, as of embeddings that are all one vector.
        metrics = {"loss": value, "code_entropy": entropy / jnp.log(scores["a"].shape[1])}
        full = [outputs[name].embedding for name in FULL_VIEWS]
        return value, new, metrics | health.spread(full, directions=True)

    def init_memory(key: jax.Array) -> dict[str, jax.Array]:
        del key
        shape = settings.queue_size, setup.width
        return {name: jnp.zeros(shape) for name in FULL_VIEWS if settings.queue_size}

    def constrain(params: Any) -> Any:
        """Unit columns of the `[D, K]` prototypes."""
        return params | {"prototypes": {"vectors": unit_rows(params["prototypes"]["vectors"].T).T}}

    return Objective(
        loss,
        grouping=Grouping(encoder="size", heads="together"),
        init_memory=init_memory,
        constrain=constrain,
    )
