"""Linear classifier on features, trained by SGD with the papers' protocols.

Weight N(0, 0.01), bias 0, cross-entropy, SGD with momentum (heavy-ball or Nesterov, as in torch), weight
decay on weight and bias. The learning rate changes once per epoch: half a cosine to 0, or steps.
"""

from collections.abc import Callable, Iterable, Iterator
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from barlow_jax.config.schema import Probe
from barlow_jax.errors import UserError
from barlow_jax.evals import accuracy
from barlow_jax.optim.schedules import epoch_factors
from barlow_jax.types import FeatureTable

Batches = Callable[[int], Iterable[FeatureTable]]  # of an epoch, by its number from 0

_CHUNK_BYTES = 2**25  # features of the steps of one call


def standardizer(features: np.ndarray, *, active: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Return `(x - mean) / std` in float32, of `[N, H]` features; only the cast if it is not active."""
    if not active:
        return lambda x: x.astype(np.float32)
    mean, std = features.mean(axis=0), features.std(axis=0)
    std = np.where(std < 1e-6, 1.0, std)  # a dead feature stays 0 instead of becoming rounding noise
    return lambda x: ((x - mean) / std).astype(np.float32)


def train_and_test(
    epoch_batches: Batches, test: FeatureTable, *, config: Probe, num_train: int, num_classes: int, seed: int
) -> dict[str, float]:
    """Train the classifier and return its accuracies in 0..1.

    The batches `[<= batch_size, H]` of an epoch hold all `num_train` training rows. The test rows, with `[N]`
    labels, are classified after every epoch. The seed sets the initial weights.

    Returns:
      The values of `accuracy.make_accuracy` after the last epoch; with the prefix "best_" those after the
      epoch with the highest top1, the earliest of equal ones.

    Raises:
      UserError: the training diverged.
    """
    head, results = _train(epoch_batches, test, config, num_train, num_classes, seed)
    best = max(results, key=lambda result: result["top1"])
    if not all(np.isfinite(np.asarray(values)).all() for values in head.values()):
        raise UserError(
            f"the linear probe diverged: its weights are not finite after {len(results)} epochs with "
            f"probe.learning_rate = {config.learning_rate}. Use a lower rate, or probe.standardize=true."
        )
    return results[-1] | {f"best_{name}": value for name, value in best.items()}


def _train(
    epoch_batches: Batches, test: FeatureTable, config: Probe, num_train: int, num_classes: int, seed: int
) -> tuple[accuracy.Head, list[dict[str, float]]]:
    """Return the trained classifier and its accuracies after each epoch."""
    steps_per_epoch = math.ceil(num_train / config.batch_size)
    num_epochs = max(config.num_epochs, math.ceil(config.min_steps / steps_per_epoch))
    step_rows, width = min(config.batch_size, num_train), test.features.shape[1]

    def steps() -> Iterator[tuple]:
        for epoch, rate in enumerate(learning_rates(config, num_epochs)):
            batches = iter(epoch_batches(epoch))
            batch, following = next(batches), next(batches, None)
            while batch is not None:
                accuracy.check_single_label(batch.labels)
                yield *_pad(batch, step_rows), np.float32(rate), following is None
                batch, following = following, next(batches, None)

    optimizer, run = _compile(config.momentum, config.nesterov, config.weight_decay)
    weight = 0.01 * jax.random.normal(jax.random.key(seed), (width, num_classes))
    head = {"weight": weight, "bias": jnp.zeros(num_classes)}
    state, rows, results = optimizer.init(head), accuracy.on_device(test), []
    size = max(1, _CHUNK_BYTES // (4 * step_rows * width))
    batches = steps()
    while chunk := list(itertools.islice(batches, size)):
        stacked = tuple(np.stack(column) for column in zip(*chunk, strict=True))
        head, state, ranks = run(head, state, stacked, rows)
        ranks = np.asarray(ranks)[stacked[-1]]
        results += [accuracy.from_ranks(test.labels, of_epoch, num_classes) for of_epoch in ranks]
    return head, results


def learning_rates(config: Probe, num_epochs: int) -> list[float]:
    """Return the learning rate of each epoch."""
    peak = config.learning_rate * (config.batch_size / 256 if config.scale_learning_rate else 1)
    factors = epoch_factors(config.schedule, num_epochs, milestones=config.milestones, decay=config.decay)
    return [peak * factor for factor in factors]


def table_batches(table: FeatureTable, batch_size: int, seed: int) -> Batches:
    """Return the batches of a table, shuffled in every epoch."""

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
    """Return the optimizer and its jitted steps, compiled once for all probes of a process.

    `steps(head, state, batches, rows) -> (head, state, ranks)` takes K batches in one call, because a step of
    few rows takes less time than a call. `[K, chunks, n]` ranks are those of the test rows after the batches
    that end an epoch, and 0 after the others.
    """
    optimizer = optax.chain(optax.add_decayed_weights(weight_decay), optax.trace(momentum, nesterov))

    def step(head, state, features, labels, real, rate):
        def loss(head):
            logits = accuracy.logits(head, features)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return jnp.sum(losses * real) / jnp.sum(real)

        updates, state = optimizer.update(jax.grad(loss)(head), state, head)
        return jax.tree.map(lambda p, u: p - rate * u, head, updates), state

    def steps(head, state, batches, rows):
        def body(carry, batch):
            *batch, ends = batch
            head, state = step(*carry, *batch)
            none = jnp.zeros(rows[1].shape, jnp.int32)
            return (head, state), jax.lax.cond(ends, lambda: accuracy.ranks(head, *rows), lambda: none)

        (head, state), ranks = jax.lax.scan(body, (head, state), batches)
        return head, state, ranks

    return optimizer, jax.jit(steps, donate_argnums=(0, 1))


def _pad(batch: FeatureTable, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pad a batch to `size` rows, so that an epoch's last batch uses the same compiled step; add a mask."""
    rows = len(batch.labels)
    features, labels = np.zeros((size, batch.features.shape[1]), np.float32), np.zeros(size, np.int32)
    features[:rows], labels[:rows] = batch.features, batch.labels  # np.pad takes ten times as long
    return features, labels, np.arange(size) < rows
