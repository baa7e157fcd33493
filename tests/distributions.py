"""Random numbers of the augmentation as the pipeline samples them, and checks of their distributions.

Parameters come from the functions that the views and ops call, with the pipeline's seeds. Seeds are fixed, so
p-values are deterministic; those of wrong distributions are below 1e-6.
"""

import dataclasses
import itertools
import math

import numpy as np
from scipy import stats
import tensorflow as tf

from barlow_jax.config import recipe
from barlow_jax.data import host_ops, host_views
from barlow_jax.data.sampler import EpochSampler

VIEWS = {
    name: dataclasses.replace(view, rotate=recipe.Rotate(0.3)) for name, view in recipe.Recipe().views.items()
}
# Four strengths that differ from each other and from the defaults.
JITTER = recipe.Jitter(brightness=0.6, contrast=0.3, saturation=0.1, hue=0.2)
OPS = ("rotate", "flip", "jitter", "grayscale", "blur", "solarize")
IMAGES = 12000
P_VALUE = 1e-3
DEVIATIONS = 4.5  # standard errors allowed for a mean, a variance and each of a few thousand correlations


@tf.function(autograph=False)
def draw_all(seeds):
    return tf.map_fn(
        lambda seed: tf.stack(list(host_views.draw(VIEWS["a"], seed).values())),
        seeds,
        fn_output_signature=tf.float32,
        parallel_iterations=1,
    )


def draw(number, positions, seed=0):
    """Return `{op: [n, 32]}` uniforms of view `number` at global positions, with the pipeline's seeds."""
    seeds = np.stack([np.full_like(positions, seed * len(VIEWS) + number), positions], axis=1)
    return dict(zip(VIEWS["a"].order, np.moveaxis(draw_all(seeds).numpy(), 1, 0), strict=True))


def each(function, uniforms, *arguments):
    """Apply an op's own function to every row of uniforms; returns NumPy arrays."""
    mapped = tf.vectorized_map(lambda u: function(u, *arguments), tf.constant(uniforms))
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), mapped)


def boxes(uniforms, shape, op):
    """Return `[4, n]` float64: top, left, height, width."""
    return np.array(each(lambda u: host_ops.crop_box(tf.constant([*shape, 3]), u, op), uniforms), float)


def assert_uniform(samples, low, high):
    """Check mean, variance and distribution function against U(low, high)."""
    samples = (np.asarray(samples, float) - low) / (high - low)
    assert samples.min() >= 0 and samples.max() <= 1
    standard_error = 1 / math.sqrt(12 * len(samples))
    assert abs(samples.mean() - 1 / 2) < DEVIATIONS * standard_error
    # The variance of a sample's variance is (kurtosis - 1) variance^2 / n, and the kurtosis here 9 / 5.
    assert abs(samples.var() - 1 / 12) < DEVIATIONS * math.sqrt(0.8 / len(samples)) / 12
    assert uniform_p_value(samples) > P_VALUE


def uniform_p_value(samples):
    return stats.kstest(samples, "uniform").pvalue


def correlations(columns, others=None):
    """Return Pearson's `[k, l]` correlations of the columns of two arrays, or of one without the diagonal."""
    standard = [(x - x.mean(0)) / x.std(0) for x in (columns, columns if others is None else others)]
    found = standard[0].T @ standard[1] / len(columns)
    return found if others is not None else found - np.diag(np.diag(found))


def probability_p_value(applied, probability):
    return stats.binomtest(int(applied.sum()), len(applied), probability).pvalue


def permutation_p_value(orders):
    """Return the chi-square p-value of all permutations in `[n, 4]` being equally likely."""
    counts = [np.sum(np.all(orders == order, axis=1)) for order in itertools.permutations(range(4))]
    assert sum(counts) == len(orders)
    return stats.chisquare(counts).pvalue


def assert_independent(columns):
    """Check that columns of `[n, k]` uniforms are uncorrelated, and so are their distances from 1/2."""
    limit = DEVIATIONS / math.sqrt(len(columns))
    assert np.abs(correlations(columns)).max() < limit
    # Dependence that cancels in the mean, such as u and 1 - u.
    assert np.abs(correlations(np.abs(columns - 0.5))).max() < limit


def assert_pairs_independent(applied, num_pairs):
    """Check each pair of `[n]` booleans by chi-square of the 2 x 2 table."""
    pairs = list(itertools.combinations(applied, 2))
    assert len(pairs) == num_pairs
    for x, y in pairs:
        table = np.histogram2d(x, y, bins=2)[0]
        assert stats.chi2_contingency(table).pvalue > P_VALUE / 10


def assert_lagged_independent(columns, lag):
    """Check that rows of `[n, k]` are uncorrelated with those `lag` behind."""
    found = correlations(columns[:-lag], columns[lag:])
    assert np.abs(found).max() < DEVIATIONS / math.sqrt(len(columns) - lag)


def assert_resampled(columns_of):
    """Check that an image is independent in two epochs of a run, and in a run with the next seed.

    `columns_of` takes the seed of a run and global positions to `[n, k]` uniforms.
    """
    order, number = EpochSampler(seed=0, num_examples=4000, batch_size=500), 4000
    found = []
    for run, epoch in ((0, 0), (0, 1), (1, 0)):
        steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
        index, position = (np.concatenate(parts) for parts in zip(*map(order.batch, steps), strict=True))
        found.append(columns_of(run, position)[np.argsort(index)])
    for one, other in itertools.combinations(found, 2):
        assert np.abs(correlations(one, other)).max() < DEVIATIONS / math.sqrt(number)
