"""Verification that a checkpoint is intact and fits the network."""

from collections.abc import Iterator
import glob
import os
import re
from typing import Any, NamedTuple

from etils import epath
import orbax.checkpoint as ocp

from barlow_jax.io import checksums, paths
from barlow_jax.io.paths import Path
from barlow_jax.workdir.saved_run import COMMITTED

# Orbax's folder for the single tree of a step.
_ITEM = "default"
# Orbax writes these after the checksums have been computed; they hold no part of the state.
WITHOUT_CHECKSUM = ("_CHECKPOINT_METADATA", COMMITTED)


class LiteralPath(type(epath.Path())):
    """Path for Orbax, which otherwise reads brackets in the path of a checkpoint as a pattern."""

    def glob(self, pattern: str) -> Iterator["LiteralPath"]:
        """Yield the paths below this one that match; only `pattern` is a pattern."""
        return map(type(self), epath.Path(glob.escape(os.fspath(self))).glob(pattern))


def for_orbax(path: Path) -> LiteralPath:
    """Return a path as Orbax takes it."""
    if paths.is_url(path):
        paths.open_bucket(path)
    return LiteralPath(str(path))


class Verdict(NamedTuple):
    """Result of verifying a checkpoint."""

    problems: tuple[str, ...]  # one phrase each; empty if the checkpoint is usable
    verified: bool  # False if the checkpoint has no checksums, so that damage may go unnoticed

    @property
    def summary(self) -> str:
        """The result as one phrase."""
        shown = "; ".join(self.problems[:3])
        if len(self.problems) > 3:
            shown += f"; and {len(self.problems) - 3} more"
        return shown or ("intact" if self.verified else "has no checksums and cannot be verified")


def examine(folder: Path, abstract: Any, *, part: bool = False) -> Verdict:
    """Verify the checkpoint of one step by reading all its files.

    `abstract` is the nested dict of the arrays to restore, with shapes and dtypes; if it is a `part`, the
    checkpoint may hold more arrays.
    """
    verified = checksums.exist(folder)
    problems = checksums.verify(folder) if verified else []
    return Verdict(tuple(problems or _mismatches(folder, abstract, part)), verified)


def is_encoder_only(folder: Path) -> bool:
    """Return whether a checkpoint holds an encoder without heads and without the rest of a run's state."""
    try:
        tree = saved_arrays(folder)
        names = tree.keys() <= {"params", "batch_stats"}
        return names and all(part.keys() == {"encoder"} for part in tree.values())
    except Exception:  # unreadable metadata, which `_mismatches` reports
        return False


def saved_arrays(folder: Path) -> Any:
    """Return the metadata of the saved arrays as a nested dict."""
    return ocp.PyTreeCheckpointHandler().metadata(for_orbax(folder / _ITEM)).tree


def check_saved(folder: Path, abstract: Any) -> None:
    """Raise ValueError if the arrays just saved in a folder are not those of `abstract`."""
    if problems := _mismatches(folder, abstract, part=False):
        raise ValueError(f"it cannot be read back ({Verdict(tuple(problems), verified=False).summary})")


def _mismatches(folder: Path, abstract: Any, part: bool) -> list[str]:
    """Describe the arrays that differ from `abstract`. Orbax would cast another dtype silently."""
    try:
        saved = _described(saved_arrays(folder))
    except Exception as error:  # damaged metadata make Orbax and TensorStore raise any type
        return [unreadable(error)]
    expected = _described(abstract)
    mismatches = [
        f"{name} is {saved.get(name, 'missing')} in the checkpoint, {array} in this network"
        for name, array in expected.items()
        if saved.get(name) != array
    ]
    extra = [] if part else sorted(saved.keys() - expected.keys())
    return mismatches + [f"{name} is in the checkpoint, but not in this network" for name in extra]


def reason(error: BaseException) -> str:
    """Return an error as one line: the operating system's message if TensorStore quotes its code."""
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else _named(error)


def unreadable(error: BaseException) -> str:
    """Return the description of a checkpoint whose reading raised this error."""
    return f"cannot be read ({_named(error)})"


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}"


def _described(tree: Any) -> dict[str, str]:
    flat = ocp.tree.to_flat_dict(tree, sep=".")
    return {name: f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]" for name, leaf in flat.items()}
