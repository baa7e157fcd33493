import types

import numpy as np

from barlow_jax.config.schema import Config, Monitor
from barlow_jax.data import splits
from barlow_jax.evals import features
from barlow_jax.experiment import hooks
from barlow_jax.types import FeatureTable, TrainState


def test_the_monitor_measures_random_images_of_the_whole_split(monkeypatch):
    """A folder's images are sorted by class, so the first ones would be of one class."""
    read = []

    def eval_batches(source, examples):
        read.append(examples)
        return iter(())

    table = FeatureTable(np.eye(2, dtype=np.float32), np.arange(2, dtype=np.int32), np.arange(2))
    source = types.SimpleNamespace(num_examples=1000)
    monkeypatch.setattr(splits, "open_split", lambda *_: source)
    monkeypatch.setattr(features, "extract", lambda *_: table)
    rows = {}
    run = types.SimpleNamespace(
        experiment=types.SimpleNamespace(
            config=Config(monitor=Monitor(max_images=100, k=1)),
            jitted_encoder=lambda: np.zeros,
            eval_batches=eval_batches,
            layout=None,
        ),
        source=source,
        writer=types.SimpleNamespace(write=lambda done, row: rows.update({done: row})),
    )
    trees = {"encoder": {}}
    hooks._knn(run)(7, TrainState(7, trees, trees, None, {}, {}), {})
    assert rows == {7: {"knn_top1": 1.0}}
    for examples in read:
        assert len(set(examples)) == 100 and list(examples) == sorted(examples)
        assert np.histogram(examples, 5, (0, 1000))[0].min() > 8  # of 20
