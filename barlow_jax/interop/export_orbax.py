"""An encoder folder: a workdir that holds an encoder alone.

`config.json`, the whole config of the run; `checkpoints/<step>/`, its parameters and running statistics by Orbax, with
digests; `provenance.json`. Every evaluation takes it as it takes a run, `--workdir` or `--encoder`, `verify` checks it,
and `barlow_jax.experiment.pretrained.load` makes a function of it. The arrays are saved as those of no device, so that any mesh
can restore them, also Orbax without this package:

    tree = orbax.checkpoint.StandardCheckpointer().restore("/whole/path/checkpoints/<step>/default")
    tree["params"]["encoder"]       # nested dict of NumPy arrays; numbers of stages and blocks are strings, "0"
    tree["batch_stats"]["encoder"]  # likewise, running means and variances; absent where there is no BatchNorm
"""

import pathlib
import sys
from typing import Any

import jax

from barlow_jax.checkpoints.restore import FOLDER, open_checkpoints
from barlow_jax.config import overrides
from barlow_jax.distributed.mesh import describe_devices
from barlow_jax.interop.encoder import Trained
from barlow_jax.io import files
from barlow_jax.workdir import provenance

LOAD = [
    "from barlow_jax.experiment.pretrained import load",
    'encoder = load("{out}")',
    "features = encoder(images)  # [B, height, width, 3] uint8 -> [B, H] float32",
]


def write(trained: Trained, out: pathlib.Path) -> dict[str, Any]:
    """Writes the folder; `config.json`, by which it is known as one, comes last.

    Args:
      trained: what to write; its step is the checkpoint's, 0 where it is not known.
      out: folder that holds no run.

    Returns:
      `checkpoint` (its path in `out`), `parameters` (their number), `load` (lines of code; {out} is the folder).

    Raises:
      RunError: the checkpoint cannot be written.
    """
    step = max(trained.step, 0)
    parts = {"params": trained.params, "batch_stats": trained.batch_stats}
    parts = {name: jax.device_get(part) for name, part in parts.items() if jax.tree.leaves(part)}
    if trained.provenance:
        files.write_json(out / provenance.FILE, list(trained.provenance))
    provenance.record(out, sys.argv[1:], describe_devices())
    with open_checkpoints(out) as checkpoints:
        checkpoints.save_parts(step, parts)
    files.write_json(out / "config.json", overrides.to_config_dict(trained.config).to_dict())
    number = sum(leaf.size for leaf in jax.tree.leaves(trained.params))
    return {"checkpoint": f"{FOLDER}/{step}", "parameters": number, "load": LOAD}
