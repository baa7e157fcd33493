"""Arrays from a file written by `torch.save`, read by torch in a separate process.

Such a file is a pickle and can hold code. `torch.load(weights_only=True)` accepts arrays, numbers, text and
containers of them, and refuses everything else without running it. Versions of torch before 2.6 are refused
because they can be made to run code (CVE-2025-32434). The process is separate because importing torch and
TensorFlow together can crash; nothing else in the package needs torch. This file is also the script of that
process, so it imports nothing from the package.
"""

import argparse
from collections.abc import Mapping
import functools
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

SUFFIXES = (".pth", ".pt", ".tar")
# Keys under which a full checkpoint holds the state dict, the preferred one first, and its other entries with
# the reason to ignore them.
_MODELS = ("teacher", "model_ema", "state_dict_ema", "model", "state_dict", "student", "module")
IGNORED_ENTRIES = {
    **dict.fromkeys(_MODELS, "other copy of the network"),
    "args": "settings of the program that wrote the file",
    **dict.fromkeys(("dino_loss", "ibot_loss", "loss"), "state of the loss"),
    "fp16_scaler": "loss scaling of mixed precision",
    "version": "version of the file's format",
    "metric": "accuracy",
    "optimizer": "optimizer state, which is initialized afresh",
    "scheduler": "schedule state, which is initialized afresh",
    "lr_scheduler": "schedule state, which is initialized afresh",
    "scaler": "loss scaling of mixed precision",
    "epoch": "counter, which starts at 0",
    "step": "counter, which starts at 0",
    "arch": "name of the network, which is inferred from the keys",
    "best_acc1": "accuracy",
}
# Functions that the optimizer state of the official code refers to; a function that does nothing replaces
# them.
_FUNCTIONS = ("__main__.exclude_bias_and_norm",)
_RECORDS = (argparse.Namespace,)  # of settings, which hold no code
_REFUSED = 2  # exit status: the reason is on standard output


class Unreadable(Exception):
    """The file cannot be read; the message says why and how to fix it."""


def load(path: pathlib.Path) -> tuple[Mapping[str, np.ndarray], list[str]]:
    """Return the state dict as arrays (floats as float32) and the names of the ignored entries.

    Raises:
      Unreadable: torch is not installed, or the file is missing, damaged, or holds something else.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    return _load(path.absolute(), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=1)  # a command reads the file twice, for the config and for the arrays
def _load(path: pathlib.Path, *stamp: int) -> tuple[Mapping[str, np.ndarray], list[str]]:
    from safetensors.numpy import load_file

    with tempfile.TemporaryDirectory() as folder:
        arrays = pathlib.Path(folder) / "arrays.safetensors"
        # -P keeps this folder off sys.path, so that its modules cannot hide packages of the same name.
        command = [sys.executable, "-P", __file__, str(path), str(arrays)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == _REFUSED:
            raise Unreadable(done.stdout.strip())
        if done.returncode:
            last = next(reversed(done.stderr.strip().splitlines()), f"exit status {done.returncode}")
            raise Unreadable(f"torch cannot read it ({last})")
        return load_file(arrays), json.loads(done.stdout)


def _convert(path: str, arrays: str) -> list[str]:
    """Write the arrays as safetensors; return the names of the ignored entries."""
    try:
        import torch
    except ImportError:
        raise Unreadable(
            "reading it needs torch: pip install 'barlow_jax[interop]', or pass the same weights as "
            ".safetensors"
        ) from None
    from safetensors.numpy import save_file

    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        raise Unreadable(f"torch {torch.__version__} can be made to run code by a file. Install 2.6 or newer")
    replacements = [(lambda *_: None, name) for name in _FUNCTIONS]
    try:
        with torch.serialization.safe_globals([*replacements, *_RECORDS]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, zipfile and pickle raise many types
        message = " ".join(str(error).split())
        if named := re.search(r"GLOBAL (\S+)", message):
            raise Unreadable(
                f"it holds {named[1]}, which may be code and was not run. If you trust the author, load "
                "the file in torch, save only the model's state_dict(), and pass that file"
            ) from None
        message = message.rpartition("WeightsUnpickler error: ")[2][:200]
        raise Unreadable(
            f"damaged, or not written by torch.save ({type(error).__name__}: {message})"
        ) from None
    state, ignored = _state(loaded)
    wrong = [f"{key}: a {type(value).__name__}" for key, value in state.items() if not _is_array(value)]
    if wrong:
        raise Unreadable("\n  ".join(["some entries are not arrays:", *wrong]))
    save_file({key: _array(value) for key, value in state.items()}, arrays)
    return ignored


def _state(loaded: object) -> tuple[dict, list[str]]:
    if not isinstance(loaded, dict):
        raise Unreadable(f"it holds a {type(loaded).__name__} instead of a state dict")
    models = [name for name in _MODELS if isinstance(loaded.get(name), dict)]
    if not models:
        return loaded, []
    unknown = [str(key) for key in loaded if key not in {models[0], *IGNORED_ENTRIES}]
    if unknown:
        raise Unreadable("\n  ".join([f"unknown entries next to {models[0]!r}:", *unknown]))
    return loaded[models[0]], [key for key in loaded if key != models[0]]


def _is_array(value: object) -> bool:
    return hasattr(value, "detach") and str(value.layout) == "torch.strided" and not value.is_complex()


def _array(value: object) -> np.ndarray:
    value = value.detach()
    return (value.float() if value.is_floating_point() else value).contiguous().numpy().copy()


if __name__ == "__main__":
    try:
        print(json.dumps(_convert(*sys.argv[1:])))
    except Unreadable as refused:
        print(refused)
        sys.exit(_REFUSED)
