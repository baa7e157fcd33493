"""Hook that writes the metrics of a run and shows its progress."""

import time

import jax
import tqdm

from barlow_jax.experiment.run import Run
from barlow_jax.io import log
from barlow_jax.training.diagnostics import DATA_WAIT_FRACTION, CollapseWarner
from barlow_jax.training.progress import progress_bar
from barlow_jax.types import Metrics, TrainState

_DATA_WAIT = (
    "the devices wait for data {fraction:.0%} of the time. Use more or faster cores on this host "
    "(config.data.threads=0 uses all of them); config.data.augment_on=device, which moves color and blur to "
    "the accelerator; config.data.cache, if memory allows; a larger config.data.prefetch, if the waits come "
    "in bursts; the data set as array_record on a local disk (launch/prepare_data.sh); or a smaller "
    "config.data.image_size."
)


class Progress:
    """Hook that fetches the metrics, writes them as a row, and shows the progress.

    Shows a progress bar on a terminal and in notebooks, and log lines elsewhere. Rates cover the time since
    the previous call. Warns of a collapse, and once per run if the devices wait for data, ignoring the first
    interval, in which the input pipeline starts.
    """

    def __init__(self, run: Run):
        self._run, self._warned = run, False
        self._last = (run.first_step, time.monotonic(), 0.0)
        self._learning_rates = run.experiment.learning_rates(run.sampler)
        self._collapse = CollapseWarner(run.flat_config, run.sampler.steps_per_epoch)
        self._bar, self._visible = progress_bar(total=run.num_steps, initial=run.first_step, unit="step")

    def __call__(self, done: int, state: TrainState, metrics: Metrics) -> None:
        """Write the row of step `done` and show it."""
        run, row = self._run, {name: float(value) for name, value in jax.device_get(metrics).items()}
        now, (step, since, waited) = time.monotonic(), self._last
        self._last = (done, now, run.prefetcher.wait_s)
        seconds = max(now - since, 1e-9)
        # A skipped step does not move the schedule.
        updates = max(0, done - 1 - int(row.get("skipped_steps", 0)))
        row |= {f"learning_rate_{name}": float(rate(updates)) for name, rate in self._learning_rates.items()}
        row["epoch"] = run.sampler.epoch(done)
        row["images_per_second"] = (done - step) * run.sampler.batch_size / seconds
        row["data_wait_fraction"] = (self._last[2] - waited) / seconds
        row["decode_failures"] = run.source.decode_failures.count_before(done)
        run.writer.write(done, row)
        rate = f"loss {row['loss']:.4g}  {row['images_per_second']:.0f} images/s"
        line = f"{rate}  waiting for data {row['data_wait_fraction']:.0%}"
        self._bar.set_postfix_str(line, refresh=False)
        self._bar.update(done - self._bar.n)
        if not self._visible:
            left = tqdm.tqdm.format_interval((run.num_steps - done) * seconds / max(done - step, 1))
            log.info(f"step {done}/{run.num_steps}  {line}  {left} left")
        if step != run.first_step and row["data_wait_fraction"] > DATA_WAIT_FRACTION and not self._warned:
            self._warned = True
            log.warning(_DATA_WAIT.format(fraction=row["data_wait_fraction"]))
        # With the rank of the embeddings, which the monitor has measured.
        for message in self._collapse(done, {**run.writer.latest, **row}):
            log.warning(message)

    def close(self) -> None:
        """Close the progress bar."""
        self._bar.close()
