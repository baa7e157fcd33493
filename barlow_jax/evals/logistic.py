"""The exact probe: multinomial logistic regression on frozen features, by L-BFGS.

  f(W, b) = mean over rows i of -log softmax(x_i W + b)[y_i] + weight_decay / 2 (|W|^2 + |b|^2)

The objective that the SGD probe descends: the bias decays with the weight, as in the papers' protocols.
scikit-learn's LogisticRegression with C = 1 / (N weight_decay) leaves its intercept out of the penalty; with
fit_intercept=False and a column of ones among the features it has this very minimiser.

Where the classes are separable and weight_decay is small, f is all but flat long before its minimum: the
tolerance on the gradient then says where it ends.
"""

from collections.abc import Callable
import functools
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from barlow_jax.config import schema as config_lib
from barlow_jax.distributed.mesh import Layout
from barlow_jax.evals import scores
from barlow_jax.types import FeatureTable


class Fit(NamedTuple):
    """Where the solver ended."""

    head: dict[str, jax.Array]  # weight [H, C] and bias [C], on every device
    iterations: int
    gradient: float  # the largest entry of f's gradient there


def probe_accuracy(
    train: FeatureTable, test: FeatureTable, *, config: config_lib.Probe, num_classes: int, layout: Layout
) -> dict[str, float]:
    """Accuracies "top1" and "top5" in 0..1 of the minimiser; and "iterations" and "gradient", as in Fit.

    Says on standard error where the gradient stayed above `config.tolerance`.

    Args:
      train: rows that the probe sees, all of them on every process; the devices share them.
      test: rows to classify.
      config: weight_decay, max_iterations and tolerance are read.
      num_classes: outputs of the classifier.
      layout: of the devices.
    """
    fit = minimize(
        train,
        num_classes=num_classes,
        weight_decay=config.weight_decay,
        max_iterations=config.max_iterations,
        tolerance=config.tolerance,
        layout=layout,
    )
    if not fit.gradient <= config.tolerance:  # also where it is not a number
        print(
            f"the probe stopped after {fit.iterations} iterations with a gradient of {fit.gradient:.1e}, above "
            f"its tolerance of {config.tolerance:.1e}: raise max_iterations or weight_decay, or standardize",
            file=sys.stderr,
        )
    accuracy = scores.accuracy_on(test)(jax.tree.map(np.asarray, fit.head))
    return accuracy | {"iterations": fit.iterations, "gradient": fit.gradient}


def minimize(
    train: FeatureTable,
    *,
    num_classes: int,
    weight_decay: float,
    max_iterations: int,
    tolerance: float,
    layout: Layout,
) -> Fit:
    """The minimiser of f over `[N, H]` features and `[N]` labels, from W = 0 and b = 0."""
    scores.check_one_label_each(train.labels)
    missing = -len(train.labels) % layout.mesh.size
    features = _place(np.pad(train.features.astype(np.float32, copy=False), ((0, missing), (0, 0))), layout)
    labels = _place(np.pad(train.labels, (0, missing), constant_values=-1), layout)
    run = _compile(num_classes, weight_decay, layout)
    head, iterations, gradient = run(features, labels, max_iterations, tolerance)
    return Fit(head, int(iterations), float(gradient))


def _place(rows: np.ndarray, layout: Layout) -> jax.Array:
    return jax.make_array_from_callback(rows.shape, layout.batch, lambda index: rows[index])


@functools.cache
def _compile(num_classes: int, weight_decay: float, layout: Layout) -> Callable[..., Any]:
    """`(features, labels, max_iterations, tolerance) -> (head, iterations, gradient)`, one loop on the devices.

    Rows with label -1 are padding: their number is data, not a shape.
    """
    solver = optax.lbfgs()

    def run(features, labels, max_iterations, tolerance):
        real = labels >= 0

        def objective(head):
            logits = scores.logits_of(head, features)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(labels, 0))
            loss = jnp.sum(jnp.where(real, losses, 0)) / jnp.sum(real)
            return loss + weight_decay / 2 * optax.tree.norm(head, squared=True)

        value_and_gradient = optax.value_and_grad_from_state(objective)

        def largest(state):
            return optax.tree.norm(optax.tree.get(state, "grad"), ord=jnp.inf)

        def going_on(carry):
            _, state, done = carry
            return (done == 0) | ((done < max_iterations) & (largest(state) > tolerance))

        def iterate(carry):
            head, state, done = carry
            value, gradient = value_and_gradient(head, state=state)
            updates, state = solver.update(
                gradient, state, head, value=value, grad=gradient, value_fn=objective
            )
            return optax.apply_updates(head, updates), state, done + 1

        head = {"weight": jnp.zeros((features.shape[1], num_classes)), "bias": jnp.zeros(num_classes)}
        head, state, done = jax.lax.while_loop(going_on, iterate, (head, solver.init(head), 0))
        return head, done, largest(state)

    return jax.jit(run, out_shardings=layout.replicated)
