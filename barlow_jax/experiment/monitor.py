"""Measurements of the encoder during training: metrics without labels, and k-NN accuracy; and the verdict."""

from collections.abc import Callable
import functools
from functools import partial
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from barlow_jax.data import splits
from barlow_jax.distributed import exchange
from barlow_jax.evals import features
from barlow_jax.evals.evaluation_data import EvaluationData
from barlow_jax.evals.knn import knn_accuracy
from barlow_jax.evals.label_free import label_free_metrics
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.experiment.fixed_views import FIRST_VIEW, FrozenNetwork, monitor_views
from barlow_jax.experiment.run import Run
from barlow_jax.io import log
from barlow_jax.training import diagnostics, preemption, verdict
from barlow_jax.training.loop import Hook
from barlow_jax.types import FeatureTable, Metrics, TrainState
from barlow_jax.workdir import selection


def label_free(run: Run, source: splits.Split) -> Hook:
    """Return a hook that measures `label_free_metrics` on fixed views of images of a split."""
    network = FrozenNetwork(run.experiment, preemption.with_stop_points)
    views = functools.cache(lambda: monitor_views(run.experiment, source))

    def measure(state: TrainState) -> dict[str, float]:
        encode = partial(network.outputs, *state.evaluated(), FIRST_VIEW)
        outputs = [encode(rows) for rows in views().values()]
        representations, embeddings = (jnp.stack(parts, axis=1) for parts in zip(*outputs, strict=True))
        metrics = label_free_metrics(representations, embeddings[:, 0] if embeddings.size else None)
        return {name: float(value) for name, value in metrics.items()}

    def hook(done: int, state: TrainState, metrics: Metrics) -> None:
        epoch = {"epoch": run.sampler.epoch(done)}
        try:
            values = measure(state)
        except features.NotMeasurableError as error:
            log.warning(f"step {done}: no metrics of the representation: {error}")
            run.writer.write(done, epoch | {"rankme": math.nan})
            return
        run.writer.write(done, epoch | values)
        names = {"rankme": "RankMe", "lidar": "LiDAR", "alpha_req": "alpha", "alignment": "alignment"}
        shown = [
            f"{label} {values[name]:.3g}" for name, label in names.items() if math.isfinite(values[name])
        ]
        log.info(f"step {done}  {', '.join(shown)}, views found {values['view_retrieval_top1']:.1%}")

    return hook


def labeled_tables(
    experiment: Experiment, data: EvaluationData
) -> Callable[[Any, Any], tuple[FeatureTable, FeatureTable]]:
    """Return the function from an encoder's trees to its features of a fixed subset of both splits."""
    encoder, limit = experiment.jitted_encoder(), experiment.config.monitor.max_images

    def table(source: splits.Split, *trees: Any) -> FeatureTable:
        subset = np.random.default_rng(0).permutation(source.num_examples)[:limit]
        batches = experiment.eval_batches(source, np.sort(subset))
        encode = partial(encoder, *trees)
        return features.extract(encode, preemption.with_stop_points(batches), experiment.layout).labeled()

    def tables(*trees: Any) -> tuple[FeatureTable, FeatureTable]:
        train, test = table(data.train, *trees), table(data.test, *trees)
        data.check_classes(train.labels, test.labels)
        return train, test._replace(own=data.own_rows(train.index, test.index))

    return tables


def knn(run: Run, data: EvaluationData) -> Hook:
    """Return a hook that measures k-NN accuracy on a fixed subset of both splits."""
    config, tables = run.experiment.config.monitor, labeled_tables(run.experiment, data)

    def hook(done: int, state: TrainState, metrics: Metrics) -> None:
        try:
            train, test = tables(*state.encoder())
        except features.NotMeasurableError as error:
            log.warning(f"step {done}: no k-NN accuracy: {error}")
            run.writer.write(done, {"knn_top1": math.nan})
            return
        values = knn_accuracy(train, test, ks=(config.k,))[config.k]
        run.writer.write(done, {f"knn_{name}": value for name, value in values.items()})
        # Equal unless the classes are imbalanced.
        top1, balanced = values["top1"], values["balanced_accuracy"]
        more = f", balanced {balanced:.2%}" if abs(balanced - top1) > 0.005 else ""
        log.info(f"step {done}  k-NN (k {config.k}) top-1 {top1:.2%}{more}")

    return hook


def judge(run: Run) -> Hook:
    """Return a hook that logs the verdict on the run when it changes, as a warning if something is wrong."""
    last = "unknown"

    def hook(done: int, state: TrainState, metrics: Metrics) -> None:
        nonlocal last
        found = _verdict(run)
        # Training warns of a collapse itself, and is expected to improve until it ends.
        expected = (*diagnostics.NAMES, "unknown", *(["undertrained"] if done < run.num_steps else []))
        if found.state not in (last, *expected):
            (log.warning if found.is_problem else log.info)(f"step {done}  {found.text}")
        last = found.state

    return hook


def is_saturated(run: Run) -> bool:
    """Return whether the run is saturated, on all processes what process 0 finds."""
    saturated = bool(exchange.call_on_first(lambda: int(_verdict(run).state == "saturated")))
    if saturated:
        log.info("the run is saturated, and config.train.stop_when_saturated ends it")
    return saturated


def _verdict(run: Run) -> verdict.Verdict:
    return verdict.judge(run.writer.rows, run.flat_config)


def best_step(run: Run, done: int) -> int | None:
    """Return the best of the checkpoints and of step `done`; None if none was measured."""
    select_by = run.experiment.config.monitor.select_by

    def choose() -> int:
        best = selection.best_step(run.writer.rows, select_by, [*run.checkpoints.steps, done])
        return -1 if best is None else best

    best = exchange.call_on_first(choose)
    return None if best < 0 else best
