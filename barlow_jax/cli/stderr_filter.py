"""Filter of standard error for what C libraries print past Python."""

from collections.abc import Iterator
import contextlib
import os
import shutil
import subprocess
import sys

# libjpeg's notes on damaged images, without their names; a decode failure is logged with its name.
_NOTES = "^(Corrupt JPEG data|Premature end of JPEG file|Invalid JPEG|Unsupported marker type|libpng warning)"


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
