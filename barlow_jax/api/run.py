"""Runs as objects: pretraining, opening and import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, Literal, NamedTuple

from barlow_jax.api import evaluating, writing
from barlow_jax.api.opened import FeatureSource, path_of, publish, read_config
from barlow_jax.config import overrides as overrides_lib
from barlow_jax.config.schema import Config
from barlow_jax.config.validation import Facts, validate
from barlow_jax.errors import UserError
from barlow_jax.experiment import adapting, encoders, importing, preflight, pretraining
from barlow_jax.experiment.callbacks import Callback
from barlow_jax.experiment.embedding import Features
from barlow_jax.io import dataframes, jsonl, log, paths
from barlow_jax.io.paths import Path, PathLike
from barlow_jax.training import preemption, verdict
from barlow_jax.workdir import saved_run


@dataclasses.dataclass(frozen=True, repr=False)
class Run:
    """A run in its workdir, or an encoder folder: `pretrain`, `open_run` and `import_weights` return it.

    Its methods are the functions of the same names, `run.knn()` is `knn(run)`.

    Attributes:
      workdir: folder of the run.
      config: config of the run, with the overrides of `open_run`.
    """

    workdir: Path
    config: Config

    knn, probe, finetune = evaluating.knn, evaluating.probe, evaluating.finetune
    transfer, evaluate, embed = evaluating.transfer, evaluating.evaluate, evaluating.embed
    export, report = writing.export, writing.report

    def features(
        self, split: str, *, feature_source: FeatureSource = "pretrained", checkpoint: str | int = "newest"
    ) -> Features:
        """Return the features of a split: `run.features("test").features` are `[N, H]`; see `embed`."""
        return evaluating.embed(self, split=split, feature_source=feature_source, checkpoint=checkpoint)

    @property
    def metrics(self) -> Any:
        """Metrics by step (docs/monitoring.md): a pandas.DataFrame, or a list of dicts without pandas."""
        by_step: dict[int, dict[str, Any]] = {}
        for row in jsonl.read(self.workdir / "metrics.jsonl")[0]:
            by_step.setdefault(row["step"], {}).update(row)
        return dataframes.make(list(by_step.values()))

    @property
    def status(self) -> dict[str, Any]:
        """Progress, health and cost of the run, as the command `status` returns them; safe while it runs."""
        return verdict.read_status(self.workdir)

    def __fspath__(self) -> str:
        return str(self.workdir)

    def __repr__(self) -> str:
        status = self.status
        progress = f", step {status['step']} of {status['num_steps']}" if "step" in status else ""
        return f"Run({str(self.workdir)!r}, {status['state'] or 'no status'}{progress})"


def open_run(workdir: PathLike, overrides: Mapping[str, Any] | None = None) -> Run:
    """Open a run, or an encoder folder (from `export` or `import_weights`), without reading its arrays.

        run = open_run("runs/digits", {"knn.k": [5, 20]})

    Args:
      workdir: its folder.
      overrides: config values by dotted key, for the evaluations of this object; the folder keeps its own.

    Returns:
      The run, or the encoder folder as one.

    Raises:
      UserError: the folder holds no run, or a key or value is wrong.
    """
    path = path_of(workdir)
    return Run(path, read_config(path).replace(overrides or {}))


def pretrain(
    config: Config | None = None,
    workdir: PathLike = "",
    *,
    callbacks: Sequence[Callback] = (),
    resume: Literal["auto", "never", "must"] = "auto",
    extend: bool = False,
) -> Run:
    """Pretrain an encoder without labels; resumes from the newest checkpoint of the workdir.

        run = pretrain(configs.digits(), workdir="runs/digits", callbacks=[lambda event: print(event)])

    Ctrl-C (in a notebook: interrupt) saves a checkpoint after the step under way and returns the run, which
    the same call resumes; a second Ctrl-C raises KeyboardInterrupt at once. SIGTERM saves and exits with 143.
    Both signals are handled only while this runs in the main thread; then their handlers are restored.

    Args:
      config: config of the run; None = that of the run in the workdir.
      workdir: folder for checkpoints, metrics and results; created if it is missing.
      callbacks: functions that are called with an `Event` after steps and evaluations, and at the end.
      resume: never refuses a workdir with a checkpoint, must refuses one without.
      extend: allow other images, epochs, batch size or optimizer settings than before.

    Returns:
      The run: complete, or stopped by a callback or Ctrl-C (`run.status["state"]`).

    Raises:
      UserError: config, data, workdir or callbacks are invalid.
      RunError: a callback failed, or too many steps in a row were not finite.
    """
    path = path_of(workdir)
    config = read_config(path) if config is None else preflight.build(dataclasses.asdict(config), path)[0]
    problems = saved_run.differences(path, config, extend=extend) + saved_run.resume_problems(path, resume)
    problems += [
        f"callbacks: {function!r} is no function." for function in callbacks if not callable(function)
    ]
    if problems:
        raise UserError.from_problems(problems)
    config = preflight.check(config, trains=True)
    try:
        with preemption.watch():
            results = pretraining.pretrain(
                config, path, extend=extend, callbacks=callbacks, defer_interrupt=True
            )
    except preemption.Preempted as error:
        log.info(str(error))
        raise SystemExit(preemption.EXIT_CODE) from None
    publish(path, results, "pretrain")
    return Run(path, config)


class Adaptation(NamedTuple):
    """Result of `adapt`."""

    encoder: Run  # encoder folder of the result
    adapted: bool  # whether the result is better than the original, or is the original
    # Best candidate: step, adapt_alpha, adapt_averaged, adapt_gain, adapt_gain_lower
    best: dict[str, Any] | None
    run: Run


def adapt(weights: PathLike, config: Config, workdir: PathLike) -> Adaptation:
    """Continue pretraining an encoder on the images of a config; keep the original if none is better.

        result = adapt("resnet50.safetensors", config_for_images("photos"), "runs/adapted")
        print(result.adapted, result.encoder.knn())

    The same call resumes an interrupted run. docs/adapting.md describes how encoders are compared.

    Args:
      weights: file of weights, encoder folder, run, or one of its checkpoints.
      config: config of the run; its encoder, and the pixels of its input, are replaced by those of `weights`.
      workdir: folder of the run; created if it is missing.

    Returns:
      Whether a candidate was adopted, the resulting encoder, the best candidate's gain, and the run.

    Raises:
      UserError: the encoder, the config, the data or the workdir are invalid.
      RunError: too many steps in a row were not finite.
    """
    path = path_of(workdir)
    weights = paths.text(weights)
    config = preflight.check(_adopt(config, encoders.describe(weights, "weights"), weights), trains=True)
    with preemption.watch():
        results = adapting.adapt(config, path)
    publish(path, results, "adapt")
    encoder = open_run(results["folder"])
    return Adaptation(encoder, results["adapted"], results["best"], Run(path, config))


def import_weights(
    path: PathLike,
    workdir: PathLike,
    config: Config,
    *,
    form: Literal["encoder", "start"] | None = None,
    projector: bool = True,
) -> Run:
    """Import released weights (torchvision, timm, official) as an encoder or as the start of a run.

        run = import_weights("resnet50.safetensors", "runs/imported", configs.imagenet())

    Args:
      path: .safetensors file; .pth, .pt or .pth.tar if torch is installed.
      workdir: new folder.
      config: config of the run; encoder and preprocessing are replaced by those that the file states.
      form: encoder, for evaluations and export; or start, a run at step 0, from which `pretrain` resumes.
        None = start if the file has a projector, else encoder.
      projector: whether the file's projector is used with form="start".

    Returns:
      The encoder folder or run.

    Raises:
      UserError: the file does not fit the config, or the workdir already holds a run.
    """
    source, folder = Path(paths.text(path)), path_of(workdir)
    config = _adopt(config, encoders.describe_weights(str(source)))
    if problems := validate(config, Facts()) or preflight.training_problems(config):
        raise UserError.from_problems(problems)
    results = importing.import_weights(config, source, folder, form=form, projector=projector)
    publish(folder, results, "import")
    return Run(folder, config)


def _adopt(config: Config, described: Mapping[str, Any], start: str | None = None) -> Config:
    """Return the config with what an encoder determines; with its path `start`, to continue its training."""
    tree = dataclasses.asdict(config)
    problems = encoders.adopt(tree, described, start)
    if start:
        tree["train"]["average_decay"] = tree["train"]["average_decay"] or encoders.AVERAGE_DECAY
    config, more = overrides_lib.from_tree(tree)
    if problems := [*problems, *more]:
        raise UserError.from_problems(problems)
    return config
