"""Write the encoder of a run in the format of another tool: orbax, torchvision, timm, jax, savedmodel, onnx."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import pathlib
from typing import TYPE_CHECKING, Any

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config, Mesh
from barlow_jax.errors import UserError
from barlow_jax.io import files, log
from barlow_jax.papers.scores import PRETRAINED
from barlow_jax.workdir import provenance, saved_run, selection

if TYPE_CHECKING:
    from barlow_jax.interop.encoder import TrainedEncoder

# Module of `interop` by the name of the format. Its `write(trained, out)` fills an empty folder and returns
# entries for the results; `load` holds lines of code that load the export, with {out} for the folder's path.
FORMATS = {
    "orbax": "export_orbax",
    "torchvision": "export_torchvision",
    "timm": "export_timm",
    "jax": "export_stablehlo",
    "savedmodel": "export_savedmodel",
    "onnx": "export_onnx",
}
COMMAND = Command(
    examples=(
        "export --workdir runs/digits --format torchvision --out exported",
        "export --encoder resnet50.safetensors --format jax --out exported",
    ),
    checks="config",
    workdir="optional",
    single_process=True,
    encoder=True,
    variants=("format",),
    default_config=lambda args: args.encoder and not args.workdir,
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the format, the folder to write, the checkpoint and the license."""
    parser.add_argument("--format", choices=tuple(FORMATS), help="format of the files; required")
    parser.add_argument(
        "--out", type=flags.path, metavar="DIR", help="folder to write, new or empty; required"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="STEP",
        default="newest",
        help="newest: the newest intact checkpoint; best: the best one by config.monitor.select_by in "
        "metrics.jsonl; or a step; default: %(default)s",
    )
    parser.add_argument(
        "--license",
        default="other",
        help="license of the weights, for the model card, as the Hugging Face Hub spells it (mit, "
        "cc-by-nc-4.0); default: %(default)s",
    )


def check(args: argparse.Namespace, config: Config | None) -> list[str]:
    """Return what is wrong with the format, the folder or the checkpoint."""
    out, problems = args.out and pathlib.Path(args.out), []
    if not args.format:
        problems.append(f"--format is missing. Pass one of {', '.join(FORMATS)}.")
    if not out:
        problems.append("--out is missing. Pass the folder to write.")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        state = "is not empty" if out.is_dir() else "is not a folder"
        problems.append(f"--out {out} {state}. Pass a new or an empty folder.")
    if args.checkpoint not in ("newest", "best") and not args.checkpoint.isdecimal():
        problems.append(f"--checkpoint is {args.checkpoint!r}, but must be newest, best or a step.")
    return problems


def run(config: Config, workdir: pathlib.Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Write the folder --out; return its files and the entries of the format."""
    import jax

    from barlow_jax.experiment import encoders

    jax.config.update("jax_platforms", "cpu")  # the accelerators may be in use by the run
    if workdir is None and not args.encoder:
        raise UserError("--workdir is missing. Pass the run to export, or --encoder")
    trained = read_trained(config, encoders.encoder_path(workdir, args), args.checkpoint)
    trained = dataclasses.replace(trained, license=args.license)
    out = pathlib.Path(args.out).resolve()
    module = importlib.import_module(f"barlow_jax.interop.{FORMATS[args.format]}")
    with files.new_folder(out) as draft:
        entries = module.write(trained, draft)
    entries["load"] = [line.replace("{out}", str(out)) for line in entries.get("load", ())]
    written = sorted(path for path in out.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in written)
    source = f"step {trained.step}" if trained.step >= 0 else "a file of weights"
    log.info(f"exported {trained.name} of {source} to {out}: {len(written)} files, {size / 1e6:.1f} MB")
    log.info("\n".join(["load it with:", *entries["load"]]))
    return {
        "format": args.format,
        "out": str(out),
        "step": trained.step,
        "files": [path.relative_to(out).as_posix() for path in written],
        "bytes": size,
        **entries,
    }


def read_trained(config: Config, where: pathlib.Path, checkpoint: str = "newest") -> TrainedEncoder:
    """Read the encoder at a path, as accepted by --encoder, into the host's memory.

    The checkpoint is "newest" (intact), "best" (by config.monitor.select_by), or a step in digits.

    Raises:
      UserError: the encoder or checkpoint is missing or damaged.
    """
    import jax

    from barlow_jax.experiment import encoders
    from barlow_jax.experiment.experiment import Experiment
    from barlow_jax.interop.encoder import TrainedEncoder

    # The encoder does not depend on the mesh of the run, so one device is enough.
    one_device = dataclasses.replace(config, mesh=Mesh(slices=1, projector="replicated"))
    experiment = Experiment.from_config(one_device, jax.devices()[:1])
    state = experiment.encoder_state(_chosen(where, checkpoint, config.monitor.select_by), PRETRAINED)
    params, batch_stats = jax.device_get((state.params, state.batch_stats))
    workdir, _ = encoders.split_step(where)
    history = provenance.read(workdir), _results(workdir / "results")
    return TrainedEncoder(config, params, batch_stats, int(state.step), *history)


def _chosen(where: pathlib.Path, checkpoint: str, select_by: str) -> pathlib.Path:
    """Return the folder of the checkpoint; `where` itself for the newest one and for a file."""
    from barlow_jax.experiment import encoders

    if checkpoint == "newest":
        return where
    workdir, step = encoders.split_step(where)
    if step is not None or not where.is_dir():
        raise UserError(
            f"--checkpoint={checkpoint}: {where} is a single encoder. Pass the workdir of a run, or omit "
            "--checkpoint"
        )
    if checkpoint == "best":
        return selection.best_checkpoint(workdir, select_by)
    return workdir / saved_run.CHECKPOINTS / checkpoint


def _results(folder: pathlib.Path) -> dict[str, Any]:
    results = {}
    for path in sorted(folder.glob("*.json")):
        try:
            results[path.stem] = files.read_json(path)
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}). Remove it, or repeat the evaluation") from None
    return results
