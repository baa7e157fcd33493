import numpy as np

from barlow_jax.config.schema import Config, Probe
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.evals.linear_probe import probe
from barlow_jax.types import FeatureTable


def test_features_are_standardized_by_the_training_split():
    """The test rows are those of one class: centered on their own mean, half of them would be wrong."""
    labels = np.arange(64, dtype=np.int32) % 2
    noise = np.random.default_rng(0).uniform(-1, 1, (64, 3)).astype(np.float32)
    train = FeatureTable(100 + 3 * noise + 8 * labels[:, np.newaxis], labels, np.arange(64))
    test = FeatureTable(train.features[labels == 1], labels[labels == 1], np.arange(32))
    settings = Probe(solver="lbfgs", augment=False, standardize=True, weight_decay=1e-2)
    scores = probe(Config(probe=settings), Layout(make_mesh()), None, train, test)
    assert {score.metric: score.value for score in scores}["top1"] == 100
