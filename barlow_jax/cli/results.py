"""Output of a command: one line of JSON on standard output, everything else on standard error."""

from collections.abc import Iterator
import contextlib
import json
import os
import shutil
import subprocess
import sys
from typing import Any

from barlow_jax.io import files
from barlow_jax.io.paths import Path
from barlow_jax.workdir.results import results_file

# libjpeg's notes on damaged images, without their names; a decode failure is logged with its name.
_NOTES = "^(Corrupt JPEG data|Premature end of JPEG file|Invalid JPEG|Unsupported marker type|libpng warning)"


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Redirect standard output to standard error, also from C++: standard output is for the results."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def publish(results: dict[str, Any], workdir: str | None, name: str) -> None:
    """Print the results on process 0; if workdir and name are given, also write them to `results_file`."""
    jax = sys.modules.get("jax")  # not imported by `status`, which starts at once
    if jax is None or jax.process_index() == 0:
        if name and workdir:
            files.write_json(results_file(Path(workdir), name, results), results)
        print(json.dumps(results), flush=True)


@contextlib.contextmanager
def without_codec_notes() -> Iterator[None]:
    """Drop the notes of image codecs from the file descriptor of standard error during the block.

    The rest passes through grep, a process of its own: the last words of a process that crashes still arrive.
    Python's own `sys.stderr` writes past it, so that progress bars are not held back. Without grep nothing
    changes.
    """
    grep = shutil.which("grep")
    if grep is None:
        yield
        return
    stderr = os.dup(2)
    program = [grep, "-a", "--line-buffered", "-v", "-E", _NOTES]
    environment = os.environ | {"LC_ALL": "C"}
    # A session of its own: Ctrl-C is for this process alone.
    child = subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=stderr, stderr=stderr, env=environment, start_new_session=True
    )
    sys.stderr.flush()
    os.dup2(child.stdin.fileno(), 2)
    with open(os.dup(stderr), "w", buffering=1, errors="backslashreplace") as direct:
        try:
            with contextlib.redirect_stderr(direct if sys.stderr is sys.__stderr__ else sys.stderr):
                yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            child.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):  # a child process may still hold the pipe
                child.wait(timeout=1)
