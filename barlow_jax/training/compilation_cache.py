"""Compiled programs that outlive the process: what a restart loads, it need not compile.

jax keeps such a cache itself, and trusts it: a file that is half written (by a process that was killed) or that has
another bit is loaded as it is, or shadows the good one for good; it is machine code. So jax gets a folder of this
process's own. What is in the lasting folder has its SHA-256 in its name, is linked into the process's folder only if
it has not changed, and comes to be by a rename.

The lasting folder belongs to the user, not to the workdir: a workdir may come from others, and holds data, never code.
jax's key has the program, the flags, the versions of XLA and the kind of device; a CPU's instruction sets we add.
"""

from collections.abc import Callable, Iterator
import contextlib
import os
import pathlib
import platform
import sys
import tempfile
import zlib

import jax
from jax.experimental.compilation_cache import compilation_cache

from barlow_jax.distributed import exchange
from barlow_jax.io import checksums

_SUFFIX = "-cache"  # of jax's entries
_MOST_BYTES = 2_000_000_000  # that stay in the lasting folder; the oldest go
_SECONDS = 0.1  # that a program takes to compile to be worth a file


@contextlib.contextmanager
def kept(folder: str | None) -> Iterator[Callable[[], None]]:
    """jax's cache for the time of the block; yields what puts new programs into the lasting folder.

    Nothing that is wrong with the folder stops a run. Several processes all load the same programs, or none:
    some compilers wait for each other. Process 0 alone writes; so theirs must be one folder that all see.

    Args:
      folder: the lasting one; None, or where the user has set jax's own cache, leaves all as it is.
    """
    if not folder or jax.config.jax_compilation_cache_dir:
        yield lambda: None
        return
    store = pathlib.Path(folder).expanduser() / _machine()
    options = {
        "jax_persistent_cache_min_compile_time_secs": _SECONDS,
        "jax_persistent_cache_enable_xla_caches": "none",  # their path would be part of the key
    }
    before = {name: getattr(jax.config, name) for name in options}
    with tempfile.TemporaryDirectory(prefix="barlow_jax-", ignore_cleanup_errors=True) as name:
        live = pathlib.Path(name)
        _load(store, live)
        _configure(options | {"jax_compilation_cache_dir": name})
        try:
            yield lambda: _keep(live, store)
        finally:
            _keep(live, store)
            _configure(before | {"jax_compilation_cache_dir": None})


def _machine() -> str:
    """What a program that was compiled for the CPU runs on; one for an accelerator says that itself."""
    if jax.default_backend() != "cpu":
        return jax.default_backend()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        sets = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        sets = platform.processor()
    return f"cpu-{platform.machine()}-{zlib.crc32(sets.encode()):08x}"


def _configure(options: dict[str, object]) -> None:
    for name, value in options.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def _load(store: pathlib.Path, live: pathlib.Path) -> None:
    """Links the entries that are what was written; removes the others."""
    try:
        for path in sorted(store.glob(f"*{_SUFFIX}.*")):
            if checksums.sha256(path) == path.suffix[1:]:
                with contextlib.suppress(FileExistsError):
                    (live / path.stem).symlink_to(path.absolute())
            else:
                print(f"{path} is damaged: it is removed, and compiled again", file=sys.stderr)
                path.unlink(missing_ok=True)
    except OSError as error:
        _say(store, "read", error)
    names = ",".join(sorted(path.name for path in live.iterdir()))
    here = zlib.crc32(names.encode()) >> 1
    if exchange.any_process(here != exchange.call_on_first(lambda: here)):
        for path in live.iterdir():
            path.unlink()


def _keep(live: pathlib.Path, store: pathlib.Path) -> None:
    """Moves new entries to the lasting folder, and lets the oldest of it go."""
    new = [path for path in live.glob(f"*{_SUFFIX}") if not path.is_symlink()]
    if not new or jax.process_index() != 0:
        return
    try:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in new:
            draft = store / f".{path.name}.{os.getpid()}"
            try:
                draft.write_bytes(path.read_bytes())
                target = store / f"{path.name}.{checksums.sha256(draft)}"
                os.replace(draft, target)
            finally:
                draft.unlink(missing_ok=True)
            path.unlink()
            path.symlink_to(target.absolute())
        entries = [(entry.stat(), entry) for entry in store.glob(f"*{_SUFFIX}.*")]
        size = 0
        for stat, entry in sorted(entries, key=lambda pair: -pair[0].st_mtime):
            size += stat.st_size
            if size > _MOST_BYTES:
                entry.unlink(missing_ok=True)
    except OSError as error:
        _say(store, "written", error)


def _say(store: pathlib.Path, what: str, error: OSError) -> None:
    print(
        f"warning: {store}, where compiled programs are kept, cannot be {what} ({error.strerror or error}): a restart "
        "compiles again. Another folder: --config.train.compilation_cache=DIR",
        file=sys.stderr,
    )
