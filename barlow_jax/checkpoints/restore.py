"""Restore the intact checkpoints of a run, completely or in part."""

from collections.abc import Callable, Mapping, Sequence
import contextlib
import itertools
from typing import Any

import jax
import orbax.checkpoint as ocp

from barlow_jax.checkpoints import verify
from barlow_jax.checkpoints.save import Saver
from barlow_jax.checkpoints.verify import Verdict
from barlow_jax.distributed import exchange
from barlow_jax.distributed.mesh import Layout
from barlow_jax.errors import RunError, UserError
from barlow_jax.io import checksums, log, paths
from barlow_jax.types import TrainState
from barlow_jax.workdir import saved_run
from barlow_jax.workdir.saved_run import CHECKPOINTS as FOLDER

# Folder of a workdir for damaged checkpoints, once the run resumes from an older one.
DAMAGED = "damaged"


class Checkpoints(Saver):
    """Checkpoints of a workdir, one folder per step."""

    def restore(self, abstract: TrainState, layout: Layout, step: int) -> TrainState:
        """Restore the complete state of a step, sharded for this mesh."""
        item = layout.abstract(abstract.nonempty_fields())
        return abstract._replace(**self._manager.restore(step, args=ocp.args.StandardRestore(item)))

    def restore_part(
        self, params: Any, batch_stats: Any, layout: Layout, step: int, *, average: bool = True
    ) -> tuple[Any, Any]:
        """Restore parameters and running statistics of a network part, such as `{"encoder": shapes}`.

        They are the averages if the checkpoint has those; without `average`, the current ones.
        """
        parts = {"params": params, "batch_stats": batch_stats}
        # Orbax accepts no empty tree where the checkpoint has arrays: an encoder without BatchNorm, saved
        # with a projector that has it.
        item = layout.abstract({name: tree for name, tree in parts.items() if jax.tree.leaves(tree)})
        average = average and "average" in verify.saved_arrays(self._workdir / FOLDER / str(step))
        item = {"average": item} if average else item
        restore_args = ocp.checkpoint_utils.construct_restore_args(item)
        args = ocp.args.PyTreeRestore(item, restore_args=restore_args, partial_restore=True)
        restored = self._manager.restore(step, args=args)
        restored = restored["average"] if average else restored
        return tuple(restored.get(name, tree) for name, tree in parts.items())

    def restore_newest(self, abstract: TrainState, layout: Layout, oldest: int = 0) -> tuple[TrainState, int]:
        """Restore the newest intact checkpoint of step `oldest` or later; return the state and its step.

        Newer, damaged checkpoints are named in one warning and moved to the workdir's folder `damaged`.

        Raises:
          UserError: no checkpoint is usable; nothing is moved.
        """
        fields = abstract.nonempty_fields()
        state, step, damaged = self._restore_newest_usable(
            lambda step: self.restore(abstract, layout, step), fields, part=False, oldest=oldest
        )
        self._set_aside(damaged)
        return state, step

    def restore_newest_part(self, params: Any, batch_stats: Any, layout: Layout) -> tuple[Any, Any, int]:
        """Like `restore_part`, for the newest intact checkpoint; also return its step. Nothing is moved."""
        parts = {"params": params, "batch_stats": batch_stats}
        (params, batch_stats), step, _ = self._restore_newest_usable(
            lambda step: self.restore_part(*parts.values(), layout, step), parts, part=True
        )
        return params, batch_stats, step

    def examine(self, step: int, abstract: Any, *, part: bool = False) -> Verdict:
        """Verify that a checkpoint can be restored as a nested dict of these shapes and dtypes."""
        return verify.examine(self._workdir / FOLDER / str(step), abstract, part=part)

    def _restore_newest_usable(
        self, restore: Callable[[int], Any], abstract: Any, *, part: bool, oldest: int = 0
    ) -> tuple[Any, int, dict[int, str]]:
        """Return what `restore` returns for the newest usable step, that step, and damage by newer step."""
        damaged: dict[int, str] = {}
        while True:
            step = exchange.call_on_first(lambda: self._choose(abstract, part, oldest, damaged))
            if step < 0:
                raise UserError(
                    f"{self._workdir} holds no usable checkpoint ({_list(damaged) or 'see process 0'}). "
                    "Nothing was changed. Restore an intact copy, or use another workdir."
                )
            try:
                restored = restore(step)
                break
            except Exception as error:
                # Intact checksums mean another cause; and several processes need not fail in the same way.
                if jax.process_count() > 1 or checksums.exist(self._workdir / FOLDER / str(step)):
                    raise
                damaged[step] = verify.unreadable(error)
        if damaged:
            log.warning(f"skipped damaged checkpoints: {_list(damaged)}")
        return restored, step, damaged

    def _choose(self, abstract: Any, part: bool, oldest: int, damaged: dict[int, str]) -> int:
        """Return the newest step whose files are intact, -1 for none; add the others to `damaged`."""
        for step in reversed(self.steps):
            if step in damaged:
                continue
            if step < oldest:
                damaged[step] = f"precedes the run's last extension, at step {oldest}"
                continue
            verdict = self.examine(step, abstract, part=part)
            if not verdict.problems:
                if not verdict.verified:
                    log.info(f"the checkpoint of step {step} {verdict.summary}")
                return step
            damaged[step] = verdict.summary
        return -1

    def _set_aside(self, steps: Sequence[int]) -> None:
        """Move damaged checkpoints away, because the run will save these steps again."""
        if exchange.call_on_first(lambda: len(steps)) == 0:
            return
        target = self._workdir / DAMAGED
        for step in steps if jax.process_index() == 0 else ():
            names = (target / (f"{step}-{n}" if n else str(step)) for n in itertools.count())
            free = next(path for path in names if not path.exists())
            paths.move_folder(self._workdir / FOLDER / str(step), free)
            log.info(f"moved the damaged checkpoint of step {step} to {free}")
        exchange.call_on_first(lambda: 0)  # all processes wait for the moves
        self._manager.reload()


@contextlib.contextmanager
def open_checkpoints(workdir: str, **kwargs: Any):
    """Open the checkpoints of a workdir; finish the save under way and close them when the block ends."""
    checkpoints = Checkpoints(workdir, **kwargs)
    try:
        yield checkpoints
    except BaseException:
        # Keep the exception that ended the block, and do not wait for other processes.
        try:
            checkpoints.close(together=False)
        except RunError as error:
            log.error(str(error), every_process=True)
        raise
    checkpoints.close()


def _list(damaged: Mapping[int, str]) -> str:
    return "; ".join(f"step {step}: {problem}" for step, problem in damaged.items())


def newest_step(workdir: str) -> int | None:
    """Return the step of the newest checkpoint, or None. No folder is created."""
    return max(saved_run.checkpoint_steps(workdir), default=None)


def abstract_state(init: Any) -> TrainState:
    """Return the shapes and dtypes of the state that `init` returns, without computing it."""
    return jax.eval_shape(init, jax.random.key(0))
