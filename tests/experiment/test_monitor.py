"""k-NN during training: a step without a meaningful accuracy has none, and the run goes on."""

import dataclasses
import json
import types

import jax
import numpy as np
import pytest

from barlow_jax.config.overrides import from_tree
from barlow_jax.config.schema import Data
from barlow_jax.data import npz
from barlow_jax.data.array_split import ArraySplit
from barlow_jax.evals.evaluation_data import EvaluationData
from barlow_jax.experiment import hooks
from barlow_jax.experiment.experiment import Experiment


@pytest.fixture(scope="module")
def measure(finished):
    """Function of labels and a factor of the weights to the row that the monitor writes."""
    config, _ = from_tree(json.loads((finished / "config.json").read_text()))
    data = Data("arrays", eval_split="train", image_size=8, eval_resize=8)
    experiment = Experiment.from_config(dataclasses.replace(config, data=data, eval_batch_size=64))
    params, stats = experiment.jit_once(experiment.encoder_network.init)(jax.random.key(0))
    jitted = experiment.jitted_encoder()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), np.uint8)

    def run(labels, factor=1.0):
        split = ArraySplit(npz.Images(pixels, labels.astype(np.int32), 2), "x")
        rows = []
        encoder = jax.tree.map(lambda x: x * factor, params), stats
        fake = types.SimpleNamespace(
            experiment=types.SimpleNamespace(
                config=experiment.config,
                layout=experiment.layout,
                jitted_encoder=lambda: jitted,
                eval_batches=experiment.eval_batches,
            ),
            writer=types.SimpleNamespace(write=lambda step, row: rows.append(row)),
        )
        hook = hooks._knn(fake, EvaluationData(data, split, split))
        hook(3, types.SimpleNamespace(encoder=lambda: encoder), {})
        return rows[0]

    return run


def test_both_accuracies_are_written_and_an_image_is_not_its_own_neighbor(measure):
    labels = np.arange(64) % 2
    row = measure(labels)
    assert set(row) == {"knn_top1", "knn_balanced_accuracy"} and 0.1 < row["knn_top1"] < 0.9


def test_one_class_or_features_that_are_not_finite_give_no_number(measure, capsys):
    for labels, factor in ((np.zeros(64), 1.0), (np.arange(64) % 2, np.nan)):
        row = measure(labels, factor)
        assert np.isnan(row["knn_top1"]) and "warning: step 3" in capsys.readouterr().err
