"""Hook that writes the metrics of a run and shows its progress."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import sys
import time

import jax
import tqdm

from barlow_jax.training.diagnostics import WAIT_SHARE
from barlow_jax.types import Metrics, TrainState
from barlow_jax.workdir.metrics import MetricsWriter

_STARVING = (
    "warning: the devices wait for data {share:.0%} of the time. What helps: more or faster cores on this host "
    "(config.data.threads=0 uses all of them); config.data.augment_on=device, which leaves colour and blur to "
    "the accelerator; config.data.cache, where memory allows; a larger config.data.prefetch, where the waits come "
    "in bursts; the data set on a local disk as array_record (launch/prepare_data.sh); a smaller "
    "config.data.image_size"
)


class Progress:
    """A hook: every `log_every_steps` it fetches the metrics, writes them, and shows where the run is.

    A progress bar on a terminal, a plain line elsewhere. Rates are over the time since the last line. One
    warning a run, with the remedies, when the devices wait for data; the first interval does not count, in
    which the pipeline starts.
    """

    def __init__(
        self,
        writer: MetricsWriter,
        *,
        first_step: int,
        num_steps: int,
        batch_size: int,
        steps_per_epoch: int,
        waited: Callable[[], float],
        rates: Callable[[int], dict[str, float]],
        decode_failures: Callable[[int], int],
        signs: Callable[[int, Mapping[str, float]], Sequence[str]] = lambda step, row: (),
    ):
        """Args:
        writer: gets each row.
        first_step: updates done before this start.
        num_steps: updates when the run is done.
        batch_size: images a step.
        steps_per_epoch: for the epoch in the row.
        waited: seconds that the devices have waited for data so far.
        rates: learning rates of a step.
        broken: images that could not be decoded in so many steps, of this process.
        signs: warnings that a step and its row give rise to.
        """
        self._writer, self._waited, self._rates, self._broken = writer, waited, rates, decode_failures
        self._signs = signs
        self._num_steps, self._batch_size = num_steps, batch_size
        self._steps_per_epoch = steps_per_epoch
        self._last = (first_step, time.monotonic(), 0.0)
        self._first_step, self._warned = first_step, False
        terminal = sys.stderr.isatty()
        show = jax.process_index() == 0
        self._bar = tqdm.tqdm(
            total=num_steps, initial=first_step, unit="step", file=sys.stderr, disable=not (show and terminal)
        )
        self._plain = show and not terminal

    def __call__(self, done: int, state: TrainState, metrics: Metrics) -> None:
        del state
        row = {name: float(value) for name, value in jax.device_get(metrics).items()}
        now, (step, since, waited) = time.monotonic(), self._last
        self._last = (done, now, self._waited())
        seconds = max(now - since, 1e-9)
        # A skipped step does not move the schedule.
        row |= self._rates(max(0, done - 1 - int(row.get("skipped_steps", 0))))
        row["epoch"] = done / self._steps_per_epoch
        row["images_per_second"] = (done - step) * self._batch_size / seconds
        row["data_wait_fraction"] = (self._last[2] - waited) / seconds
        row["decode_failures"] = self._broken(done)
        self._writer.write(done, row)
        rate = f"loss {row['loss']:.4g}  {row['images_per_second']:.0f} images/s"
        line = f"{rate}  waiting for data {row['data_wait_fraction']:.0%}"
        self._bar.set_postfix_str(line, refresh=False)
        self._bar.update(done - self._bar.n)
        if self._plain:
            left = (self._num_steps - done) * seconds / max(done - step, 1)
            clock = tqdm.tqdm.format_interval(left)
            print(f"step {done}/{self._num_steps}  {line}  {clock} left", file=sys.stderr, flush=True)

        warnings = [*self._starving(step, row["data_wait_fraction"]), *self._signs(done, row)]
        if jax.process_index() == 0:
            for words in warnings:
                tqdm.tqdm.write(words, file=sys.stderr)

    def _starving(self, since: int, share: float) -> Iterator[str]:
        if since != self._first_step and share > WAIT_SHARE and not self._warned:
            self._warned = True
            yield _STARVING.format(share=share)

    def close(self) -> None:
        self._bar.close()
