"""Image files in folders: which files are images, which are left out, and why."""

import collections
from collections.abc import Collection, Iterable, Sequence
import dataclasses
import functools
import os

from barlow_jax.io import log

# Of all formats that `image_formats.decode` reads. The format itself is recognized by the first bytes.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp"),
    *(".tif", ".tiff", ".dcm", ".npy"),
)
_HIDDEN = "hidden"
_MAX_REASONS = 6  # in a message


@dataclasses.dataclass
class Listing:
    """Image files below a folder, and the names that are left out."""

    names: list[str]  # of the images, relative to the folder
    left_out: dict[str, list[str]]  # by reason, relative to the folder
    class_names: list[str] | None = None
    unreadable: Sequence[str] = ()  # images that are missing or cannot be opened

    def describe(self, subject: str) -> str:
        """Return what is read and what is left out, in one line; `subject` is the folder or the split."""
        of_classes = "" if self.class_names is None else f" of {len(self.class_names)} classes"
        left_out = _counts(self.left_out, "; left out: ", "{count} {reason} ({example})")
        by_reason = {"is missing or cannot be opened": self.unreadable} if self.unreadable else {}
        unreadable = _counts(by_reason, "; cannot be read: ", "{count} ({example} {reason})")
        return f"{printable(subject)} has {len(self.names)} images{of_classes}{unreadable}{left_out}"

    def log(self, subject: str, note: str = "") -> str:
        """Log `describe` and a note, once; return the text."""
        text = self.describe(subject) + note
        _log_once(text, bool(self.unreadable or self.left_out.keys() - {_HIDDEN}))
        return text


def printable(path: str | bytes) -> str:
    r"""Return a path as text that any file and terminal can hold: a byte that is not UTF-8 becomes `\xe9`."""
    return os.fsencode(path).decode(errors="backslashreplace")


def list_splits(root: str, splits: Iterable[str]) -> Listing:
    """List the images below some folders of a root."""
    listing = Listing([], {})
    for split in splits:
        part = list_images(os.path.join(root, split), by_class=True)
        listing.names += [os.path.join(split, name) for name in part.names]
        for reason, names in part.left_out.items():
            listing.left_out.setdefault(reason, []).extend(os.path.join(split, name) for name in names)
    return listing


def list_images(root: str, *, by_class: bool = False) -> Listing:
    """List all images below a folder by their suffix, in the order of their paths.

    Linked folders are followed, each once, or with `by_class` once in each folder directly below the root.
    Names that begin with a dot, and `__MACOSX`, are left out.
    """
    names, left_out, visited = [], collections.defaultdict(list), {(None, os.path.realpath(root))}

    def walk_failed(error: OSError) -> None:
        left_out["folders that cannot be opened"].append(os.path.relpath(error.filename, root))

    for folder, subfolders, files in os.walk(root, onerror=walk_failed, followlinks=True):
        below = "" if folder == root else os.path.relpath(folder, root)
        class_name, real_path = by_class and below.partition(os.sep)[0], os.path.realpath(folder)
        if below and visited & {(None, real_path), (class_name, real_path)}:
            subfolders.clear()
            continue
        visited.add((class_name, real_path))
        left_out[_HIDDEN] += [os.path.join(below, name) for name in (*subfolders, *files) if _is_hidden(name)]
        subfolders[:] = sorted(name for name in subfolders if not _is_hidden(name))
        for name in (name for name in files if not _is_hidden(name)):
            suffix = os.path.splitext(name)[1].lower()
            reason = f"{suffix} files" if suffix else "files without a suffix"
            (names if suffix in IMAGE_SUFFIXES else left_out[reason]).append(os.path.join(below, name))
    return Listing(sorted(names), {reason: left for reason, left in left_out.items() if left})


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _counts(groups: dict[str, Collection[str]], prefix: str, text: str) -> str:
    """Format each reason with its number of names and an example, the most frequent first."""
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    texts = [
        text.format(count=len(names), reason=reason, example=printable(min(names)))
        for reason, names in ordered[:_MAX_REASONS]
    ]
    if rest := sum(len(names) for _, names in ordered[_MAX_REASONS:]):
        texts.append(f"{rest} more")
    return prefix + ", ".join(texts) if texts else ""


@functools.cache
def _log_once(message: str, is_warning: bool) -> None:
    """Log a message unless it was logged before: a run opens a split several times."""
    (log.warning if is_warning else log.info)(message)
