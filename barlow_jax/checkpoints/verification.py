"""Whether a checkpoint's folder holds what was saved, and what this network can take."""

import os
import pathlib
import re
from typing import Any, NamedTuple

import orbax.checkpoint as ocp

from barlow_jax.io import checksums

# Orbax's folder for the one tree of a step.
_ITEM = "default"
# Written by Orbax when the digests are made already; nothing of the state is in them.
UNDIGESTED = ("_CHECKPOINT_METADATA", "commit_success.txt")


class Verdict(NamedTuple):
    """What is to be said of a checkpoint."""

    problems: tuple[str, ...]  # one phrase each; none where it can be used
    verified: bool  # against digests; False where it has none, and may be damaged without a sign

    @property
    def says(self) -> str:
        """All of it in a phrase."""
        shown = "; ".join(self.problems[:3])
        if len(self.problems) > 3:
            shown += f"; and {len(self.problems) - 3} more"
        return shown or ("good" if self.verified else "has no digests: it cannot be verified")


def examine(folder: pathlib.Path, abstract: Any, *, part: bool = False) -> Verdict:
    """Reads all files of a step's folder.

    Args:
      folder: of one step.
      abstract: nested dict of what is to be restored, with shapes and dtypes.
      part: of a larger tree; otherwise the checkpoint must hold nothing else.
    """
    verified = checksums.exist(folder)
    problems = checksums.verify(folder) if verified else []
    return Verdict(tuple(problems or _misfits(folder, abstract, part)), verified)


def is_encoder_alone(folder: pathlib.Path) -> bool:
    """Whether a step's folder is that of an encoder folder: neither heads nor the rest of a run's state."""
    try:
        saved = _saved(folder)
        return saved.keys() <= {"params", "batch_stats"} and all(
            part.keys() == {"encoder"} for part in saved.values()
        )
    except Exception:  # as of `_misfits`, which says it
        return False


def _saved(folder: pathlib.Path) -> Any:
    """What is known of the arrays that were saved, in their nested dict."""
    return ocp.PyTreeCheckpointHandler().metadata(folder / _ITEM).tree


def _misfits(folder: pathlib.Path, abstract: Any, part: bool) -> list[str]:
    """Where the arrays are others than `abstract` has. Orbax casts a wrong dtype without a word."""
    try:
        saved = _described(_saved(folder))
    except Exception as error:  # of Orbax, of TensorStore: whatever damaged metadata bring about
        return [unreadable(error)]
    wanted = _described(abstract)
    misfits = [
        f"{name} is {saved.get(name, 'missing')} there, {array} in this network"
        for name, array in wanted.items()
        if saved.get(name) != array
    ]
    more = (
        [] if part else [f"{name} is there, and not in this network" for name in saved.keys() - wanted.keys()]
    )
    return misfits + sorted(more)


def reason(error: BaseException) -> str:
    """In a line: what the system said, where TensorStore says a screenful."""
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else _named(error)


def unreadable(error: BaseException) -> str:
    """What is said of a checkpoint whose reading raised this."""
    return f"cannot be read ({_named(error)})"


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}"


def _described(tree: Any) -> dict[str, str]:
    flat = ocp.tree.to_flat_dict(tree, sep=".")
    return {name: f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]" for name, leaf in flat.items()}
