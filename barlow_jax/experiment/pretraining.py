"""Pretraining of an encoder without labels; resumes from the newest checkpoint of the workdir."""

from collections.abc import Callable, Mapping, Sequence
import contextlib
import dataclasses
import json
import time
from typing import Any

import jax
import numpy as np

from barlow_jax.checkpoints import verify
from barlow_jax.checkpoints.restore import FOLDER, newest_step
from barlow_jax.config.method_facts import method_facts
from barlow_jax.config.schema import Config
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler
from barlow_jax.errors import UserError
from barlow_jax.evals.evaluation_data import EvaluationData
from barlow_jax.experiment import callbacks as user_callbacks, evaluations, hooks
from barlow_jax.experiment.callbacks import Callback
from barlow_jax.experiment.evaluations import settings
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.experiment.hooks import Progress
from barlow_jax.experiment.run import Run, RunData, open_data, open_run
from barlow_jax.experiment.skipping import SkipWatch
from barlow_jax.io import files, log
from barlow_jax.io.paths import Path
from barlow_jax.papers.scores import data_identity
from barlow_jax.training import preemption
from barlow_jax.training.loop import every, fit
from barlow_jax.training.step import StepParts
from barlow_jax.types import TrainState
from barlow_jax.workdir import provenance, saved_run, segments, selection

# Metrics whose newest values are part of the results.
_RESULT_METRICS = ("loss", "skipped_steps", "knn_top1", "knn_balanced_accuracy", *selection.LABEL_FREE)


def pretrain(
    config: Config,
    workdir: Path,
    *,
    extend: bool = False,
    callbacks: Sequence[Callback] = (),
    defer_interrupt: bool = False,
) -> dict[str, Any]:
    """Train until the schedule's last step, and return the results; a run in the workdir resumes.

    With `extend`, that run may have other images, another length, batch size or learning rate. With
    `defer_interrupt`, a first Ctrl-C between steps saves a checkpoint and ends the run.

    Raises:
      UserError: the workdir or the labels do not fit the config.
      RunError: too many steps in a row were not finite, or a callback failed.
    """
    started = time.monotonic()
    _check_workdir(workdir)
    if problems := saved_run.differences(workdir, config, extend=extend):
        raise UserError.from_problems(problems)
    experiment = Experiment.from_config(config)
    data = open_data(config, workdir, extend=extend)
    source = data.train
    evaluated = _check_labels(config, source, data.test)
    data_record = _data_record(config, source, evaluated)
    segment = segments.current(workdir, config, source.num_examples, data.changes)
    sampler = experiment.sampler(source.num_examples, segment)
    _check_length(experiment, sampler, workdir)
    _log_extension(experiment, sampler, saved_run.changes(workdir, config) | data.changes)
    parts = experiment.step_parts(sampler)
    with (
        open_run(experiment, data, sampler, workdir) as (run, state),
        preemption.deferred_interrupt(defer_interrupt) as interrupted,
    ):
        state = _train(run, state, parts, data, evaluated, callbacks, interrupted)
        last_step = int(state.step)
        user_callbacks.notify(run, callbacks, "end", last_step, state)
    return {
        "step": last_step,
        "first_step": run.first_step,
        "epochs": sampler.epoch(last_step),
        "seconds": round(time.monotonic() - started, 1),
        "decode_failures": source.decode_failures.count_before(last_step),
        **{name: run.writer.latest[name] for name in _RESULT_METRICS if name in run.writer.latest},
        "data": data_record,
        "settings": settings(config, ["monitor"] if config.monitor.every_epochs else []),
    } | provenance.stamp()


def _train(
    run: Run,
    state: TrainState,
    parts: StepParts,
    data: RunData,
    evaluated: EvaluationData | None,
    callbacks: Sequence[Callback],
    interrupted: Callable[[], bool],
) -> TrainState:
    """Run the steps that are left, with their hooks; return the last state."""
    with contextlib.closing(Progress(run)) as progress:
        evaluations, skip_watch = hooks.evaluations(run, evaluated, data), SkipWatch(run, state)
        hooks.run_missed_evaluations(run, evaluations, state)
        # DO NOT CHANGE THE ORDER. A checkpoint of a step implies that the metrics rows of that step exist.
        after_step = [
            # May stop the run: the workdir is another run's.
            lambda *_: run.check_lock(),
            # May stop the run: then this step is neither logged nor saved.
            skip_watch,
            # Goodput counts from here, so before the first row.
            hooks.end_of_compilation(run),
            # Before an evaluation: a preemption in it saves this step.
            every(run.experiment.config.train.log_every_steps, progress, last=run.num_steps),
            # Before the save: if the process is killed during an evaluation, the resumed run repeats it.
            *evaluations.values(),
            *hooks.judgment(run),
            hooks.save_checkpoint(run),
            # After the save: one that fails leaves the checkpoint of its step.
            *user_callbacks.hooks(run, callbacks),
            *hooks.early_stop(run),
            user_callbacks.interruption(run, interrupted),
        ]
        # The stop point comes last: all processes stop after the same step, with everything above done.
        hook = preemption.with_stop_point(after_step, run.checkpoints.save, last_step=run.num_steps)
        num_steps = run.first_step if hooks.has_stopped(run) else run.num_steps
        if run.first_step < num_steps:
            log.info("compiling the train step")
        step = run.experiment.train_step(state, parts, run.sampler, run.first_step)
        return fit(skip_watch.note_examples(step), state, run.prefetcher, num_steps=num_steps, hooks=[hook])


def _check_workdir(workdir: Path) -> None:
    step = newest_step(workdir)
    if step is not None and verify.is_encoder_only(workdir / FOLDER / str(step)):
        raise UserError(
            f"{workdir} holds only an encoder, but a run resumes from a complete state. Use another workdir. "
            "To start from these weights, `export --format torchvision` them and `import --as start` that "
            "file."
        )


def _check_length(experiment: Experiment, sampler: EpochSampler, workdir: Path) -> None:
    step, num_steps = newest_step(workdir), experiment.num_steps(sampler)
    if step is not None and step > num_steps:
        train = experiment.config.train
        raise UserError(
            f"{workdir} has a checkpoint of step {step}, but the run ends at step {num_steps} with "
            f"config.train.max_steps = {train.max_steps} and config.train.num_epochs = {train.num_epochs:g}. "
            f"Use max_steps of {step} or more, more epochs, or another workdir."
        )


def _log_extension(experiment: Experiment, sampler: EpochSampler, changes: Mapping[str, list[Any]]) -> None:
    """Log what changes at the step at which a new segment begins, if one does."""
    step = sampler.segment.step
    if not changes:
        return
    num_steps = experiment.num_steps(sampler)
    log.info(f"extending the run from step {step}, epoch {sampler.epoch(step):g}, to step {num_steps}:")
    for key, (old, new) in changes.items():
        log.info(f"  {key}: {old} -> {new}")
    for name, rate in experiment.learning_rates(sampler).items():
        log.info(
            f"  learning rate of {name}: {rate(step):.3g} at step {step}, {rate(num_steps):.3g} at the end"
        )


def _check_labels(config: Config, source: splits.Split, test: splits.Split | None) -> EvaluationData | None:
    """Check before the step compiles that the data have the labels that the config needs.

    Returns:
      The data of the k-NN evaluation during training; None without that.
    """
    name, num_classes, evaluated = config.data.name, source.num_classes, None
    if test is not None:
        evaluated = EvaluationData(config.data, source, test)
        if problem := evaluated.label_problem():
            log.info(f"no k-NN accuracy during training: {problem.partition('. ')[0]}")
            evaluated = None
    labels = "multi-label annotations" if source.multi_label else f"{num_classes or 'no'} classes"
    classes = config.network.num_classes
    if not classes or method_facts(config.objective.name).own_classes:
        return evaluated
    if source.multi_label or num_classes != classes:
        raise UserError(f"config.network.num_classes is {classes}, but {name} has {labels}.")
    if name == "images" and (missing := int(np.sum(source.read_labels() < 0))):
        raise UserError(
            f"config.network.num_classes is {classes}, but {missing} images of {name} have no label."
        )
    return evaluated


def _data_record(config: Config, source: splits.Split, evaluated: EvaluationData | None) -> dict[str, Any]:
    """Return the entry "data" of the results."""
    record = {
        **data_identity(dataclasses.asdict(config.data)),
        "train_images": source.num_examples,
        "num_classes": source.num_classes,
    }
    if evaluated:
        indices = (np.arange(split.num_examples) for split in (source, evaluated.test))
        record["eval_images"] = evaluated.test.num_examples
        record["shared_images"] = evaluated.count_shared(evaluated.own_rows(*indices))
    return record


def train_and_evaluate(
    config: Config, workdir: Path, name: str, evaluate: Callable[[Experiment, Path], dict[str, Any]]
) -> dict[str, Any]:
    """Return the results of a run; train and evaluate it first as far as that has not been done.

    `WORKDIR/results/NAME.json` caches the results, NAME being that of the command.

    Raises:
      UserError: the workdir holds a run with another config.
    """
    check_config(config, workdir)

    def compute() -> dict[str, Any]:
        trained = pretrain(config, workdir)
        return {"loss": trained.get("loss"), **evaluate(Experiment.from_config(config), workdir)}

    return cached(workdir, name, compute, config)


def check_config(config: Config, workdir: Path) -> None:
    """Raise UserError if the workdir holds a run with another config."""
    if problems := saved_run.differences(workdir, config):
        raise UserError(problems[0])


def cached(workdir: Path, name: str, compute: Callable[[], dict[str, Any]], config: Config) -> dict[str, Any]:
    """Read `WORKDIR/results/NAME.json`; compute and write it if it is missing, or has other data or settings.

    `compute` returns the results, with the entries "data" and "settings".
    """
    path = workdir / "results" / f"{name}.json"
    if path.is_file():
        results = files.read_json(path)
        commands = [key for key in ("probe", "knn") if key in results.get("settings", {})]
        current = json.loads(json.dumps(evaluations.settings(config, commands)))
        images = data_identity(dataclasses.asdict(config.data))
        if results.get("settings") == current and data_identity(results["data"]) == images:
            return results
        log.info(f"{path} is of other data or settings: evaluating again")
    results = compute()
    if jax.process_index() == 0:
        files.write_json(path, results)
    return results
