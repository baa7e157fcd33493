"""The linear probe: a classifier on frozen features by SGD, as the papers' protocols have it.

Weight N(0, 0.01), bias 0, cross-entropy, SGD with momentum (heavy-ball or Nesterov's, as torch has them),
weight decay on both, a rate that moves once an epoch: half a cosine to 0, or steps.
"""

from collections.abc import Callable, Iterable
import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from barlow_jax.config import schema as config_lib
from barlow_jax.evals import scores
from barlow_jax.optim.schedules import by_epoch
from barlow_jax.types import FeatureTable


@dataclasses.dataclass(frozen=True)
class Scaler:
    """Features minus `mean` over `deviation`, each `[H]`."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, *, active: bool) -> "Scaler":
        if not active:
            return cls(np.zeros(features.shape[1:]), np.ones(features.shape[1:]))
        # A dead feature stays 0 instead of becoming the noise of its rounding.
        deviation = features.std(axis=0)
        return cls(features.mean(axis=0), np.where(deviation < 1e-6, 1.0, deviation))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return ((features - self.mean) / self.deviation).astype(np.float32)


def probe_accuracy(
    epoch_batches: Callable[[int], Iterable[FeatureTable]],
    test: FeatureTable,
    *,
    config: config_lib.Probe,
    num_train: int,
    num_classes: int,
    seed: int,
) -> dict[str, float]:
    """Trains the probe; accuracies in 0..1: top1 and top5 after the last epoch, best_top1 after the best.

    best_top5 is that of the epoch of best_top1, of the earliest one where several are as good.

    Args:
      epoch_batches: of an epoch (from 0), the batches `[<= batch_size, H]` of all training rows.
      test: rows to classify after every epoch, `[N]` labels.
      config: the protocol.
      num_train: training rows in an epoch.
      num_classes: outputs of the classifier.
      seed: of the initial weights.
    """
    steps_per_epoch = math.ceil(num_train / config.batch_size)
    num_epochs = max(config.num_epochs, math.ceil(config.min_steps / steps_per_epoch))
    optimizer, step = _compile(config.momentum, config.nesterov, config.weight_decay)
    accuracy = scores.accuracy_on(test)
    weight = 0.01 * jax.random.normal(jax.random.key(seed), (test.features.shape[1], num_classes))
    head = {"weight": weight, "bias": jnp.zeros(num_classes)}
    state = optimizer.init(head)
    last, best = {}, {"top1": -1.0}
    for epoch, rate in enumerate(learning_rates(config, num_epochs)):
        for batch in epoch_batches(epoch):
            scores.check_one_label_each(batch.labels)
            head, state = step(head, state, *_pad(batch, config.batch_size), rate)
        last = accuracy(head)
        best = max(best, last, key=lambda result: result["top1"])
    return last | {f"best_{name}": value for name, value in best.items()}


def learning_rates(config: config_lib.Probe, num_epochs: int) -> list[float]:
    """Of each epoch."""
    peak = config.learning_rate * (config.batch_size / 256 if config.scale_learning_rate else 1)
    factors = by_epoch(config.schedule, num_epochs, milestones=config.milestones, decay=config.decay)
    return [peak * factor for factor in factors]


def table_batches(table: FeatureTable, batch_size: int, seed: int) -> Callable[[int], Iterable[FeatureTable]]:
    """Batches of a table for `probe_accuracy`, in a fresh order each epoch."""

    def epoch_batches(epoch: int) -> Iterable[FeatureTable]:
        order = np.random.default_rng((seed, epoch)).permutation(len(table.labels))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            yield FeatureTable(table.features[rows], table.labels[rows])

    return epoch_batches


@functools.cache
def _compile(
    momentum: float, nesterov: bool, weight_decay: float
) -> tuple[optax.GradientTransformation, Callable]:
    """The optimizer and its jitted step; once for all the probes of a program."""
    optimizer = optax.chain(optax.add_decayed_weights(weight_decay), optax.trace(momentum, nesterov))

    def step(head, state, features, labels, real, rate):
        def loss(head):
            logits = scores.logits_of(head, features)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return jnp.sum(losses * real) / jnp.sum(real)

        updates, state = optimizer.update(jax.grad(loss)(head), state, head)
        return jax.tree.map(lambda p, u: p - rate * u, head, updates), state

    return optimizer, jax.jit(step, donate_argnums=(0, 1))


def _pad(batch: FeatureTable, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and a mask of `size` rows: the epoch's last batch compiles to the same step."""
    missing = size - len(batch.labels)
    real = np.arange(size) < len(batch.labels)
    return np.pad(batch.features, ((0, missing), (0, 0))), np.pad(batch.labels, (0, missing)), real
