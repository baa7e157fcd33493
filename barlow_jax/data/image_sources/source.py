"""Images of one source before they are divided into splits."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp")
SUFFIXES += (".tif", ".tiff", ".dcm", ".npy")


@dataclasses.dataclass(frozen=True)
class Source:
    """All images of a source, in its order."""

    names: Sequence[str]  # [N]
    read: Callable[[int], bytes | np.ndarray]  # see `collection.Collection`
    sizes: Sequence[int]  # [N] bytes, or another number that changes with the content
    path: Callable[[int], str | None] = lambda index: None  # of an image that is a local file
    columns: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)  # [N] each
    left_out: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)  # names by reason
