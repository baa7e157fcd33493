"""Export of an encoder in the format of another tool."""

import dataclasses
import importlib
from typing import Any

import jax

from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.experiment import encoders
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.interop.formats import FORMATS
from barlow_jax.io import files, log, paths
from barlow_jax.io.paths import Path
from barlow_jax.papers.scores import PRETRAINED
from barlow_jax.workdir import provenance, results


def export(
    config: Config, path: Path, out: Path, *, format: str, checkpoint: str = "newest", license: str = "other"
) -> dict[str, Any]:
    """Write the encoder at a path to a new folder; return its files and the entries of the format."""
    trained = dataclasses.replace(read_trained(config, path, checkpoint), license=license)
    out = out.resolve()
    module = importlib.import_module(f"barlow_jax.interop.{FORMATS[format]}")
    with files.new_folder(out) as draft:
        layout = (format,) if FORMATS[format] == "export_state_dict" else ()
        entries = module.write(trained, draft, *layout)
    lines, folder = entries.get("load", ()), str(out)
    if paths.is_url(out) and format != "orbax":
        lines, folder = [f"# copy {out} to this folder first", *lines], out.name
    entries["load"] = [line.replace("{out}", folder) for line in lines]
    written = sorted(path for path in out.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in written)
    source = f"step {trained.step}" if trained.step >= 0 else "a file of weights"
    log.info(f"exported {trained.name} of {source} to {out}: {len(written)} files, {size / 1e6:.1f} MB")
    log.info("\n".join(["load it with:", *entries["load"]]))
    return {
        "format": format,
        "out": str(out),
        "step": trained.step,
        "files": [path.relative_to(out).as_posix() for path in written],
        "bytes": size,
        **entries,
    }


def read_trained(config: Config, where: Path, checkpoint: str = "newest") -> TrainedEncoder:
    """Read the encoder at a path, as accepted by --encoder, into the host's memory.

    The checkpoint is "newest" (intact), "best" (by config.monitor.select_by), or a step in digits.

    Raises:
      UserError: the encoder or checkpoint is missing or damaged.
    """
    path = encoders.checkpoint_path(where, checkpoint, config.monitor.select_by)
    state = Experiment.on_one_device(config).encoder_state(path, PRETRAINED)
    params, batch_stats = jax.device_get((state.params, state.batch_stats))
    workdir, _ = encoders.split_step(where)
    measured, damaged = results.read(workdir)
    for path, problem in damaged.items():
        raise UserError(f"{path} is damaged ({problem}). Remove it, or repeat the evaluation")
    return TrainedEncoder(config, params, batch_stats, int(state.step), provenance.read(workdir), measured)
