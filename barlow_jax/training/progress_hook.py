"""Hook that writes the metrics of a run and shows its progress."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import time

import jax
import tqdm

from barlow_jax.io import log
from barlow_jax.training.diagnostics import DATA_WAIT_FRACTION
from barlow_jax.training.progress import progress_bar
from barlow_jax.types import Metrics, TrainState
from barlow_jax.workdir.metrics import MetricsWriter

_DATA_WAIT = (
    "the devices wait for data {fraction:.0%} of the time. Use more or faster cores on this host "
    "(config.data.threads=0 uses all of them); config.data.augment_on=device, which moves color and blur to "
    "the accelerator; config.data.cache, if memory allows; a larger config.data.prefetch, if the waits come "
    "in bursts; the data set as array_record on a local disk (launch/prepare_data.sh); or a smaller "
    "config.data.image_size."
)


@dataclasses.dataclass
class Progress:
    """Hook that fetches the metrics, writes them as a row, and shows the progress.

    Shows a progress bar on a terminal and in notebooks, and log lines elsewhere. Rates cover the time since
    the previous call. Warns once per run if the devices wait for data, ignoring the first interval, in which
    the input pipeline starts.
    """

    writer: MetricsWriter  # receives each row
    _: dataclasses.KW_ONLY
    first_step: int  # updates done before this start
    num_steps: int  # updates when the run is complete
    batch_size: int
    epoch: Callable[[int], float]  # of a step
    data_wait_s: Callable[[], float]  # seconds that the devices have waited for data so far
    learning_rates: Callable[[int], dict[str, float]]  # of a step, by name
    decode_failures: Callable[[int], int]  # this process's number of them before a step
    # Returns the warnings for a step and its row.
    warnings: Callable[[int, Mapping[str, float]], Sequence[str]] = lambda step, row: ()

    def __post_init__(self) -> None:
        self._last, self._warned = (self.first_step, time.monotonic(), 0.0), False
        self._bar, self._visible = progress_bar(total=self.num_steps, initial=self.first_step, unit="step")

    def __call__(self, done: int, state: TrainState, metrics: Metrics) -> None:
        """Write the row of step `done` and show it."""
        row = {name: float(value) for name, value in jax.device_get(metrics).items()}
        now, (step, since, waited) = time.monotonic(), self._last
        self._last = (done, now, self.data_wait_s())
        seconds = max(now - since, 1e-9)
        # A skipped step does not move the schedule.
        row |= self.learning_rates(max(0, done - 1 - int(row.get("skipped_steps", 0))))
        row["epoch"] = self.epoch(done)
        row["images_per_second"] = (done - step) * self.batch_size / seconds
        row["data_wait_fraction"] = (self._last[2] - waited) / seconds
        row["decode_failures"] = self.decode_failures(done)
        self.writer.write(done, row)
        rate = f"loss {row['loss']:.4g}  {row['images_per_second']:.0f} images/s"
        line = f"{rate}  waiting for data {row['data_wait_fraction']:.0%}"
        self._bar.set_postfix_str(line, refresh=False)
        self._bar.update(done - self._bar.n)
        if not self._visible:
            left = tqdm.tqdm.format_interval((self.num_steps - done) * seconds / max(done - step, 1))
            log.info(f"step {done}/{self.num_steps}  {line}  {left} left")
        data_wait = self._data_wait_warning(step, row["data_wait_fraction"])
        for message in (*data_wait, *self.warnings(done, row)):
            log.warning(message)

    def _data_wait_warning(self, since: int, fraction: float) -> Iterator[str]:
        if since != self.first_step and fraction > DATA_WAIT_FRACTION and not self._warned:
            self._warned = True
            yield _DATA_WAIT.format(fraction=fraction)

    def close(self) -> None:
        """Close the progress bar."""
        self._bar.close()
