"""Paths on a disk and in a bucket, such as `gs://bucket/run`, with the interface of `pathlib.Path`.

A `Path` of a disk is a `pathlib.Path`; one of a bucket is served by fsspec. A bucket has no folders, only
objects whose names contain slashes, and no rename, append or lock: what follows from that is in this module,
`files`, `jsonl`, `checksums` and `workdir.lease`.
"""

from collections.abc import Iterator, Sequence
import errno
import fcntl
import functools
import hashlib
import importlib.util
import os
import shutil
from typing import Any

import fsspec
from upath import UPath as Path

from barlow_jax.errors import UserError
from barlow_jax.io import log

__all__ = ["Path"]
PathLike = str | os.PathLike[str] | Path  # an API `Run` is one too

for _scheme in ("gs", "gcs"):
    fsspec.register_implementation(_scheme, "barlow_jax.io.gcs.FileSystem", clobber=True)
_PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}  # extras of this package have the names gcs and s3


def is_url(path: Any) -> bool:
    """Return whether a path is in a bucket."""
    return "://" in str(path)


def problem(path: str, schemes: Sequence[str] = tuple(_PACKAGES)) -> str | None:
    """Return what keeps a path from being used, with the remedy; None for every path of a disk.

    `schemes` are those of the buckets that are possible.
    """
    scheme, separator, rest = path.partition("://")
    if not separator:
        return None
    if scheme not in schemes:
        return f"{path} begins with {scheme}://; the schemes of buckets are {', '.join(schemes)}"
    if not rest.strip("/"):
        return f"{path} names no bucket"
    if importlib.util.find_spec(package := _PACKAGES[scheme]) is None:
        return f"{path} needs {package}; run `pip install 'barlow_jax[{package.removesuffix('fs')}]'`"
    try:
        if scheme == "gs":
            open_bucket(Path(path)).check_bucket(rest.split("/")[0])
    except FileNotFoundError:
        return f"{path} names a bucket that does not exist"
    except OSError as error:
        return f"{path} cannot be reached: {error.strerror or error}"
    return None


def open_bucket(path: Path) -> Any:
    """Return fsspec's file system of a bucket; from then on etils uses it too (see `gcs.FileSystem`)."""
    return path.fs


def text(path: PathLike) -> str:
    """Return a path as text, with `~` expanded; that of a bucket stays."""
    return os.path.expanduser(path if isinstance(path, str | os.PathLike) else str(path))


def absolute(path: PathLike) -> str:
    """Return a path as text that holds in another working directory too, with `~` expanded."""
    return path if is_url(path := text(path)) else os.path.abspath(path)


def walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield path, subfolders and files of each folder, as `os.walk` does."""
    if not is_url(root):
        yield from os.walk(root)
        return
    for folder, subfolders, files in root.fs.walk(root.path):
        yield f"{root.protocol}://{folder}", subfolders, files


def remove_folder(path: Path) -> None:
    """Remove a folder with all that it contains, as far as possible."""
    if not is_url(path):
        shutil.rmtree(path, ignore_errors=True)
    elif path.is_dir():
        path.fs.rm(path.path, recursive=True)


def move_folder(path: Path, target: Path) -> None:
    """Move a folder to a path that is free; in a bucket, object by object."""
    if is_url(path):
        path.fs.copy(path.path, target.path, recursive=True)
        path.fs.rm(path.path, recursive=True)
    else:
        target.parent.mkdir(exist_ok=True)
        path.rename(target)


@functools.cache
def on_disk(path: str) -> str:
    """Return a path on this disk with the same content: of a bucket, a copy that is kept and kept up to date.

    Raises:
      UserError: the path cannot be used (`problem`), or the disk is too small.
      OSError: the path is missing, or the bucket cannot be read.
    """
    if not is_url(path):
        return path
    if wrong := problem(path):
        raise UserError(wrong)
    remote = Path(path)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    digest = hashlib.sha256(path.rstrip("/").encode()).hexdigest()[:16]
    folder = os.path.join(cache, "barlow_jax", "buckets", digest)
    target = os.path.join(folder, remote.name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process on this host may be copying the same files
        _copy(remote, target)
    return target


def _copy(remote: Path, target: str) -> None:
    """Copy what has changed, and remove what the bucket no longer has."""
    objects = remote.fs.find(remote.path, detail=True)
    if not objects:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(remote))
    if outside := [name for name in objects if ".." in name.split("/")]:
        raise UserError(f"{outside[0]} has a name that leads out of its folder; rename the object")
    local = {name: target + name.removeprefix(remote.path.rstrip("/")) for name in objects}
    stamps = {name: _stamp(info) for name, info in objects.items()}
    missing = [name for name in objects if not _has(local[name], objects[name]["size"], stamps[name])]
    for folder, _, names in os.walk(target):
        for stale in {os.path.join(folder, name) for name in names} - set(local.values()):
            os.unlink(stale)
    if not missing:
        return
    num_bytes = sum(objects[name]["size"] for name in missing)
    folder = os.path.dirname(target)
    if (free := shutil.disk_usage(folder).free) < num_bytes:
        raise UserError(
            f"{remote} is read from a copy on this disk, which needs {num_bytes / 1e9:.1f} GB in {folder}, "
            f"but {free / 1e9:.1f} GB are free. Set XDG_CACHE_HOME to a folder of a larger disk, or mount "
            "the bucket (gcsfuse) and pass the mounted folder."
        )
    log.info(f"copying {len(missing)} files ({num_bytes / 1e6:.1f} MB) of {remote} to {target}")
    remote.fs.get(missing, [local[name] for name in missing])
    for name in missing:  # last: until then, a copy that was interrupted is made again
        os.utime(local[name], ns=(stamps[name], stamps[name]))


def _stamp(info: dict[str, Any]) -> int:
    """Return a number that changes when an object is written again, as nanoseconds of a file's time."""
    version = info.get("generation") or info.get("ETag") or info.get("LastModified") or info["size"]
    return int(hashlib.sha256(str(version).encode()).hexdigest()[:12], 16)


def _has(path: str, size: int, stamp: int) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_size == size and status.st_mtime_ns == stamp
