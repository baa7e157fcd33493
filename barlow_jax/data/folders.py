"""Image files in folders: which files are the images of a split, which are left out, and why.

A split is a folder of class folders, or of images without classes. TensorFlow is not imported.
"""

import collections
from collections.abc import Collection, Iterable
import dataclasses
import functools
import os
import random

from barlow_jax.config.schema import Data
from barlow_jax.data import slices
from barlow_jax.errors import UserError
from barlow_jax.io import log

# Of all formats that `decoding.decode` reads. The format itself is recognized by the first bytes of a file.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp")
OWN_SUFFIXES = (*IMAGE_SUFFIXES, ".tif", ".tiff", ".dcm", ".npy")  # with data.name=images
_HIDDEN = "hidden"
_MAX_REASONS = 6  # in a message


@dataclasses.dataclass
class Listing:
    """Image files below a folder, and the names that are left out."""

    root: str
    names: list[str]  # of the images, relative to the root
    left_out: dict[str, list[str]]  # by reason, relative to the root
    labels: list[int] | None = None  # of the images; None without classes
    class_names: list[str] | None = None
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)  # from image to reason, a predicate

    def describe(self, subject: str) -> str:
        """Return what is read and what is left out, in one line; `subject` is the folder or the split."""
        of_classes = "" if self.class_names is None else f" of {len(self.class_names)} classes"
        left_out = _counts(self.left_out, "; left out: ", "{count} {reason} ({example})")
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.unreadable.items():
            by_reason.setdefault(reason, []).append(name)
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


def open_split(data: Data, split: str) -> Listing:
    """List the images of a split (`list_split`), and log what is read."""
    return _check_readable(list_split(data, split), f"split {split} of {data.data_dir}")


def list_split(data: Data, split: str) -> Listing:
    """List the images of a split of a folder data set, with their labels, in a fixed random order.

    The class of an image is the first folder below the split's. The classes are those of the splits
    `data.train_split` and `data.eval_split` in alphabetical order, then further ones of `split`.

    Raises:
      UserError: the folder or the split does not exist, or has no image.
    """
    if not data.data_dir:
        raise UserError("config.data.data_dir: a folder data set needs the path of <split>/<class>/<image>")
    root = data.data_dir
    _check_folder(root)
    parts = _parts(root, split)
    in_use = _class_names(root, [*_parts(root, data.train_split), *_parts(root, data.eval_split)])
    class_names = [*sorted(in_use), *sorted(_class_names(root, parts) - in_use)]
    listing, classes = Listing(root, [], {}), []
    for part in parts:
        if not os.path.isdir(os.path.join(root, part.name)):
            raise UserError(_no_split(root, part.name))
        pairs = _list_part(listing, part)
        listing.names += [name for name, _ in pairs]
        classes += [class_name for _, class_name in pairs]
    if not listing.names:
        raise UserError(f"config.data: {listing.describe(f'split {split} of {root}')}; {_suffixes()}")
    if None not in classes:
        label = {name: number for number, name in enumerate(class_names)}
        listing.labels = [label[name] for name in classes]
        listing.class_names = [printable(name) for name in class_names]
    return listing


def _list_part(listing: Listing, part: slices.Part) -> list[tuple[str, str | None]]:
    """Return pairs of image and class (None without classes); add what is left out to the listing."""
    folder = os.path.join(listing.root, part.name)
    of_part = list_images(folder, by_class=True)
    left_out = of_part.left_out
    in_class = [name.partition(os.sep) for name in of_part.names if os.sep in name]
    if in_class:
        left_out["outside class folders"] = [name for name in of_part.names if os.sep not in name]
        left_out["classes without images"] = [*(_subfolders(folder) - {name for name, _, _ in in_class})]
    for reason, names in left_out.items():
        if names:
            listing.left_out.setdefault(reason, []).extend(os.path.join(part.name, name) for name in names)
    pairs = [("".join(parts), parts[0]) for parts in sorted(in_class)] or [(n, None) for n in of_part.names]
    random.Random(part.name).shuffle(pairs)  # as `tfds.ImageFolder` does
    pairs = pairs[part.rows(len(pairs))]
    return [(os.path.join(part.name, name), class_name) for name, class_name in pairs]


def list_images(root: str, *, by_class: bool = False, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> Listing:
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
            (names if suffix in suffixes else left_out[reason]).append(os.path.join(below, name))
    return Listing(root, sorted(names), {reason: left for reason, left in left_out.items() if left})


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _subfolders(folder: str) -> set[str]:
    """Return the names of the folders in a folder; none if it does not exist."""
    if not os.path.isdir(folder):
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_dir() and not _is_hidden(entry.name)}


def _class_names(root: str, parts: Iterable[slices.Part]) -> set[str]:
    return set().union(*(_subfolders(os.path.join(root, part.name)) for part in parts))


def _parts(root: str, split: str) -> list[slices.Part]:
    return slices.parse(split, lambda name: os.path.isdir(os.path.join(root, name)))


def _check_folder(folder: str) -> None:
    if not os.path.isdir(folder):
        hint = "; a bucket must be mounted (gcsfuse)" if "://" in folder else ""
        raise UserError(f"config.data.data_dir: there is no folder {printable(folder)}{hint}")


def _no_split(root: str, split: str) -> str:
    """Return the error message for a split without a folder, with the ways out."""
    existing = sorted(_subfolders(root))
    has_splits = "train" in existing or any(_subfolders(os.path.join(root, name)) for name in existing)
    parent, base = (root, existing[0]) if has_splits else os.path.split(os.path.abspath(root))
    base = "train" if "train" in existing else base
    listed = f"{', '.join(existing[:10]) or 'no folders'}{', ...' if existing[10:] else ''}"
    hint = "use one of them, or parts of one" if has_splits else "if that folder itself is the split, pass"
    return printable(
        f"config.data: {root} has no folder {split!r}; it has {listed}; {hint}: "
        f"--config.data.data_dir={parent} --config.data.train_split='{base}[:90%]' "
        f"--config.data.eval_split='{base}[90%:]'"
    )


def _suffixes() -> str:
    return f"the names of images end in {', '.join(IMAGE_SUFFIXES)}; convert other formats to one of them"


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


def _check_readable(listing: Listing, subject: str) -> Listing:
    """Add the reasons of the images that cannot be opened, and log what is read."""
    for name in listing.names:
        path = os.path.join(listing.root, name)
        if os.access(path, os.R_OK):
            continue
        is_broken_link = os.path.islink(path) and not os.path.exists(path)
        reason = "is a link to a missing file" if is_broken_link else "cannot be opened: permission denied"
        listing.unreadable[name] = reason
    listing.log(subject)
    return listing


@functools.cache
def _log_once(message: str, is_warning: bool) -> None:
    """Log a message unless it was logged before: a run opens a split several times."""
    (log.warning if is_warning else log.info)(message)
