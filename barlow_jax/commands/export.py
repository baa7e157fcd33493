"""Write the encoder of a run in the format of another tool: orbax, torchvision, timm, jax, savedmodel."""

import argparse
import dataclasses
import importlib
import pathlib
import sys
from typing import Any

import jax

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config import schema as config_lib
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.experiment import encoders
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.interop import FORMATS
from barlow_jax.interop.encoder import Trained
from barlow_jax.io import files, jsonl
from barlow_jax.papers.scores import PRETRAINED
from barlow_jax.workdir import provenance, saved_run

COMMAND = Command(
    examples=(
        "export --workdir runs/digits --format torchvision --out exported",
        "export --encoder resnet50.safetensors --format jax --out exported",
    ),
    checks="config",
    workdir="optional",
    single_process=True,
    encoder=True,
    variant="format",
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
        help="newest: the newest intact checkpoint; best: the one with the highest k-NN accuracy in metrics.jsonl; "
        "or a step; default: %(default)s",
    )
    parser.add_argument(
        "--license",
        default="other",
        help="license of the weights, for the model card, as the Hugging Face Hub spells it (mit, cc-by-nc-4.0); "
        "default: %(default)s",
    )


def check(args: argparse.Namespace, config: Config | None) -> list[str]:
    """Return what is wrong with the format, the folder or the checkpoint."""
    out, problems = args.out and pathlib.Path(args.out), []
    if not args.format:
        problems.append(f"--format: is missing; one of {', '.join(FORMATS)}")
    if not out:
        problems.append("--out: is missing; pass the folder to write")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        state = "is not empty" if out.is_dir() else "is not a folder"
        problems.append(f"--out: {out} {state}; pass a new or an empty one")
    if args.checkpoint not in (NEWEST, BEST) and not args.checkpoint.isdecimal():
        problems.append(f"--checkpoint: must be newest, best or a step, got {args.checkpoint!r}")
    return problems


NEWEST, BEST = "newest", "best"


def run(config: Config, workdir: pathlib.Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Writes --out; its results name the files, with what the format says of itself."""
    jax.config.update("jax_platforms", "cpu")  # the accelerators are the run's
    if workdir is None and not args.encoder:
        raise UserError("--workdir: is missing; pass the run to export, or --encoder")
    trained = read_trained(config, encoders.place(workdir, args), args.checkpoint)
    trained = dataclasses.replace(trained, license=args.license)
    out = pathlib.Path(args.out).resolve()
    module = importlib.import_module(f"barlow_jax.interop.{FORMATS[args.format]}")
    with files.new_folder(out) as draft:
        told = module.write(trained, draft)
    told["load"] = [line.replace("{out}", str(out)) for line in told.get("load", ())]
    written = sorted(path for path in out.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in written)
    of = f"step {trained.step}" if trained.step >= 0 else "a file"
    print(f"{trained.name} of {of}: {len(written)} files, {size / 1e6:.1f} MB, in {out}", file=sys.stderr)
    print("\n".join(told["load"]), file=sys.stderr)
    return {
        "format": args.format,
        "out": str(out),
        "step": trained.step,
        "files": [path.relative_to(out).as_posix() for path in written],
        "bytes": size,
        **told,
    }


def read_trained(config: Config, where: pathlib.Path, checkpoint: str = NEWEST) -> Trained:
    """The encoder of a run, of one of its checkpoints or of a file, on the host.

    Args:
      config: of the run.
      where: as --encoder has it.
      checkpoint: "newest" good one, "best" by the k-NN accuracy of metrics.jsonl, or a step in digits.

    Raises:
      UserError: there is no such encoder or checkpoint, or it is damaged.
    """
    # One device: what the run's mesh was is nothing to its encoder.
    alone = dataclasses.replace(config, mesh=config_lib.Mesh(slices=1, projector="replicated"))
    experiment = Experiment.of(alone, jax.devices()[:1])
    state = experiment.encoder_state(_chosen(where, checkpoint), PRETRAINED)
    params, batch_stats = jax.device_get((state.params, state.batch_stats))
    workdir, _ = encoders.run_and_step(where)
    return Trained(
        config, params, batch_stats, int(state.step), provenance.read(workdir), _results(workdir / "results")
    )


def _chosen(where: pathlib.Path, checkpoint: str) -> pathlib.Path:
    """The checkpoint's folder; `where` itself for the newest, and for a file."""
    if checkpoint == NEWEST:
        return where
    workdir, step = encoders.run_and_step(where)
    if step is not None or not where.is_dir():
        raise UserError(
            f"--checkpoint={checkpoint}: {where} is one encoder; pass the workdir of a run, or leave --checkpoint out"
        )
    step = _best(workdir) if checkpoint == BEST else int(checkpoint)
    return workdir / saved_run.CHECKPOINTS / str(step)


def _best(workdir: pathlib.Path) -> int:
    """The step with the highest k-NN accuracy of those that have a checkpoint; of equal ones the newest."""
    steps = saved_run.checkpoint_steps(workdir)
    metrics = workdir / "metrics.jsonl"
    rows, _ = jsonl.read(metrics)
    scores = {row["step"]: row["knn_top1"] for row in rows if row.get("knn_top1") is not None}
    measured = [step for step in steps if step in scores]
    if not measured:
        there = f"checkpoints of step {', '.join(map(str, steps))}" if steps else "no checkpoint"
        raise UserError(
            f"--checkpoint=best: {metrics} has no k-NN accuracy of a checkpoint that is there; {workdir} holds {there}: "
            "pass one of those steps, or newest"
        )
    return max(measured, key=lambda step: (scores[step], step))


def _results(folder: pathlib.Path) -> dict[str, Any]:
    results = {}
    for path in sorted(folder.glob("*.json")):
        try:
            results[path.stem] = files.read_json(path)
        except ValueError as error:
            raise UserError(
                f"{path} is not what was written there ({error}); remove it, or measure anew"
            ) from None
    return results
