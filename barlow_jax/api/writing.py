"""Export, report and cost estimate."""

from collections.abc import Sequence
import os

from barlow_jax.api.opened import locate
from barlow_jax.config.schema import Config
from barlow_jax.config.validation import Facts, validate
from barlow_jax.errors import UserError
from barlow_jax.experiment import cost_estimate, exporting
from barlow_jax.experiment.cost_estimate import CostEstimate
from barlow_jax.interop import formats
from barlow_jax.io import paths
from barlow_jax.io.paths import Path, PathLike
from barlow_jax.planning.tpu import Topology
from barlow_jax.reporting.write_report import write_report


def export(
    run: PathLike,
    out: PathLike,
    *,
    format: str = "orbax",
    checkpoint: str | int = "newest",
    license: str = "other",
) -> Path:
    """Write the encoder in the format of another tool; the lines of code that load it are logged.

        export("runs/digits", "exported", format="torchvision")

    Args:
      run: the run, or its workdir or an encoder folder.
      out: folder to write, new or empty.
      format: name of the format, one of those of the command `export`.
      checkpoint: "newest", "best" (by config.monitor.select_by) or a step.
      license: license of the weights, for the model card.

    Returns:
      The folder.

    Raises:
      UserError: an argument is wrong, the checkpoint is missing or damaged, or the format does not fit the
        encoder.
    """
    where = paths.text(out)
    if problems := formats.problems(format, where, str(checkpoint)):
        raise UserError.from_problems(problems)
    (workdir, config), folder = locate(run), Path(where)
    exporting.export(config, workdir, folder, format=format, checkpoint=str(checkpoint), license=license)
    return folder


def report(
    runs: PathLike | Sequence[PathLike],
    out: PathLike | None = None,
    *,
    device_hour_price: float | None = None,
    images: bool = True,
) -> Path:
    """Write an HTML report of one or more runs: health, quality, cost, and an inspection of the first.

        report(["runs/a", "runs/b"], "comparison.html")

    Args:
      runs: the run, or several, or their workdirs.
      out: .html file; None = report.html in the (first) workdir.
      device_hour_price: price of a device per hour, 0 or more; None = no price is shown.
      images: whether data set and checkpoints are read, which takes a minute.

    Returns:
      The file.

    Raises:
      UserError: `out` is no .html file, or a folder holds no run.
    """
    if device_hour_price is not None and not 0 <= device_hour_price < float("inf"):
        raise UserError(f"device_hour_price is {device_hour_price}, but must be a number >= 0.")
    several = [runs] if isinstance(runs, str | os.PathLike | Path) else list(runs)
    workdirs = [locate(run)[0] for run in several]
    written = write_report(workdirs, out, device_hour_price=device_hour_price, images=images)
    return Path(written["out"])


def plan(
    config: Config, topology: str, *, part: str = "step", images_per_chip: int | None = None
) -> CostEstimate:
    """Compile the train step for TPU chips that need not exist; estimate its memory and time.

        plan(configs.imagenet(), "v5e:8x8").values["step_s"]

    Args:
      config: config of the run.
      topology: GENERATION:AxB[xC][*SLICES], such as v5e:8x8.
      part: "step" (whole), "head" (from representations on) or "loss", which compiles in seconds.
      images_per_chip: sets the batch size to so many per chip; None = config.train.batch_size.

    Returns:
      The estimate; `fits` is False if the step does not fit into the memory of the chips.

    Raises:
      UserError: the topology does not exist or does not suit the config, or libtpu is not installed.
    """
    if part not in ("step", "head", "loss"):
        raise UserError(f"part is {part!r}. Choose from step, head, loss.")
    chips = Topology.parse(topology)
    if images_per_chip is not None:
        config = config.replace({"train.batch_size": images_per_chip * chips.num_chips})
    if problems := validate(config, Facts(chips.num_chips)):
        raise UserError.from_problems(problems)
    values = cost_estimate.plan(config, chips, part)
    return CostEstimate(values["fits"], values)
