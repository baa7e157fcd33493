"""Where a trained encoder comes from: a run's workdir, one of its checkpoints, an encoder folder, or released weights."""

import argparse
from collections.abc import Mapping
import pathlib
from typing import Any, NamedTuple

import jax

from barlow_jax.checkpoints.restore import FOLDER, newest_step, open_checkpoints
from barlow_jax.config import schema as config_lib
from barlow_jax.distributed.mesh import Layout
from barlow_jax.errors import UserError
from barlow_jax.interop import torchvision_layout, weights
from barlow_jax.workdir import saved_run

_FORMS = (
    "pass the workdir of a run, one of its checkpoints (<workdir>/checkpoints/<step>), an encoder folder, or a file "
    f"in torchvision's layout ({', '.join(weights.SUFFIXES)})"
)


class EncoderState(NamedTuple):
    """An encoder at rest."""

    params: Any  # {"encoder": nested dict of float32 arrays}
    batch_stats: Any
    step: int  # updates that it has seen; -1 where the file does not say


def place(workdir: pathlib.Path, args: argparse.Namespace) -> pathlib.Path:
    """Where the encoder is: --encoder, else the workdir."""
    return pathlib.Path(args.encoder) if args.encoder else workdir


def describe(path: str, flag: str = "--encoder") -> dict[str, Any]:
    """The config that an encoder brings with it, whole from a folder, `network` alone from a file.

    Raises:
      UserError: there is no encoder.
    """
    where = pathlib.Path(path)
    brought = _of_file(where) if _is_file(where) else saved_run.saved_config(run_and_step(where)[0])
    if brought is None:
        raise UserError(f"{flag}: {path} holds no encoder; {_FORMS}")
    return brought


def describe_weights(path: str) -> dict[str, Any]:
    """As `describe`, of --weights: of a file alone.

    Raises:
      UserError: it is none.
    """
    if not _is_file(pathlib.Path(path)):
        raise UserError(f"--weights: needs a file ({', '.join(weights.SUFFIXES)}), got {path}")
    return _of_file(pathlib.Path(path))


def check(where: pathlib.Path, network: config_lib.Network, theirs: Mapping[str, Any]) -> None:
    """Whether the encoder at `where`, which keys of `config.network` describe, is that of the network.

    Raises:
      UserError: it is not; names the key.
    """
    for key in ("encoder", "width", "stem"):
        ours = getattr(network, key)
        if theirs.get(key, ours) != ours:
            raise UserError(f"{where}: config.network.{key} is {ours}, and the encoder's is {theirs[key]}")


def restore(
    where: pathlib.Path, network: config_lib.Network, abstract: tuple[Any, Any], layout: Layout
) -> EncoderState:
    """Reads the encoder of a network, of the given shapes, `(params, batch_stats)`, onto the mesh."""
    found = weights.read(where).encoder if _is_file(where) else None
    run, step = run_and_step(where)
    check(
        where, network, network_of(found) if found else (saved_run.saved_config(run) or {}).get("network", {})
    )
    if found:
        trees = {"encoder": found.params}, {"encoder": found.batch_stats}
        return EncoderState(*(jax.device_put(tree, layout.state_shardings(tree)) for tree in trees), -1)
    if newest_step(run) is None:
        raise UserError(
            f"{run} holds no checkpoint; run `pretrain --workdir {run}` first, or pass --untrained"
        )
    with open_checkpoints(run, read_only=True) as checkpoints:
        if step is None:
            return EncoderState(*checkpoints.restore_newest_part(*abstract, layout))
        if step not in checkpoints.steps:
            raise UserError(
                f"{run} holds no checkpoint of step {step}; it has {', '.join(map(str, checkpoints.steps))}"
            )
        params, batch_stats = abstract
        verdict = checkpoints.examine(step, {"params": params, "batch_stats": batch_stats}, part=True)
        if verdict.problems:
            raise UserError(
                f"{where} is damaged: {verdict.summary}; pass another checkpoint, or {run} for its newest"
            )
        return EncoderState(*checkpoints.restore_part(*abstract, layout, step), step)


def _of_file(where: pathlib.Path) -> dict[str, Any]:
    return {"network": network_of(weights.read(where).encoder)}


def network_of(found: torchvision_layout.Encoder) -> dict[str, Any]:
    """The keys of `config.network` that a file tells."""
    return {"encoder": found.name, "width": found.width, "stem": found.stem}


def _is_file(where: pathlib.Path) -> bool:
    return where.suffix in weights.SUFFIXES and not where.is_dir()


def run_and_step(where: pathlib.Path) -> tuple[pathlib.Path, int | None]:
    """The workdir, and the step where a checkpoint of it is named."""
    if where.parent.name == FOLDER and where.name.isdigit():
        return where.parent.parent, int(where.name)
    return where, None
