"""Restores what is good of a run's checkpoints, whole or in part."""

from collections.abc import Callable, Mapping, Sequence
import contextlib
import itertools
import sys
from typing import Any

import jax
import orbax.checkpoint as ocp

from barlow_jax.checkpoints import verification
from barlow_jax.checkpoints.saving import Saver
from barlow_jax.checkpoints.verification import Verdict
from barlow_jax.distributed import exchange
from barlow_jax.distributed.mesh import Layout
from barlow_jax.errors import RunError, UserError
from barlow_jax.io import checksums
from barlow_jax.types import TrainState
from barlow_jax.workdir import saved_run
from barlow_jax.workdir.saved_run import CHECKPOINTS as FOLDER

# Where damaged ones are moved once the run goes on from an older one.
DAMAGED = "damaged"


class Checkpoints(Saver):
    """The checkpoints below a workdir, one folder a step."""

    def restore(self, abstract: TrainState, layout: Layout, step: int) -> TrainState:
        """The whole state of a step, laid out for this mesh."""
        item = layout.abstract(abstract.parts())
        return abstract._replace(**self._manager.restore(step, args=ocp.args.StandardRestore(item)))

    def restore_part(self, params: Any, batch_stats: Any, layout: Layout, step: int) -> tuple[Any, Any]:
        """Parameters and running statistics of a part of the network, from their shapes: `{"encoder": ...}`."""
        item = layout.abstract({"params": params, "batch_stats": batch_stats})
        restored = self._manager.restore(
            step,
            args=ocp.args.PyTreeRestore(
                item,
                restore_args=ocp.checkpoint_utils.construct_restore_args(item),
                partial_restore=True,
            ),
        )
        return restored["params"], restored["batch_stats"]

    def restore_newest(self, abstract: TrainState, layout: Layout) -> tuple[TrainState, int]:
        """The state of the newest good checkpoint, and its step.

        Those that are newer and damaged are named in one warning, and moved to the workdir's folder `damaged`.

        Raises:
          UserError: none is good; then nothing is moved.
        """
        state, step, passed_over = self._newest_good(
            lambda step: self.restore(abstract, layout, step), abstract.parts(), part=False
        )
        self._set_aside(passed_over)
        return state, step

    def restore_newest_part(self, params: Any, batch_stats: Any, layout: Layout) -> tuple[Any, Any, int]:
        """As `restore_part`, of the newest good checkpoint, and its step; those that are damaged stay in place."""
        (params, batch_stats), step, _ = self._newest_good(
            lambda step: self.restore_part(params, batch_stats, layout, step),
            {"params": params, "batch_stats": batch_stats},
            part=True,
        )
        return params, batch_stats, step

    def examine(self, step: int, abstract: Any, *, part: bool = False) -> Verdict:
        """Whether a checkpoint can be restored as a nested dict of these shapes and dtypes."""
        return verification.examine(self._workdir / FOLDER / str(step), abstract, part=part)

    def _newest_good(
        self, restore: Callable[[int], Any], abstract: Any, *, part: bool
    ) -> tuple[Any, int, dict[int, str]]:
        """What `restore` makes of the newest good step; that step; and why the newer ones are not good."""
        bad: dict[int, str] = {}
        while True:
            step = exchange.call_on_first(lambda: self._choose(abstract, part, bad))
            if step < 0:
                raise UserError(
                    f"{self._workdir} holds no checkpoint that can be used, and nothing in it was changed. "
                    f"{_told(bad) or 'Process 0 says why'}. Put a good copy back, or use another workdir"
                )
            try:
                restored = restore(step)
                break
            except Exception as error:
                # With digests it is whole, and the fault lies elsewhere; and several processes do not fail alike.
                if jax.process_count() > 1 or checksums.exist(self._workdir / FOLDER / str(step)):
                    raise
                bad[step] = verification.unreadable(error)
        if bad and jax.process_index() == 0:
            print(f"warning: damaged checkpoints are passed over: {_told(bad)}", file=sys.stderr)
        return restored, step, bad

    def _choose(self, abstract: Any, part: bool, bad: dict[int, str]) -> int:
        """The newest step that is good so far as files tell, -1 for none; adds to `bad`."""
        for step in reversed(self.steps):
            if step in bad:
                continue
            verdict = self.examine(step, abstract, part=part)
            if not verdict.problems:
                if not verdict.verified:
                    print(f"the checkpoint of step {step} {verdict.says}", file=sys.stderr)
                return step
            bad[step] = verdict.says
        return -1

    def _set_aside(self, steps: Sequence[int]) -> None:
        """Moves damaged checkpoints out of the way of the run, which will come to these steps again."""
        if exchange.call_on_first(lambda: len(steps)) == 0:
            return
        target = self._workdir / DAMAGED
        for step in steps if jax.process_index() == 0 else ():
            target.mkdir(exist_ok=True)
            free = next(n for n in itertools.count() if not (target / _numbered(step, n)).exists())
            (self._workdir / FOLDER / str(step)).rename(target / _numbered(step, free))
            print(f"the checkpoint of step {step} is now {target / _numbered(step, free)}", file=sys.stderr)
        exchange.call_on_first(lambda: 0)  # all wait for the moves
        self._manager.reload()


@contextlib.contextmanager
def open_checkpoints(workdir: str, **kwargs: Any):
    """Checkpoints that are finished and closed however the block ends."""
    checkpoints = Checkpoints(workdir, **kwargs)
    try:
        yield checkpoints
    except BaseException:
        # Why the block ended is what must be told; and other processes may be elsewhere.
        try:
            checkpoints.close(together=False)
        except RunError as error:
            print(f"error: {error}", file=sys.stderr)
        raise
    checkpoints.close()


def _told(bad: Mapping[int, str]) -> str:
    return "; ".join(f"step {step}: {why}" for step, why in bad.items())


def _numbered(step: int, number: int) -> str:
    return f"{step}-{number}" if number else str(step)


def newest_step(workdir: str) -> int | None:
    """The newest checkpoint's step, or None; looks, and makes no folder."""
    return max(saved_run.checkpoint_steps(workdir), default=None)


def abstract_state(init: Any) -> TrainState:
    """Shapes and dtypes of the state that `init` makes, without making it."""
    return jax.eval_shape(init, jax.random.key(0))
