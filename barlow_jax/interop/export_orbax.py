"""Format "orbax": an encoder folder, which is a workdir that holds only an encoder.

Files: `config.json`, the configuration of the run; `checkpoints/<step>/`, parameters and running statistics
saved by Orbax, with digests; `provenance.json`. Every evaluation accepts the folder like a run (`--workdir`
or `--encoder`), `verify` checks it, and `barlow_jax.experiment.pretrained.load` returns it as a function. The
arrays are saved without a device layout, so that any mesh can restore them, and Orbax can without this
package:

    tree = orbax.checkpoint.StandardCheckpointer().restore("/absolute/path/checkpoints/<step>/default")
    tree["params"]["encoder"]       # nested dict of NumPy arrays; indices of stages and blocks are strings
    tree["batch_stats"]["encoder"]  # running means and variances in the same layout; absent without BatchNorm
"""

from collections.abc import Mapping
import sys
from typing import Any

import jax

from barlow_jax.checkpoints.restore import FOLDER, open_checkpoints
from barlow_jax.config import overrides
from barlow_jax.config.schema import Config
from barlow_jax.distributed.mesh import describe_devices
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.io import files
from barlow_jax.io.paths import Path
from barlow_jax.workdir import provenance

LOAD = [
    "from barlow_jax import load",
    'encoder = load("{out}")',
    "features = encoder(images)  # [B, height, width, C] -> [B, H] float32",
]


def write(trained: TrainedEncoder, out: Path) -> dict[str, Any]:
    """Write the folder; `config.json`, which marks it as a workdir, is written last.

    Args:
      trained: the encoder; its step becomes the checkpoint's, 0 if unknown.
      out: folder that holds no run.

    Returns:
      `checkpoint` (path within `out`), `parameters` (count), `load` (lines of code; {out} stands for the
      folder).

    Raises:
      RunError: the checkpoint cannot be written.
    """
    step = max(trained.step, 0)
    parts = {"params": trained.params, "batch_stats": trained.batch_stats}
    parts = {name: jax.device_get(part) for name, part in parts.items() if jax.tree.leaves(part)}
    if trained.provenance:
        files.write_json(out / provenance.FILE, list(trained.provenance))
    save(out, trained.config, step, parts)
    number = sum(leaf.size for leaf in jax.tree.leaves(trained.params))
    return {"checkpoint": f"{FOLDER}/{step}", "parameters": number, "load": LOAD}


def save(workdir: Path, config: Config, step: int, parts: Mapping[str, Any]) -> None:
    """Save named trees of arrays as the only checkpoint of a new workdir, and its config.

    Raises:
      RunError: the checkpoint cannot be written.
    """
    provenance.record(workdir, sys.argv[1:], describe_devices())
    with open_checkpoints(workdir) as checkpoints:
        checkpoints.save_parts(step, parts)
    files.write_json(workdir / "config.json", overrides.to_config_dict(config).to_dict())
