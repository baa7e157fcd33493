"""Output of a command: one line of JSON on standard output, everything else on standard error."""

from collections.abc import Iterator
import contextlib
import json
import os
import pathlib
import sys
from typing import Any

from barlow_jax.io import files
from barlow_jax.workdir.results import results_file


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
            files.write_json(results_file(pathlib.Path(workdir), name, results), results)
        print(json.dumps(results), flush=True)
