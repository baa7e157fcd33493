"""Saves by Orbax: async, with digests, a policy of what stays, and a disk that may be full or away for a while.

A save that fails is no reason to stop a run that is worth saving: it is said each time, and tried again. Orbax's
manager tells of a failure in the background at the next call, forgets checkpoints that are there, and leaves what it
wrote; so a failed one is given up, and the next save makes another.
"""

from collections.abc import Mapping, Sequence
import contextlib
import pathlib
import shutil
import sys
from typing import Any

from absl import logging
import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers
import tqdm

from barlow_jax.checkpoints import verification
from barlow_jax.checkpoints.barrier import FailedElsewhere, SaveBarrier
from barlow_jax.distributed import exchange
from barlow_jax.errors import RunError
from barlow_jax.io import checksums, files
from barlow_jax.types import TrainState
from barlow_jax.workdir import saved_run
from barlow_jax.workdir.saved_run import CHECKPOINTS as FOLDER


class Saver:
    """Writes the checkpoints of a workdir, one folder a step."""

    def __init__(
        self,
        workdir: str,
        *,
        keep_newest: int = 2,
        keep_every_steps: int | None = None,
        read_only: bool = False,
    ):
        """Args:
        workdir: of the run; checkpoints are in its folder `checkpoints`.
        keep_newest: how many of the newest stay; with one alone there is none to go back to if it is damaged.
        keep_every_steps: multiples of this stay for good.
        read_only: leaves everything as it is, so that a run that is still going on can be looked at.
        """
        self._barrier = SaveBarrier()
        policies = [checkpoint_managers.LatestN(keep_newest)]
        if keep_every_steps:
            policies.append(checkpoint_managers.EveryNSteps(keep_every_steps))
        self._options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            # pretrain decides when; the manager would otherwise skip saves by its own interval.
            save_decision_policy=checkpoint_managers.FixedIntervalPolicy(1),
            cleanup_tmp_directories=not read_only,
            create=not read_only,
            save_interval_steps=0 if read_only else 1,
            read_only=read_only,
            # In the background, on process 0, when all files are written and the folder does not yet have its
            # name: a checkpoint and its digests are there at once.
            async_options=ocp.AsyncOptions(
                post_finalization_callback=self._write_digests, barrier_sync_fn=self._barrier
            ),
        )
        self._workdir = pathlib.Path(workdir).absolute()
        self._saving = -1  # the step of the save under way
        self._unsaved: tuple[int, str] | None = None  # the step of the last save, if it failed, and why
        self._manager: ocp.CheckpointManager | None = self._open()

    def _open(self) -> ocp.CheckpointManager:
        verbosity = logging.get_verbosity()
        if self._options.read_only:  # Orbax would warn that it is
            logging.set_verbosity(logging.ERROR)
        try:
            return ocp.CheckpointManager(self._workdir / FOLDER, options=self._options)
        finally:
            logging.set_verbosity(verbosity)

    @property
    def steps(self) -> Sequence[int]:
        """Of the checkpoints that are there, or are being saved."""
        if self._manager is None:
            return saved_run.checkpoint_steps(self._workdir)
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState) -> None:
        """`save_parts` of a whole state."""
        self.save_parts(int(state.step), state.parts())

    def save_parts(self, step: int, parts: Mapping[str, Any]) -> None:
        """Starts saving named trees of arrays; returns once they are copied off the devices. A step is saved once.

        A failure is a warning, here or when it is noticed: `look`, the next `save`, `close`. All older checkpoints
        are there then, and the next save tries again.
        """
        if self._manager is not None and step in self.steps:
            return
        self._settle()
        why = None
        try:
            self._start(step, parts)
        except Exception as error:  # of the file system, of Orbax, of TensorStore: of any kind
            why = verification.reason(error)
            self._barrier.fail()
        self._conclude(step, why, together=True)

    def _start(self, step: int, parts: Mapping[str, Any]) -> None:
        """Raises whatever keeps it from being saved."""
        # Orbax would fill the disk to its last byte; and without the folder its threads wait for each other.
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(parts))
        exchange.call_on_first(lambda: files.check_free_space(self._workdir / FOLDER, size) or 0)
        self._manager = self._manager or self._open()
        if step not in self.steps:  # of a manager that was given up
            self._saving = step
            self._barrier.begin()
            self._manager.save(step, args=ocp.args.StandardSave(dict(parts)))

    @property
    def saving(self) -> bool:
        """Whether a save is under way, so far as it was looked."""
        return self._saving >= 0

    def look(self) -> None:
        """Says that a save failed in the background; waits for nothing. Several processes see that at the next save."""
        if self._saving >= 0 and jax.process_count() == 1 and not self._manager.is_saving_in_progress():
            self._settle()

    def _settle(self, *, together: bool = True) -> None:
        """Waits for the save that is under way. `together`: all processes do, and give up alike."""
        if self._saving < 0:
            return
        why = None
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            while isinstance(error, FailedElsewhere) and error.__context__ is not None:
                error = error.__context__  # what failed here, before all were told
            why = verification.reason(error)
        step, self._saving = self._saving, -1
        if self._conclude(step, why, together=together):
            self._unsaved = None

    def _conclude(self, step: int, why: str | None, *, together: bool) -> bool:
        """Whether all went well, here and, if `together`, on all processes; otherwise the save is given up."""
        if together and exchange.any_process(why is not None):
            why = why or str(FailedElsewhere())
        if why is not None:
            self._give_up(step, why)
        return why is None

    def _give_up(self, step: int, why: str) -> None:
        self._saving, self._unsaved = -1, (step, why)
        tqdm.tqdm.write(
            f"WARNING: the checkpoint of step {step} is NOT saved: {why}. The run goes on, older checkpoints stay, "
            "and the next save tries again: make room, or make the workdir writable",
            file=sys.stderr,
        )
        manager, self._manager = self._manager, None
        with contextlib.suppress(Exception):  # it says the same again
            if manager is not None:
                manager.close()
        with contextlib.suppress(OSError):
            for draft in self._drafts(step) if jax.process_index() == 0 else ():
                shutil.rmtree(draft, ignore_errors=True)

    def _drafts(self, step: int) -> Sequence[pathlib.Path]:
        """Orbax's folders of a step that have not got its name yet."""
        return sorted((self._workdir / FOLDER).glob(f"{step}.*"))

    def _write_digests(self) -> None:
        folder = self._workdir / FOLDER
        checksums.write(
            [folder / str(self._saving), *self._drafts(self._saving)][-1], exclude=verification.UNDIGESTED
        )

    def close(self, *, together: bool = True) -> None:
        """Waits for the save that is under way.

        Raises:
          RunError: the last save failed, this one or the one before it.
        """
        self._settle(together=together)
        if self._manager is not None:
            self._manager.close()
        if self._unsaved is not None:
            step, why = self._unsaved
            newest = max(saved_run.checkpoint_steps(self._workdir), default="none")
            raise RunError(
                f"the checkpoint of step {step} is not saved: {why}. The newest that is there: {newest}. Make room, or "
                f"make {self._workdir} writable, and run the same command again"
            )
