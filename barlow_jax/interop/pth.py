"""Arrays out of a file that torch saved, by torch itself, in a process of its own.

Such a file is a pickle, which can hold code. `torch.load(weights_only=True)` makes arrays, numbers, text and
containers of them, and refuses all else without running it; versions before 2.6 could be tricked (CVE-2025-32434), and
are refused. In a process of its own, since torch and TensorFlow do not always bear each other; torch is needed here
alone. This file is also that process's program: it imports nothing of this package.
"""

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
# A full checkpoint has the state dict under one of these, and beside it what a new start has no use for.
_MODELS = ("model", "state_dict")
BESIDE = {
    "optimizer": "the optimizer's state, which starts anew",
    "scheduler": "the schedule's state, which starts anew",
    "lr_scheduler": "the schedule's state, which starts anew",
    "scaler": "of mixed precision",
    "epoch": "a counter, which starts anew",
    "step": "a counter, which starts anew",
    "arch": "a name; the keys tell the network",
    "best_acc1": "an accuracy",
}
# Of the official code, which its optimizer's state names: another function, which does nothing, is put in its place.
_FUNCTIONS = ("__main__.exclude_bias_and_norm",)
_REFUSED = 2  # exit status: the reason is on standard output


class Unreadable(Exception):
    """Why a file cannot be read, and what to do."""


def load(path: pathlib.Path) -> tuple[Mapping[str, np.ndarray], list[str]]:
    """The state dict as arrays, float32 where they are of any kind of float; and the names of what is beside it.

    Raises:
      Unreadable: torch is not installed, or the file is absent, damaged, or holds something else.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    return _load(path.absolute(), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=1)  # a program asks twice, for the config and for the arrays
def _load(path: pathlib.Path, *stamp: int) -> tuple[Mapping[str, np.ndarray], list[str]]:
    from safetensors.numpy import load_file

    with tempfile.TemporaryDirectory() as folder:
        arrays = pathlib.Path(folder) / "arrays.safetensors"
        # -P: beside this file lies one that is called torchvision.
        command = [sys.executable, "-P", __file__, str(path), str(arrays)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == _REFUSED:
            raise Unreadable(done.stdout.strip())
        if done.returncode:
            last = next(reversed(done.stderr.strip().splitlines()), f"exit status {done.returncode}")
            raise Unreadable(f"torch cannot read it ({last})")
        return load_file(arrays), json.loads(done.stdout)


def _convert(path: str, arrays: str) -> list[str]:
    """Writes the arrays as safetensors; names what was beside them."""
    try:
        import torch
    except ImportError:
        raise Unreadable(
            "reading it needs torch: pip install 'barlow_jax[interop]', or pass the same weights as .safetensors"
        ) from None
    from safetensors.numpy import save_file

    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        raise Unreadable(f"torch {torch.__version__} can be made to run code by a file: install 2.6 or newer")
    stand_ins = [(_stand_in, name) for name in _FUNCTIONS]
    try:
        with torch.serialization.safe_globals(stand_ins):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of torch, of zipfile, of pickle: whatever the bytes bring about
        said = " ".join(str(error).split())
        if named := re.search(r"GLOBAL (\S+)", said):
            raise Unreadable(
                f"it holds more than arrays, {named[1]} among it, which may be code, and none of it was run; if you "
                "trust who made it, load it in torch, save the model's state_dict() alone, and pass that"
            ) from None
        said = said.rpartition("WeightsUnpickler error: ")[2][:200]
        raise Unreadable(f"damaged, or no file of torch.save ({type(error).__name__}: {said})") from None
    state, beside = _state(loaded)
    wrong = [f"{key}: a {type(value).__name__}" for key, value in state.items() if not _is_array(value)]
    if wrong:
        raise Unreadable("\n  ".join(["not all of it are arrays:", *wrong]))
    save_file({key: _array(value) for key, value in state.items()}, arrays)
    return beside


def _state(loaded: object) -> tuple[dict, list[str]]:
    if not isinstance(loaded, dict):
        raise Unreadable(f"it holds a {type(loaded).__name__}, not a state dict")
    models = [name for name in _MODELS if isinstance(loaded.get(name), dict)]
    if not models:
        return loaded, []
    unknown = [str(key) for key in loaded if key not in {models[0], *BESIDE}]
    if unknown:
        raise Unreadable("\n  ".join([f"beside {models[0]!r} it has what is unknown here:", *unknown]))
    return loaded[models[0]], [key for key in loaded if key != models[0]]


def _is_array(value: object) -> bool:
    return hasattr(value, "detach") and str(value.layout) == "torch.strided" and not value.is_complex()


def _array(value: object) -> np.ndarray:
    value = value.detach()
    return (value.float() if value.is_floating_point() else value).contiguous().numpy().copy()


def _stand_in(*_: object) -> None:
    """In a function's place that a file names; nothing here calls it."""


if __name__ == "__main__":
    try:
        print(json.dumps(_convert(*sys.argv[1:])))
    except Unreadable as refused:
        print(refused)
        sys.exit(_REFUSED)
