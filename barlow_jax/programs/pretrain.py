"""Pretrains an encoder without labels; goes on where the workdir's newest checkpoint is."""

import argparse
from collections.abc import Callable
import contextlib
from functools import partial
import pathlib
import sys
import time
from typing import Any

import jax
import numpy as np
import tqdm

from barlow_jax import compiled, configdict, files, lock, optim, preemption, processes, resident
from barlow_jax.checkpoint import abstract_state, open_checkpoints
from barlow_jax.collapse import Collapse
from barlow_jax.config import Config
from barlow_jax.data import splits
from barlow_jax.errors import UserError
from barlow_jax.evals import features
from barlow_jax.evals.knn import knn_accuracy
from barlow_jax.feed import Feed
from barlow_jax.loop import Hook, every, fit
from barlow_jax.metrics import MetricsWriter, Progress
from barlow_jax.order import Order
from barlow_jax.programs.experiment import Experiment
from barlow_jax.skipping import SkipWatch
from barlow_jax.status import Status
from barlow_jax.step import compile_step
from barlow_jax.types import FeatureTable, Metrics, TrainState

# Of the last rows of the metrics, in the results.
_TOLD = ("loss", "skipped_steps", "knn_top1")


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    del args
    started = time.monotonic()
    experiment = Experiment.of(config)
    source = splits.open_split(config.data, config.data.train_split)
    _check_labels(config, source)
    order = experiment.order(source.num_examples)
    num_steps = experiment.num_steps(order)
    keep = config.checkpoint
    keep_every_steps = _steps(order, keep.keep_every_epochs) if keep.keep_every_epochs else None

    with preemption.run(), contextlib.ExitStack() as stack:
        processes.from_first(lambda: stack.enter_context(lock.held(workdir)) or 0)
        if jax.process_index() == 0:
            files.sweep(workdir)
            files.sweep(workdir / "results", "pretrain.json")
            files.write_json(workdir / "config.json", configdict.to_config_dict(config).to_dict())
        keep_compiled = stack.enter_context(compiled.kept(config.train.compilation_cache))
        status = stack.enter_context(_status(experiment, workdir, order))
        checkpoints = stack.enter_context(
            open_checkpoints(workdir, keep_newest=keep.keep_newest, keep_every_steps=keep_every_steps)
        )
        state, first_step = _start(experiment, order, checkpoints)
        status.begin(first_step)
        feed = _feed(experiment, source, order, first_step, num_steps)
        stack.callback(feed.close)
        writer = MetricsWriter(workdir, first_step=first_step)
        stack.callback(writer.close)
        progress = _progress(experiment, order, writer, feed, first_step, source)
        stack.callback(progress.close)
        hooks = [
            _once(status.first_step_done),
            _once(keep_compiled),
            every(config.train.log_every_steps, progress, last=num_steps),
        ]
        log = every(
            config.train.log_every_steps, lambda done, *_: status.log(done, writer.latest), last=num_steps
        )
        hooks += [log, every(config.train.log_every_steps, lambda *_: checkpoints.look())]
        if config.monitor.every_epochs:
            monitor = _monitor(experiment, source, writer)
            monitor = _apart(status, "evaluating", monitor)
            watch = every(_steps(order, config.monitor.every_epochs), monitor, last=num_steps)
            hooks.append(watch)
            # Who was stopped in the midst of it has saved the step, and owes the row.
            if first_step and processes.from_first(lambda: "knn_top1" not in writer.there):
                preemption.saving([watch], checkpoints.save, last=num_steps)(first_step, state, {})
        save_every = _steps(order, config.checkpoint.every_epochs)
        save = _apart(status, "saving", lambda done, state, metrics: checkpoints.save(state))
        hooks.append(every(save_every, save, last=num_steps))
        skips = SkipWatch(
            workdir / "results" / "skipped.json",
            max_in_a_row=config.train.max_skipped,
            start=(first_step, first_step - int(optim.num_updates(state.opt_state))),
            num_steps=num_steps,
            gather=experiment.layout.replicate,
            save=checkpoints.save,
            newest=lambda: max(checkpoints.steps, default=-1),
        )
        step = compile_step(experiment.layout, state, **experiment.step_parts(order))
        hook = preemption.saving([skips, *hooks], checkpoints.save, last=num_steps)
        fit(skips.watched(step), state, feed, num_steps=num_steps, hooks=[hook])
    return {
        "step": num_steps,
        "first_step": first_step,
        "epochs": num_steps / order.steps_per_epoch,
        "seconds": round(time.monotonic() - started, 1),
        "broken_images": source.broken.met_before(num_steps),
        **{name: writer.latest[name] for name in _TOLD if name in writer.latest},
    }


def _status(experiment: Experiment, workdir: pathlib.Path, order: Order) -> Status:
    return Status(
        workdir,
        num_steps=experiment.num_steps(order),
        steps_per_epoch=order.steps_per_epoch,
        active=jax.process_index() == 0,
    )


def _once(told: Callable[[], None]) -> Hook:
    """A hook that tells when the first step is done."""
    first = [True]

    def hook(done: int, state: TrainState, metrics: Metrics) -> None:
        if first:
            first.clear()
            jax.block_until_ready(metrics)
            told()

    return hook


def _apart(status: Status, what: str, hook: Hook) -> Hook:
    """The hook, its time not counted as that of steps."""

    def apart(done: int, state: TrainState, metrics: Metrics) -> None:
        jax.block_until_ready(metrics)  # the step under way is none of its time
        with status.during(what, done):
            hook(done, state, metrics)

    return apart


def _check_labels(config: Config, source: splits.Split) -> None:
    """What needs labels is refused where they are of another kind, before a step is compiled."""
    if source.several_labels and config.monitor.every_epochs:
        raise UserError(
            f"{config.data.name} has several labels an image, and the k-NN that watches the run needs one: "
            "set --config.monitor.every_epochs=0"
        )
    classes = config.network.num_classes
    if classes and (source.several_labels or source.num_classes != classes):
        there = (
            "several labels an image" if source.several_labels else f"{source.num_classes or 'no'} classes"
        )
        raise UserError(f"config.network.num_classes: {config.data.name} has {there}, not {classes} classes")


def describe(config: Config, num_images: int | None) -> dict[str, Any]:
    """The plan of the run, from shapes alone: what `--dry_run` prints."""
    experiment = Experiment.of(config)
    order = experiment.order(num_images or config.train.batch_size)
    params = abstract_state(experiment.init(order)).params
    rates = optim.learning_rates(config, order.steps_per_epoch)
    plan = {
        "images": num_images if num_images else "known once the data set is prepared",
        "steps_per_epoch": order.steps_per_epoch,
        "steps": experiment.num_steps(order),
        "batch_size": order.batch_size,
        "devices": jax.device_count(),
        "batch_size_per_device": order.batch_size // jax.device_count(),
        "microbatches": config.train.microbatches,
        "projector": experiment.layout.projector,
        "peak_learning_rates": {
            name: float(rate(round(config.optim.warmup_epochs * order.steps_per_epoch)))
            for name, rate in rates.items()
        },
        "parameters": {name: sum(p.size for p in jax.tree.leaves(part)) for name, part in params.items()},
    }
    return {"plan": plan, "params": params}


def _steps(order: Order, epochs: float) -> int:
    return max(1, round(epochs * order.steps_per_epoch))


def _start(experiment: Experiment, order: Order, checkpoints) -> tuple[TrainState, int]:
    """The newest good checkpoint's state, or a fresh one where there is no checkpoint."""
    init = experiment.init(order)
    if not checkpoints.steps:
        return init(jax.random.key(experiment.config.seed)), 0
    state, step = checkpoints.restore_newest(abstract_state(init), experiment.layout)
    print(f"going on from the checkpoint of step {step}", file=sys.stderr)
    return state, step


def _feed(
    experiment: Experiment, source: splits.Split, order: Order, first_step: int, num_steps: int
) -> Feed:
    """The batches of the steps, from the host or from the devices' own memory: the same bits."""
    data, layout = experiment.config.data, experiment.layout
    window = {"first_step": first_step, "num_steps": num_steps, "share": experiment.share}
    if data.cache != "decoded":
        return Feed(source.train_batches(data, experiment.config.recipe.views, order, **window), layout.place)
    resident.refuse_too_large(source.num_examples, data.canvas)
    there = resident.Resident(source.decoded(data), layout)

    def met(index: int, step: int) -> None:  # named and checked against max_broken when it was decoded
        source.broken.add(index, "cannot be decoded", step=step, most=None)

    return Feed(there.rows(order, **window, broken=met), there.take)


def _progress(
    experiment: Experiment,
    order: Order,
    writer: MetricsWriter,
    feed: Feed,
    first_step: int,
    source: splits.Split,
) -> Progress:
    rates = optim.learning_rates(experiment.config, order.steps_per_epoch)
    return Progress(
        writer,
        first_step=first_step,
        num_steps=experiment.num_steps(order),
        batch_size=order.batch_size,
        steps_per_epoch=order.steps_per_epoch,
        waited=lambda: feed.waited,
        rates=lambda step: {f"learning_rate_{name}": float(rate(step)) for name, rate in rates.items()},
        broken=source.broken.met_before,
        signs=Collapse(experiment.config, order.steps_per_epoch),
    )


def _monitor(experiment: Experiment, train: splits.Split, writer: MetricsWriter) -> Hook:
    """k-NN accuracy of the encoder as it is, on fixed images of both splits."""
    config = experiment.config.monitor
    test = splits.open_split(experiment.config.data, experiment.config.data.eval_split)
    encoder = experiment.jitted_encoder()

    def table(source: splits.Split, state: TrainState) -> FeatureTable:
        chosen = np.random.default_rng(0).permutation(source.num_examples)[: config.max_images]
        batches = experiment.eval_batches(source, np.sort(chosen))
        params, stats = ({"encoder": tree["encoder"]} for tree in (state.params, state.batch_stats))
        return features.extract(
            partial(encoder, params, stats), preemption.heeded(batches), experiment.layout
        )

    def monitor(done: int, state: TrainState, metrics: Metrics) -> None:
        del metrics
        accuracy = knn_accuracy(table(train, state), table(test, state), ks=(config.k,))[config.k]
        writer.write(done, {"knn_top1": accuracy})
        if jax.process_index() == 0:
            tqdm.tqdm.write(f"step {done}  k-NN (k {config.k}) top-1 {accuracy:.2%}", file=sys.stderr)

    return monitor
