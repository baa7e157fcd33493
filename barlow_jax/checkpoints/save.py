"""Save checkpoints with Orbax: asynchronously, with checksums, tolerating a full or temporarily missing disk.

A failed save does not stop a run: each failure is logged, and the next save tries again. After a failure in
the background, Orbax's manager reports it at the next call, forgets existing checkpoints and leaves partial
files behind; so that manager is discarded, and the next save opens a new one.
"""

from collections.abc import Callable, Mapping, Sequence
import contextlib
from typing import Any

from absl import logging as absl_logging
import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from barlow_jax.checkpoints import verify
from barlow_jax.checkpoints.barrier import FailedElsewhere, SaveBarrier
from barlow_jax.distributed import exchange
from barlow_jax.errors import RunError
from barlow_jax.io import checksums, files, log, paths
from barlow_jax.io.paths import Path
from barlow_jax.types import TrainState
from barlow_jax.workdir import saved_run
from barlow_jax.workdir.saved_run import CHECKPOINTS as FOLDER


class Saver:
    """Writer of a workdir's checkpoints, one folder per step."""

    def __init__(
        self,
        workdir: str,
        *,
        keep_newest: int = 2,
        keep_every_steps: int | None = None,
        read_only: bool = False,
    ):
        """Open the checkpoints of a workdir.

        Args:
            workdir: workdir of the run; its folder `checkpoints` is used.
            keep_newest: number of newest checkpoints to keep; with 1, a damaged one has no predecessor.
            keep_every_steps: checkpoints of multiples of this step are kept for good.
            read_only: change nothing, so that the checkpoints of a running process can be read.
        """
        self._barrier = SaveBarrier()
        self.best_step: int | None = None  # kept too
        self.before_commit: Callable[[], None] = lambda: None  # on process 0; if it raises, the save fails
        policies = [checkpoint_managers.LatestN(keep_newest), _KeepBest(self)]
        if keep_every_steps:
            policies.append(checkpoint_managers.EveryNSteps(keep_every_steps))
        self._options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            # The caller decides when to save; by default the manager would skip saves by its own interval.
            save_decision_policy=checkpoint_managers.FixedIntervalPolicy(1),
            cleanup_tmp_directories=not read_only,
            create=not read_only,
            save_interval_steps=0 if read_only else 1,
            read_only=read_only,
            # The callback runs in the background, on process 0, after all files are written and before the
            # folder gets its final name: a checkpoint never appears unread or without its checksums.
            async_options=ocp.AsyncOptions(
                post_finalization_callback=self._check_and_sum, barrier_sync_fn=self._barrier
            ),
        )
        self._workdir = Path(paths.absolute(workdir))
        self._saving = -1  # step of the save under way, -1 without one
        self._abstract: Any = None  # shapes and dtypes of its arrays
        self._unsaved: tuple[int, str] | None = None  # step and reason of the last save, if it failed
        self._failed: set[int] = set()  # steps of all saves that failed
        self._manager: ocp.CheckpointManager | None = self._open()

    def _open(self) -> ocp.CheckpointManager:
        verbosity = absl_logging.get_verbosity()
        if self._options.read_only:  # Orbax would log a warning about that
            absl_logging.set_verbosity(absl_logging.ERROR)
        try:
            return ocp.CheckpointManager(verify.for_orbax(self._workdir / FOLDER), options=self._options)
        finally:
            absl_logging.set_verbosity(verbosity)

    @property
    def steps(self) -> Sequence[int]:
        """Steps of the checkpoints that exist or are being saved."""
        if self._manager is None:
            return saved_run.checkpoint_steps(self._workdir)
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState) -> None:
        """Start saving a complete state; see `save_parts`."""
        self.save_parts(int(state.step), state.nonempty_fields())

    def save_parts(self, step: int, parts: Mapping[str, Any]) -> None:
        """Start saving named trees of arrays; return once they are copied off the devices.

        A step that exists is not saved again. A failure is logged as a warning, here or when it is noticed:
        in `check_save`, the next `save` or `close`. Older checkpoints stay, and the next save tries again.
        """
        if self._manager is not None and step in self.steps:
            return
        self.wait()
        reason = None
        try:
            self._start(step, parts)
        except Exception as error:  # the file system, Orbax and TensorStore raise different types
            reason = verify.reason(error)
            self._barrier.fail()
        self._conclude(step, reason, together=True)

    def _start(self, step: int, parts: Mapping[str, Any]) -> None:
        # Orbax would fill the disk to the last byte; and without the folder its threads deadlock.
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(parts))
        exchange.call_on_first(lambda: files.check_free_space(self._workdir / FOLDER, size) or 0)
        self._manager = self._manager or self._open()
        if step not in self.steps:  # a discarded manager may have saved it
            shape = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), dict(parts))
            self._saving, self._abstract = step, shape
            self._barrier.begin()
            self._manager.save(step, args=ocp.args.StandardSave(dict(parts)))

    @property
    def is_saving(self) -> bool:
        """True if a save was under way at the last check."""
        return self._saving >= 0

    def check_save(self) -> None:
        """Log a failure in the background, without waiting. Several processes notice it at the next save."""
        if self._saving >= 0 and jax.process_count() == 1 and not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self, *, together: bool = True) -> None:
        """Wait for the save under way; `together`: all processes do so, and fail if one fails."""
        if self._saving < 0:
            return
        reason = None
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            while isinstance(error, FailedElsewhere) and error.__context__ is not None:
                error = error.__context__  # the failure on this process that caused it
            reason = verify.reason(error)
        step, self._saving = self._saving, -1
        if self._conclude(step, reason, together=together):
            self._unsaved = None

    def _conclude(self, step: int, reason: str | None, *, together: bool) -> bool:
        """Return whether the save succeeded here and, if `together`, on all processes; else abandon it."""
        if together and exchange.any_process(reason is not None):
            reason = reason or str(FailedElsewhere())
        if reason is not None:
            self._abandon(step, reason)
        return reason is None

    def _abandon(self, step: int, reason: str) -> None:
        self._saving, self._unsaved = -1, (step, reason)
        self._failed.add(step)
        log.warning(
            f"the checkpoint of step {step} is NOT saved: {reason}. Training continues, older checkpoints "
            "stay, and the next save tries again. Free disk space, or make the workdir writable.",
            every_process=True,
        )
        manager, self._manager = self._manager, None
        with contextlib.suppress(Exception):  # it raises the same error again
            if manager is not None:
                manager.close()
        self._remove_drafts()

    def _remove_drafts(self) -> None:
        """Remove what failed saves left; their threads may have written more since the last time."""
        for step in self._failed if jax.process_index() == 0 else ():
            with contextlib.suppress(OSError):
                for draft in self._drafts(step):
                    paths.remove_folder(draft)

    def _drafts(self, step: int) -> Sequence[Path]:
        """Return Orbax's temporary folders of a step; in a bucket, its folder as long as it is incomplete."""
        folder = self._workdir / FOLDER
        if paths.is_url(folder):
            return [] if step in saved_run.checkpoint_steps(self._workdir) else [folder / str(step)]
        return sorted(folder.glob(f"{step}.*"))

    def _check_and_sum(self) -> None:
        folder = [self._workdir / FOLDER / str(self._saving), *self._drafts(self._saving)][-1]
        self.before_commit()
        verify.check_saved(folder, self._abstract)
        checksums.write(folder, exclude=verify.WITHOUT_CHECKSUM)

    def close(self, *, together: bool = True) -> None:
        """Wait for the save under way, and close the checkpoints.

        Raises:
          RunError: the last save failed.
        """
        self.wait(together=together)
        if self._manager is not None:
            self._manager.close()
        self._remove_drafts()
        if self._unsaved is not None:
            step, reason = self._unsaved
            newest = max(saved_run.checkpoint_steps(self._workdir), default="none")
            raise RunError(
                f"the checkpoint of step {step} is not saved: {reason}. Newest checkpoint: {newest}. Free "
                f"disk space, or make {self._workdir} writable, and run the same command again."
            )


class _KeepBest(checkpoint_managers.PreservationPolicy):
    """Orbax policy that preserves the checkpoint of `Saver.best_step`, and that of step 0."""

    def __init__(self, saver: Saver):
        self._saver = saver

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        return [checkpoint.step in (0, self._saver.best_step) for checkpoint in checkpoints]
