"""Measurements during training: a step without a meaningful number has none, and the run continues."""

import dataclasses
import json
import types

import jax
import numpy as np
import pytest

from barlow_jax.config import records
from barlow_jax.config.overrides import from_tree, load_config_file
from barlow_jax.config.schema import Config, Data, Monitor, Train
from barlow_jax.data.collection import Collection
from barlow_jax.data.image_split import ImageSplit
from barlow_jax.evals.evaluation_data import EvaluationData
from barlow_jax.experiment import hooks, monitor
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.training import loop, preemption
from barlow_jax.types import TrainState


def _split(pixels, labels, data):
    names, classes = [*map(str, range(len(pixels)))], None if labels is None else ["0", "1"]
    collection = Collection(names, pixels.__getitem__, labels, classes, "", [1] * len(pixels))
    return ImageSplit(collection, data)


@pytest.fixture(scope="module")
def measure(finished):
    """Function of labels and a factor of the weights to the row that the monitor writes."""
    config, _ = from_tree(json.loads((finished / "config.json").read_text()))
    data = Data("images", eval_split="train", image_size=8, eval_resize=8)
    experiment = Experiment.from_config(dataclasses.replace(config, data=data, eval_batch_size=64))
    params, stats = experiment.jit_once(experiment.encoder_network.init)(jax.random.key(0))
    jitted = experiment.jitted_encoder()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), np.uint8)

    def run(labels, factor=1.0):
        split = _split(pixels, labels.astype(np.int32), data)
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
        hook = monitor.knn(fake, EvaluationData(data, split, split))
        hook(3, types.SimpleNamespace(encoder=lambda: encoder), {})
        return rows[0]

    return run


def test_both_accuracies_are_written_and_an_image_is_not_its_own_neighbor(measure):
    labels = np.arange(64) % 2
    row = measure(labels)
    assert set(row) == {"knn_top1", "knn_balanced_accuracy"} and 0.1 < row["knn_top1"] < 0.9


def test_images_without_a_label_do_not_count(measure):
    """Accuracy is that of the 32 images with a label alone."""
    row = measure(np.where(np.arange(64) < 32, np.arange(64) % 2, -1))
    assert 0.1 < row["knn_top1"] < 0.9 and row["knn_top1"] * 32 % 1 == 0


def test_one_class_or_features_that_are_not_finite_give_no_number(measure, capsys):
    for labels, factor in ((np.zeros(64), 1.0), (np.arange(64) % 2, np.nan)):
        row = measure(labels, factor)
        assert np.isnan(row["knn_top1"]) and "warning: step 3" in capsys.readouterr().err


@pytest.fixture(scope="module")
def unlabeled(config_file):
    """Function of a factor of the weights to the rows of a monitor that measures twice."""
    config, _ = from_tree(load_config_file(config_file)[0].to_dict())
    data = Data("images", image_size=8, eval_resize=8, augment_on="device", canvas=8)
    monitor_config = dataclasses.replace(config.monitor, num_images=24, views=3)
    experiment = Experiment.from_config(dataclasses.replace(config, data=data, monitor=monitor_config))
    state = experiment.jit_once(experiment.network.init)(jax.random.key(0))
    pixels = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), np.uint8)
    split, rows = _split(pixels, None, data), []
    run = types.SimpleNamespace(
        experiment=experiment,
        sampler=types.SimpleNamespace(epoch=lambda step: step / 10),
        writer=types.SimpleNamespace(write=lambda step, row: rows.append(row)),
    )
    hook = monitor.label_free(run, split)

    def measure(factor=1.0):
        rows.clear()
        params, stats = jax.tree.map(lambda x: x * factor, state)
        for _ in range(2):
            hook(3, TrainState(3, params, stats, {}), {})
        return list(rows)

    return measure


def test_without_labels_seven_metrics_are_measured_on_the_same_views_each_time(unlabeled):
    first, second = unlabeled()
    assert first == second and first["epoch"] == 0.3
    names = {"rankme", "lidar", "alpha_req", "alignment", "uniformity", "view_retrieval_top1"}
    assert first.keys() == names | {"epoch", "rankme_embedding"}
    assert 1 < first["rankme"] < 16 and 1 < first["rankme_embedding"] < 16 and -4.2 < first["uniformity"] < 0
    assert 0 < first["alignment"] < 2 and first["view_retrieval_top1"] * 24 == pytest.approx(
        round(first["view_retrieval_top1"] * 24)
    )


def test_representations_that_are_not_finite_have_no_metrics(unlabeled, capsys):
    rows = unlabeled(np.nan)
    assert all(row.keys() == {"epoch", "rankme"} and np.isnan(row["rankme"]) for row in rows)
    assert capsys.readouterr().err.count("warning: step 3") == 2


def test_a_saturated_run_stops_with_its_step_saved_and_is_not_trained_again():
    saved, stopped = [], []
    config = Config(train=Train(stop_when_saturated=True), monitor=Monitor(every_epochs=1.0))
    rows = [
        {"step": step, "epoch": step / 10, "view_retrieval_top1": 0.5, "alignment": 0.5}
        for step in (10, 20, 30, 40, 50)
    ]
    run = types.SimpleNamespace(
        experiment=types.SimpleNamespace(config=config),
        flat_config=records.flatten(dataclasses.asdict(config)),
        steps=lambda epochs: round(10 * epochs),
        num_steps=100,
        first_step=60,
        writer=types.SimpleNamespace(rows=rows),
        checkpoints=types.SimpleNamespace(save=saved.append),
    )
    assert not hooks.has_stopped(run)
    hook = preemption.with_stop_point(hooks.early_stop(run), saved.append, last_step=100)

    def step(state, batch):
        return state._replace(step=state.step + 1), {"loss": 0.0}

    def measure(done, state, metrics):
        stopped.append(done)
        if done % 10 == 0:
            rows.append({"step": done, "epoch": done / 10, "view_retrieval_top1": 0.5, "alignment": 0.5})

    state = TrainState(50, {}, {}, {})
    batches = types.SimpleNamespace(next=lambda running: None)
    final = loop.fit(step, state, batches, num_steps=100, hooks=[measure, hook])
    assert final.step == 60 and stopped[-1] == 60 and [state.step for state in saved] == [60]
    assert hooks.has_stopped(run)
    never = dataclasses.replace(config, train=Train())
    run.experiment.config = never
    assert not hooks.early_stop(run) and not hooks.has_stopped(run)
