"""Loading of a trained encoder from a run, a checkpoint, an encoder folder, or a file of released weights."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from barlow_jax.checkpoints.restore import FOLDER, newest_step, open_checkpoints
from barlow_jax.config import records, values
from barlow_jax.config.method_facts import HEADS
from barlow_jax.config.schema import Config
from barlow_jax.distributed.mesh import Layout
from barlow_jax.errors import UserError
from barlow_jax.interop import weights
from barlow_jax.interop.layouts import Encoder
from barlow_jax.io import paths
from barlow_jax.io.paths import Path
from barlow_jax.workdir import saved_run, selection

_FORMS = (
    "Pass the workdir of a run, one of its checkpoints (<workdir>/checkpoints/<step>), an encoder folder, "
    f"or a file of weights ({', '.join(weights.SUFFIXES)})."
)
# Keys of `network` that are not the encoder's, and keys of `data` that describe its input.
_NOT_ENCODER = (*HEADS, "branches", "second_encoder", "text", "dtype", "remat")
_INPUT = ("channels", "pixel_dtype", "value_range", "image_size", "eval_resize", "eval_interpolation")
AVERAGE_DECAY = 0.99  # of the weights in continued pretraining


class EncoderState(NamedTuple):
    """Frozen encoder."""

    params: Any  # {"encoder": nested dict of float32 arrays}; None: pixels are the features
    batch_stats: Any
    step: int  # updates that it was trained for; -1 if a file does not contain the number


def checkpoint_path(path: Path, checkpoint: str, select_by: str) -> Path:
    """Return the path of a run's "newest" or "best" checkpoint, the latter by `select_by`, or of a step.

    Raises:
      UserError: the path holds a single encoder.
    """
    if checkpoint == "newest":
        return path
    workdir, step = split_step(path)
    if step is not None or not path.is_dir():
        raise UserError(
            f"--checkpoint={checkpoint}: {path} is a single encoder. Pass the workdir of a run, or omit "
            "--checkpoint"
        )
    if checkpoint == "best":
        return selection.best_checkpoint(workdir, select_by)
    return workdir / saved_run.CHECKPOINTS / checkpoint


def describe(path: str, flag: str = "--encoder") -> dict[str, Any]:
    """Return the config that an encoder comes with.

    That is all of it from a folder; from a file `network` and, if it is known, the `Preprocessing` of its
    images as `preprocessing`.

    Raises:
      UserError: the path holds no encoder.
    """
    source = Path(path)
    config = _file_config(source) if _is_file(source) else saved_run.saved_config(split_step(source)[0])
    if config is None:
        raise UserError(f"{flag}: {path} holds no encoder. {_FORMS}")
    return config


def start_settings(path: str, source: Mapping[str, Any]) -> dict[str, Any]:
    """Return by dotted key what the encoder at a path determines in the config of its continued pretraining.

    `source` is what `describe` returns.
    """
    settings = {f"network.{k}": v for k, v in source["network"].items() if not k.startswith(_NOT_ENCODER)}
    data = source.get("data") or (source["preprocessing"]._asdict() if "preprocessing" in source else {})
    settings |= {f"data.{key}": data[key] for key in _INPUT if key in data}
    return settings | {"adapt.weights": paths.absolute(path)}


def adopt(tree: dict[str, Any], source: Mapping[str, Any], start: str | None = None) -> list[str]:
    """Set what an encoder determines in the tree of a config; return the problems.

    `source` is what `describe` returns; `start` its path, if the config is that of its continued pretraining.
    """
    problems = []
    if start:
        settings = start_settings(start, source)
        problems = records.write(Config, tree, settings.items(), values.convert)
    else:
        tree["network"] |= {key: value for key, value in source["network"].items() if key not in HEADS}
    if "preprocessing" in source:
        source["preprocessing"].apply(tree)
    if "recipe" in source and not problems:  # images are interpolated and normalized as in pretraining
        tree["data"]["eval_interpolation"] = source["data"]["eval_interpolation"]
        for view in tree["recipe"]["views"].values():
            view["normalize"] = source["recipe"]["views"]["a"]["normalize"]
    return problems


def describe_weights(path: str) -> dict[str, Any]:
    """Like `describe`, but for --weights, which must be a file.

    Raises:
      UserError: the path is not a file of weights.
    """
    if not _is_file(Path(path)):
        raise UserError(f"--weights: needs a file ({', '.join(weights.SUFFIXES)}), got {path}")
    return _file_config(Path(path))


def check(path: Path, config: Config, saved: Mapping[str, Any]) -> None:
    """Check that an encoder has the architecture of the config; `saved` is what is known of its own config.

    Raises:
      UserError: a key differs.
    """
    keys = [("network", key) for key in ("encoder", "width", "stem", "position_grid")]
    for group, key in (*keys, ("data", "channels")):
        expected = getattr(getattr(config, group), key)
        value = saved.get(group, {}).get(key, expected)
        if value != expected:
            adapt = " The command import adapts a file of weights to other channels." * (group == "data")
            raise UserError(
                f"config.{group}.{key} is {expected}, but the encoder in {path} has {value}.{adapt}"
            )


def restore(path: Path, config: Config, abstract: tuple[Any, Any], layout: Layout) -> EncoderState:
    """Read an encoder onto the mesh, given the shapes of `(params, batch_stats)`.

    Raises:
      UserError: the encoder is missing, damaged, or of another architecture.
    """
    if _is_file(path):
        encoder = weights.read(path).encoder
        check_file(path, encoder, config)
        check(path, config, {"data": {"channels": encoder.channels}})
        trees = {"encoder": encoder.params}, {"encoder": encoder.batch_stats}
        return EncoderState(*(jax.device_put(tree, layout.state_shardings(tree)) for tree in trees), -1)
    run, step = split_step(path)
    check(path, config, saved_run.saved_config(run) or {})
    if newest_step(run) is None:
        raise UserError(
            f"{run} holds no checkpoint. Run `pretrain --workdir {run}` first, or pass --untrained."
        )
    with open_checkpoints(run, read_only=True) as checkpoints:
        if step is None:
            return EncoderState(*checkpoints.restore_newest_part(*abstract, layout))
        if step not in checkpoints.steps:
            steps = ", ".join(map(str, checkpoints.steps))
            raise UserError(f"{run} holds no checkpoint of step {step}. Choose one of {steps}.")
        params, batch_stats = abstract
        verdict = checkpoints.examine(step, {"params": params, "batch_stats": batch_stats}, part=True)
        if verdict.problems:
            raise UserError(
                f"{path} is damaged: {verdict.summary}. Pass another checkpoint, or {run} for its newest one."
            )
        return EncoderState(*checkpoints.restore_part(*abstract, layout, step), step)


def _file_config(path: Path) -> dict[str, Any]:
    read = weights.read(path)
    known = {"preprocessing": read.preprocessing} if read.preprocessing else {}
    return {"network": read.encoder.network_keys} | known


def check_file(path: Path, encoder: Encoder, config: Config) -> None:
    """Like `check`, for a file of weights, whose tensors may be those of several architectures.

    Raises:
      UserError: a key differs.
    """
    if len(encoder.names) > 1 and config.network.encoder not in encoder.names:
        options = " or ".join(f"--config.network.encoder={name}" for name in encoder.names)
        raise UserError(f"{path} may be any of {len(encoder.names)} encoders. Pass {options}")
    check(path, config, {"network": encoder.network_keys})


def _is_file(path: Path) -> bool:
    return path.suffix in weights.SUFFIXES and not path.is_dir()


def split_step(path: Path) -> tuple[Path, int | None]:
    """Split the path of a checkpoint into workdir and step; the step of any other path is None."""
    if path.parent.name == FOLDER and path.name.isdigit():
        return path.parent.parent, int(path.name)
    return path, None
