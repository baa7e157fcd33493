"""Opening of data on several processes, which must all read the same examples.

The indices of a step's rows refer to one list of examples. With other files on one host, batches would be
wrong, or that process would end first and the others would wait for it.
"""

from collections.abc import Callable
import json

from barlow_jax.config.schema import Data
from barlow_jax.data import splits
from barlow_jax.distributed import exchange
from barlow_jax.errors import UserError


def open_split(data: Data, split: str) -> splits.Split:
    """Open a split on all processes.

    Raises:
      UserError: a process cannot open it, or reads other examples than process 0. All processes raise it.
    """
    return _open(f"split {split!r} of {data.name}", lambda: splits.open_split(data, split))


def open_images(path: str, data: Data) -> splits.ImageSplit:
    """Open all images of a source on all processes (`splits.open_images`); raises like `open_split`."""
    return _open(path, lambda: splits.open_images(path, data))


def _open(name: str, open_one: Callable[[], splits.Split]) -> splits.Split:
    if exchange.client() is None:
        return open_one()
    split, problems = None, []
    try:
        split = open_one()
    except UserError as error:
        problems = [str(error)]
    own = json.dumps(split and splits.identify(split))
    first, *others = (json.loads(text) for text in exchange.gather(own))
    if split is not None:
        problems = [
            f"process {process} reads {_describe(identity)} of {name}, but process 0 {_describe(first)}. "
            "Give all processes the same files: mount one copy, or make the copies equal."
            for process, identity in enumerate(others, 1)
            if None not in (first, identity) and identity != first
        ]
    if problems := exchange.all_problems(problems):
        raise UserError("\n  ".join(problems))
    return split


def _describe(identity: list) -> str:
    images, digest = identity
    return f"{images} images (digest {digest[:8]})"
