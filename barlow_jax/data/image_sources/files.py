"""Image files: of a folder, or listed in a text file or table."""

import os
import pathlib

from barlow_jax.data import folders
from barlow_jax.data.image_sources.source import SUFFIXES, Source

# Folders directly below the root that are splits, if no image lies outside of them.
_SPLITS = {"train", "val", "valid", "validation", "test"}


def open_folder(root: str) -> Source:
    """List the images below a folder. If the folders in it are train, val, test, those are the splits."""
    listing = folders.list_images(root, suffixes=SUFFIXES)
    return open_files(root, listing.names, left_out=listing.left_out)


def open_files(root: str, names: list[str], **fields: dict) -> Source:
    """Return the images at paths relative to a folder; a size is -1 if the file is missing or unreadable."""
    paths = [os.path.join(root, name) for name in names]

    def size(path: str) -> int:
        return os.path.getsize(path) if os.access(path, os.R_OK) and os.path.isfile(path) else -1

    return Source(
        names,
        lambda index: pathlib.Path(paths[index]).read_bytes(),
        [*map(size, paths)],
        paths.__getitem__,
        **fields,
    )
