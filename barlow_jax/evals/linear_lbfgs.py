"""Linear classifier on features, fitted to the exact minimum: multinomial logistic regression by L-BFGS.

  f(W, b) = mean over rows i of -log softmax(x_i W + b)[y_i] + weight_decay / 2 (|W|^2 + |b|^2)

This is the objective of the SGD probe: the bias decays with the weight, as in the papers' protocols.
scikit-learn's LogisticRegression with C = 1 / (N weight_decay) does not penalize its intercept; with
fit_intercept=False and a column of ones among the features it has the same minimizer.

If the classes are separable and weight_decay is small, f is almost flat long before its minimum, and the
tolerance on the gradient decides where the solver stops.
"""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from barlow_jax.config.schema import Probe
from barlow_jax.distributed.mesh import Layout
from barlow_jax.evals import accuracy
from barlow_jax.io import log
from barlow_jax.types import FeatureTable


class Fit(NamedTuple):
    """The solver's result."""

    head: dict[str, jax.Array]  # weight [H, C] and bias [C], replicated on every device
    iterations: int
    gradient: float  # largest entry of f's gradient


def train_and_test(
    train: FeatureTable, test: FeatureTable, *, config: Probe, num_classes: int, layout: Layout
) -> dict[str, float]:
    """Fit the classifier; return top1 and top5 in 0..1, and iterations and gradient as in `Fit`.

    Every process has all rows, and each device computes a part. Logs a warning if the gradient stays above
    `config.tolerance`.
    """
    fit = minimize(train, config=config, num_classes=num_classes, layout=layout)
    if not fit.gradient <= config.tolerance:  # also if it is not a number
        log.warning(
            f"L-BFGS stopped after {fit.iterations} iterations with a gradient of {fit.gradient:.1e}, above "
            f"probe.tolerance = {config.tolerance:.1e}; raise probe.max_iterations or probe.weight_decay, "
            "or set probe.standardize"
        )
    scores = accuracy.make_accuracy(test)(jax.tree.map(np.asarray, fit.head))
    return scores | {"iterations": fit.iterations, "gradient": fit.gradient}


def minimize(train: FeatureTable, *, config: Probe, num_classes: int, layout: Layout) -> Fit:
    """Minimize f over `[N, H]` features and `[N]` labels, starting from W = 0 and b = 0.

    Of the config only weight_decay, max_iterations and tolerance are used.
    """
    accuracy.check_single_label(train.labels)
    missing = -len(train.labels) % layout.mesh.size
    rows = np.pad(train.features.astype(np.float32, copy=False), ((0, missing), (0, 0)))
    labels = np.pad(train.labels, (0, missing), constant_values=-1)
    run = _compile(num_classes, config.weight_decay, layout)
    head, iterations, gradient = run(
        _shard_rows(rows, layout), _shard_rows(labels, layout), config.max_iterations, config.tolerance
    )
    return Fit(head, int(iterations), float(gradient))


def _shard_rows(rows: np.ndarray, layout: Layout) -> jax.Array:
    return jax.make_array_from_callback(rows.shape, layout.batch, lambda index: rows[index])


@functools.cache
def _compile(num_classes: int, weight_decay: float, layout: Layout) -> Callable[..., Any]:
    """Return the jitted `(features, labels, max_iterations, tolerance) -> (head, iterations, gradient)`.

    The whole loop runs on the devices. Rows with label -1 are padding, so that the number of training rows
    is data and not a shape.
    """
    solver = optax.lbfgs()

    def run(features, labels, max_iterations, tolerance):
        real = labels >= 0

        def objective(head):
            logits = accuracy.logits(head, features)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(labels, 0))
            loss = jnp.sum(jnp.where(real, losses, 0)) / jnp.sum(real)
            return loss + weight_decay / 2 * optax.tree.norm(head, squared=True)

        value_and_gradient = optax.value_and_grad_from_state(objective)

        def max_gradient(state):
            return optax.tree.norm(optax.tree.get(state, "grad"), ord=jnp.inf)

        def not_converged(carry):
            _, state, done = carry
            return (done == 0) | ((done < max_iterations) & (max_gradient(state) > tolerance))

        def iterate(carry):
            head, state, done = carry
            value, gradient = value_and_gradient(head, state=state)
            updates, state = solver.update(
                gradient, state, head, value=value, grad=gradient, value_fn=objective
            )
            return optax.apply_updates(head, updates), state, done + 1

        head = {"weight": jnp.zeros((features.shape[1], num_classes)), "bias": jnp.zeros(num_classes)}
        head, state, done = jax.lax.while_loop(not_converged, iterate, (head, solver.init(head), 0))
        return head, done, max_gradient(state)

    return jax.jit(run, out_shardings=layout.replicated)
