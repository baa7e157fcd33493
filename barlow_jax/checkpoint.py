"""Checkpoints of a run by Orbax: async saves, a policy of what stays, restore whole or the encoder alone."""

from collections.abc import Sequence
import contextlib
import pathlib
from typing import Any

from absl import logging
import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from barlow_jax.mesh import Layout
from barlow_jax.types import TrainState

FOLDER = "checkpoints"


class Checkpoints:
    """The checkpoints below a workdir, one folder a step."""

    def __init__(
        self,
        workdir: str,
        *,
        keep_newest: int = 1,
        keep_every_steps: int | None = None,
        read_only: bool = False,
    ):
        """Args:
        workdir: of the run; checkpoints are in its folder `checkpoints`.
        keep_newest: how many of the newest stay.
        keep_every_steps: multiples of this stay for good.
        read_only: leaves everything as it is, so that a run that is still going on can be looked at.
        """
        policies = [checkpoint_managers.LatestN(keep_newest)]
        if keep_every_steps:
            policies.append(checkpoint_managers.EveryNSteps(keep_every_steps))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            # pretrain decides when; the manager would otherwise skip saves by its own interval.
            save_decision_policy=checkpoint_managers.FixedIntervalPolicy(1),
            cleanup_tmp_directories=not read_only,
            create=not read_only,
            save_interval_steps=0 if read_only else 1,
            read_only=read_only,
        )
        verbosity = logging.get_verbosity()
        if read_only:  # Orbax would warn that it is
            logging.set_verbosity(logging.ERROR)
        self._manager = ocp.CheckpointManager(pathlib.Path(workdir).absolute() / FOLDER, options=options)
        logging.set_verbosity(verbosity)

    @property
    def steps(self) -> Sequence[int]:
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState) -> None:
        """Starts saving; returns once the arrays are copied off the devices."""
        step = int(state.step)
        if step not in self.steps:
            self._manager.save(step, args=ocp.args.StandardSave(state._asdict()))

    def restore(self, abstract: TrainState, layout: Layout, step: int) -> TrainState:
        """The whole state of a step, laid out for this mesh."""
        item = layout.abstract(abstract._asdict())
        return TrainState(**self._manager.restore(step, args=ocp.args.StandardRestore(item)))

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

    def close(self) -> None:
        """Waits for the save that is under way; raises what went wrong with it."""
        self._manager.wait_until_finished()
        self._manager.close()


@contextlib.contextmanager
def open_checkpoints(workdir: str, **kwargs: Any):
    """Checkpoints that are finished and closed however the block ends."""
    checkpoints = Checkpoints(workdir, **kwargs)
    try:
        yield checkpoints
    finally:
        checkpoints.close()


def newest_step(workdir: str) -> int | None:
    """The newest checkpoint's step, or None; looks, and makes no folder."""
    if not (pathlib.Path(workdir) / FOLDER).is_dir():
        return None
    with open_checkpoints(workdir, read_only=True) as checkpoints:
        return checkpoints.steps[-1] if checkpoints.steps else None


def abstract_state(init: Any) -> TrainState:
    """Shapes and dtypes of the state that `init` makes, without making it."""
    return jax.eval_shape(init, jax.random.key(0))
