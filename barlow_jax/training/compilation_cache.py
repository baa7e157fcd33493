"""Persistent cache of compiled programs: a restart loads them instead of compiling.

jax has such a cache, but trusts its files: one that is half written (by a process that was killed) or damaged
is loaded as it is, or blocks its replacement for ever; and it is machine code. So jax gets a folder of this
process alone. Files of the persistent folder have their SHA-256 in their name, are created by a rename, and
are linked into the process's folder only if they are intact.

The persistent folder belongs to the user, not to the workdir: a workdir may come from someone else, and holds
data, never code. jax's key contains the program, the flags, the versions of XLA and the device type; the
folder's name adds a CPU's instruction sets.
"""

from collections.abc import Callable, Iterator
import contextlib
import hashlib
import platform
import tempfile
import zlib

import jax
from jax.experimental.compilation_cache import compilation_cache

from barlow_jax.distributed import exchange
from barlow_jax.io import files, log, paths
from barlow_jax.io.paths import Path

_SUFFIX = "-cache"  # of jax's entries
_MAX_BYTES = 2_000_000_000  # size of the persistent folder; the oldest entries are removed
_MIN_COMPILE_S = 0.1  # programs that compile faster are not cached


@contextlib.contextmanager
def persistent(folder: str | None) -> Iterator[Callable[[], None]]:
    """Use the cache during the block; yield a function that saves new programs to the persistent folder.

    A folder that cannot be read or written does not stop a run. Of several processes, all load the same
    programs or none, because some compilers wait for each other. Only process 0 writes, so they need a shared
    folder. Without a folder, or if the user has set jax's own cache, nothing changes.
    """
    if not folder or jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        yield lambda: None
        return
    store = Path(folder).expanduser() / _machine()
    options = {
        "jax_persistent_cache_min_compile_time_secs": _MIN_COMPILE_S,
        "jax_persistent_cache_enable_xla_caches": "none",  # their path would be part of the key
    }
    before = {name: getattr(jax.config, name) for name in options}
    with tempfile.TemporaryDirectory(prefix="barlow_jax-", ignore_cleanup_errors=True) as name:
        live = Path(name)
        _load(store, live)
        _configure(options | {"jax_compilation_cache_dir": name})
        try:
            yield lambda: _save(live, store)
        finally:
            _save(live, store)
            _configure(before | {"jax_compilation_cache_dir": None})


def _machine() -> str:
    """Return the platform, with the instruction sets of a CPU; jax's key has those of an accelerator."""
    if jax.default_backend() != "cpu":
        return jax.default_backend()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        sets = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        sets = platform.processor()
    return f"cpu-{platform.machine()}-{zlib.crc32(sets.encode()):08x}"


def _configure(options: dict[str, object]) -> None:
    for name, value in options.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def _load(store: Path, live: Path) -> None:
    """Link the intact entries; remove the others."""
    try:
        for path in sorted(store.glob(f"*{_SUFFIX}.*")):
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == path.suffix[1:]:
                _link(path, live / path.stem, content)
            else:
                log.warning(f"removed the damaged compiled program {path}", every_process=True)
                path.unlink(missing_ok=True)
    except OSError as error:
        _warn(store, "read", error)
    names = ",".join(sorted(path.name for path in live.iterdir() if path.is_symlink()))
    checksum = zlib.crc32(names.encode()) >> 1
    if exchange.any_process(checksum != exchange.call_on_first(lambda: checksum)):
        for path in live.glob(f"*{_SUFFIX}"):
            path.unlink()


def _save(live: Path, store: Path) -> None:
    """Move new entries to the persistent folder, and remove its oldest ones."""
    new = [path for path in live.glob(f"*{_SUFFIX}") if not path.is_symlink()]
    if not new or jax.process_index() != 0:
        return
    try:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in new:
            content = path.read_bytes()
            target = store / f"{path.name}.{hashlib.sha256(content).hexdigest()}"
            files.write_bytes(target, content)
            path.unlink()
            _link(target, path, content)
        entries = [(entry.stat(), entry) for entry in store.glob(f"*{_SUFFIX}.*")]
        size = 0
        for stat, entry in sorted(entries, key=lambda pair: -pair[0].st_mtime):
            size += stat.st_size
            if size > _MAX_BYTES:
                entry.unlink(missing_ok=True)
    except OSError as error:
        _warn(store, "written", error)


def _link(entry: Path, name: Path, content: bytes) -> None:
    """Link an entry of the persistent folder; one in a bucket is copied for that."""
    if paths.is_url(entry):
        copies = name.with_name("copies")
        copies.mkdir(exist_ok=True)
        (copies / name.name).write_bytes(content)
        entry = copies / name.name
    with contextlib.suppress(FileExistsError):
        name.symlink_to(entry.absolute())


def _warn(store: Path, operation: str, error: OSError) -> None:
    message = (
        f"the cache of compiled programs in {store} cannot be {operation} ({error.strerror or error}), so a "
        "restart compiles again. Use another folder: --config.train.compilation_cache=DIR."
    )
    log.warning(message, every_process=True)
