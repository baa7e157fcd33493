"""Files of results in a workdir."""

from collections.abc import Mapping
import hashlib
import json
from typing import Any

from barlow_jax.io import files
from barlow_jax.io.paths import Path
from barlow_jax.papers.scores import data_identity, measured_on
from barlow_jax.workdir import saved_run


def read(workdir: Path) -> tuple[dict[str, dict[str, Any]], dict[Path, str]]:
    """Return the content of each file by its name without `.json`, and what is wrong with damaged files."""
    results, damaged = {}, {}
    for path in sorted((workdir / "results").glob("*.json")):
        try:
            result = files.read_json(path)
            if not isinstance(result, dict):
                raise ValueError(f"expected an object, got {type(result).__name__}")
            results[path.stem] = result
        except (OSError, ValueError) as error:
            damaged[path] = str(error)
    return results, damaged


def results_file(workdir: Path, name: str, results: Mapping[str, Any]) -> Path:
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
