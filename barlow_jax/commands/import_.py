"""Import released weights (torchvision, timm, official) as an encoder or as the start of a run."""

import argparse
from collections.abc import Mapping
import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp

from barlow_jax import objectives
from barlow_jax.checkpoints.restore import open_checkpoints
from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config import overrides
from barlow_jax.config.schema import Config
from barlow_jax.distributed.mesh import describe_devices
from barlow_jax.errors import UserError
from barlow_jax.experiment import encoders
from barlow_jax.experiment.experiment import Experiment, run_info
from barlow_jax.interop import export_orbax, weights
from barlow_jax.interop.encoder import Trained
from barlow_jax.interop.projector_layout import Projector
from barlow_jax.interop.weights import Weights
from barlow_jax.io import checksums, files
from barlow_jax.training.step import init_target
from barlow_jax.types import TrainState
from barlow_jax.workdir import provenance, saved_run

COMMAND = Command(
    examples=("import --weights resnet50.pth --config configs/imagenet.py --workdir runs/imported",),
    checks="config",
    single_process=True,
    makes_objective=True,
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the file of weights, and what to make of it."""
    parser.add_argument(
        "--weights",
        type=flags.path,
        metavar="FILE",
        help="file in torchvision's layout, or the official full checkpoint: .safetensors; .pth, .pt or .pth.tar if "
        "torch is installed; required",
    )
    parser.add_argument(
        "--as",
        dest="form",
        choices=("encoder", "start"),
        help="encoder: an encoder for the evaluations and export; start: a run at step 0, from which pretrain "
        "resumes; default: start if the file has a projector, else encoder",
    )
    parser.add_argument(
        "--without-projector",
        action="store_true",
        help="with --as start: ignore the file's projector and initialize the config's",
    )


def check(args: argparse.Namespace, config: Config | None) -> list[str]:
    """Return whether the weights are missing."""
    return [] if args.weights else ["--weights: is missing; pass the file to import"]


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """`as`, `weights` and their `sha256`, `encoder` (keys of `config.network`), `projector` (widths; None where the
    file's is not taken), `fresh` (parts of the network that start anew), `ignored` (why each key of the file that was
    left out was), `step`, `parameters` (their number)."""
    _check_workdir(workdir)
    path = pathlib.Path(args.weights)
    found = weights.read(path)
    encoders.check(path, config.network, encoders.network_of(found.encoder))
    form = args.form or ("start" if found.projector else "encoder")
    ignored = dict(found.ignored)
    if found.projector and (form == "encoder" or args.without_projector):
        why = "--without-projector" if args.without_projector else "--as encoder"
        ignored["projector.*"] = why
        found = found._replace(projector=None)
    if form == "start":
        state = start(config, found)
        _save(config, state, workdir)
        params, fresh = state.params, [name for name in state.params if name not in _parts(found)]
    else:
        params, batch_stats = {"encoder": found.encoder.params}, {"encoder": found.encoder.batch_stats}
        export_orbax.write(Trained(config, params, batch_stats, step=0), workdir)
        fresh = []
    results = {
        "as": form,
        "weights": str(path),
        "sha256": checksums.sha256(path),
        "encoder": encoders.network_of(found.encoder),
        "projector": found.projector and list(found.projector.shape.projector),
        "fresh": fresh,
        "ignored": ignored,
        "step": 0,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
    }
    print(told(results, workdir), file=sys.stderr)
    return results


def start(config: Config, found: Weights) -> TrainState:
    """A run's state before its first step, with the file's arrays in their places; all else as `pretrain` makes it.

    A target network is a copy of the network, as in a run that starts anew. Of two branches (`network.branches=own`)
    the first one is the file's.

    Raises:
      UserError: the file's projector is not the config's; names the keys to set.
    """
    experiment = Experiment.of(config, jax.devices()[:1])
    sampler = experiment.sampler(config.train.batch_size)  # of any number of images, the state is the same
    state = experiment.init(sampler)(jax.random.key(config.seed))
    if found.projector:
        _check_projector(config, found.projector, state)
    parts = jax.device_put(_parts(found), experiment.layout.replicated)
    params = state.params | {name: part for name, (part, _) in parts.items()}
    batch_stats = state.batch_stats | {name: part for name, (_, part) in parts.items() if part}
    objective = objectives.make(config.objective, run_info(config))
    target = init_target(params, batch_stats, experiment.network, objective)
    return state._replace(params=params, batch_stats=batch_stats, target=target)


def told(results: Mapping[str, Any], workdir: pathlib.Path) -> str:
    """What came of it, in lines for a person."""
    encoder, projector = results["encoder"], results["projector"]
    lines = [
        f"{encoder['encoder']}, width {encoder['width']}, {encoder['stem']} stem"
        + (f"; projector {', '.join(map(str, projector))}" if projector else "")
    ]
    lines += [f"fresh, not of the file: {', '.join(results['fresh'])}"] if results["fresh"] else []
    reasons: dict[str, list[str]] = {}
    for key, why in results["ignored"].items():
        reasons.setdefault(why, []).append(key)
    for why, keys in reasons.items():
        lines.append(
            f"left out: {keys[0] if len(keys) == 1 else f'{keys[0]} to {keys[-1]}, {len(keys)} keys'} ({why})"
        )
    program = "pretrain" if results["as"] == "start" else "probe"
    return "\n".join([*lines, f"next: python -m barlow_jax {program} --workdir {workdir}"])


def _check_workdir(workdir: pathlib.Path) -> None:
    there = [name for name in saved_run.FILES if (workdir / name).is_file()]
    there += [saved_run.CHECKPOINTS] if saved_run.checkpoint_steps(workdir) else []
    if there:
        raise UserError(
            f"--workdir: {workdir} holds a run already (there is {there[0]}); use another workdir"
        )


def _parts(found: Weights) -> dict[str, tuple[Any, Any]]:
    """Parameters and running statistics by the names that they have in a state."""
    parts = {"encoder": found.encoder, "projector": found.projector}
    return {name: (part.params, part.batch_stats) for name, part in parts.items() if part}


def _check_projector(config: Config, projector: Projector, state: TrainState) -> None:
    ours = [tree.get("projector", {}) for tree in (state.params, state.batch_stats)]
    theirs = [projector.params, projector.batch_stats]
    if jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, theirs):
        return
    settings = {key: v for key, v in projector.shape._asdict().items() if getattr(config.network, key) != v}
    if widths := settings.get("projector"):
        settings["projector"] = ",".join(map(str, widths))
    flags = " ".join(f"--config.network.{key}={str(value).lower()}" for key, value in settings.items())
    raise UserError(
        f"the file's projector is not that of this config's network: pass {flags}, or --without-projector, and the "
        "config's starts fresh"
    )


def _save(config: Config, state: TrainState, workdir: pathlib.Path) -> None:
    """As the checkpoint of step 0; `config.json`, which makes a run of it, comes last."""
    provenance.record(workdir, sys.argv[1:], describe_devices())
    with open_checkpoints(workdir) as checkpoints:
        checkpoints.save(state)
    files.write_json(workdir / "config.json", overrides.to_config_dict(config).to_dict())
