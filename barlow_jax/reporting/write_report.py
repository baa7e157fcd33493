"""HTML report of one or more runs."""

from collections.abc import Sequence
import dataclasses
import time
from typing import Any

from barlow_jax.config import overrides as config_trees
from barlow_jax.config.schema import Mesh
from barlow_jax.errors import RunError, UserError
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import log
from barlow_jax.io.paths import Path, PathLike
from barlow_jax.reporting import load_run, page, schema
from barlow_jax.reporting.inspect_model import inspect_model
from barlow_jax.workdir import saved_run


def write_report(
    workdirs: Sequence[Path],
    out: PathLike | None = None,
    *,
    device_hour_price: float | None = None,
    images: bool = True,
    overrides: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Write the report of all runs, by their own configs; only the model of the first is inspected.

    Returns:
      `out`, `bytes`, `runs` (names), `sections`, `snapshots` (inspected steps), `seconds`.
    """
    started = time.monotonic()
    out = Path(out) if out else workdirs[0] / "report.html"
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out: needs a file that ends in .html, got {out}")
    runs = [load_run.read_run(path) for path in workdirs]
    inspection, reason = _inspect(runs[0], images, overrides)
    written = page.write(runs, inspection, out, device_hour_price=device_hour_price, missing_reason=reason)
    log.info(f"report: {out} ({written['bytes'] / 1e6:.1f} MB)")
    return written | {
        "snapshots": [snapshot.step for snapshot in inspection.snapshots] if inspection else [],
        "seconds": round(time.monotonic() - started, 1),
    }


def _inspect(
    run: schema.Run, images: bool, changes: Sequence[tuple[str, str]]
) -> tuple[schema.ModelInspection | None, str | None]:
    """Return the inspection; or None and the reason, which is also logged.

    Raises:
      UserError: an override is invalid.
    """
    if not images:
        return None, "Left out by --no-images."
    if not run.config:
        return None, "Not available: the run's config.json cannot be read."
    tree, _ = saved_run.with_defaults(saved_run.saved_config(run.workdir))
    if problems := config_trees.apply_overrides(tree, changes):
        raise UserError(problems[0])
    config, _ = config_trees.from_tree(tree)
    config = dataclasses.replace(config, mesh=Mesh())  # of this machine
    try:
        return inspect_model(Experiment.from_config(config), run.workdir), None
    except (UserError, RunError, OSError) as error:
        log.warning(f"the report leaves out the model inspection: {error}")
        log.info("If the data set is in another folder, pass --config.data.data_dir=...")
        return None, f"Not available: {error}"
