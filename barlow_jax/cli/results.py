"""Output of a command: one line of JSON on standard output, everything else on standard error."""

from collections.abc import Iterator, Mapping
import contextlib
import hashlib
import json
import os
import pathlib
import sys
from typing import Any

from barlow_jax.io import files
from barlow_jax.papers.scores import data_identity, measured_on
from barlow_jax.workdir import saved_run


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


def results_file(workdir: pathlib.Path, name: str, results: Mapping[str, Any]) -> pathlib.Path:
    """Return `<workdir>/results/NAME.json`; for other images or another encoder `NAME@DATA-DIGEST.json`.

    The images of the run's config have the plain name. Without a run, and for `transfer`, the first result
    has it, and only results for the same images and the same encoder replace that.
    """
    plain = workdir / "results" / f"{name}.json"
    measured = measured_on(results)
    if measured is None:
        return plain
    run, own = saved_run.saved_config(workdir), measured
    if run and "data" in measured:
        own = {"encoder": None, "data": data_identity(saved_run.with_defaults(run)[0]["data"])}
    elif plain.is_file():
        own = measured_on(files.read_json(plain))
    if measured == own:
        return plain
    images = [value["name"] for key, value in measured.items() if key != "encoder"]
    digest = hashlib.sha256(json.dumps(measured, sort_keys=True).encode()).hexdigest()[:8]
    return plain.with_name(f"{name}@{'+'.join(images).replace('/', '_')}-{digest}.json")
