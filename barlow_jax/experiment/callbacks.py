"""Callbacks: functions of the user that training calls, and that can stop the run."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from functools import partial
from typing import Any, Literal, NoReturn

import numpy as np

from barlow_jax.distributed import exchange
from barlow_jax.errors import RunError
from barlow_jax.experiment.run import Run
from barlow_jax.io.paths import Path
from barlow_jax.training.loop import Hook, every
from barlow_jax.training.preemption import Finished
from barlow_jax.types import Metrics, TrainState

_Kind = Literal["step", "evaluation", "end"]


@dataclasses.dataclass(frozen=True)
class Event:
    """Point of a run at which `pretrain` calls its callbacks.

    A callback is any function of an event. If it returns True after a step or an evaluation, the run saves a
    checkpoint and ends, and can resume. An exception ends the run with a RunError that names the callback.

        def stop_at_90(event):
            return event.kind == "evaluation" and event.metrics["knn_top1"] > 0.9
    """

    # step: every config.train.log_every_steps steps. evaluation: after the measurements of
    # config.monitor.every_epochs. Both also after the last step. end: once, when the call ends without error.
    kind: _Kind
    step: int  # updates done
    num_steps: int  # updates when the run is complete
    epoch: float
    metrics: Mapping[str, float | None]  # newest value by name (docs/monitoring.md); None if not finite
    # On the devices. The next step overwrites the arrays: copy what is to be kept, with jax.device_get.
    state: TrainState = dataclasses.field(repr=False)
    workdir: Path


Callback = Callable[[Event], bool | None]


def hooks(run: Run, callbacks: Sequence[Callback]) -> list[Hook]:
    """Return the hooks that call the callbacks, at their intervals, and stop the run if one returns True."""
    train, monitored = run.experiment.config.train, run.experiment.config.monitor.every_epochs
    intervals = {"step": train.log_every_steps} | ({"evaluation": run.steps(monitored)} if monitored else {})

    def hook(kind: _Kind, done: int, state: TrainState, metrics: Metrics) -> None:
        name = notify(run, callbacks, kind, done, state)
        # The answer of process 0 is that of all.
        if done < run.num_steps and exchange.call_on_first(lambda: int(name is not None)):
            _stop(run, state, f"stopped by the callback {name}")

    return [every(n, partial(hook, kind), last=run.num_steps) for kind, n in intervals.items() if callbacks]


def interruption(run: Run, interrupted: Callable[[], bool]) -> Hook:
    """Return the hook that stops the run after a Ctrl-C."""

    def hook(done: int, state: TrainState, metrics: Metrics) -> None:
        if done < run.num_steps and interrupted():
            _stop(run, state, "interrupted (Ctrl-C)")

    return hook


def notify(run: Run, callbacks: Sequence[Callback], kind: _Kind, done: int, state: TrainState) -> str | None:
    """Call the callbacks with an event; return the name of one that returned True.

    Raises:
      RunError: a callback raised an exception.
    """
    metrics = dict(run.writer.latest)
    event = Event(kind, done, run.num_steps, run.sampler.epoch(done), metrics, state, run.workdir)
    stops = None
    for callback in callbacks:
        name: Any = getattr(callback, "__qualname__", repr(callback))
        try:
            answer = callback(event)
        except Exception as error:
            raise RunError(
                f"the callback {name} raised {type(error).__name__}: {error} ({kind}, step {done}). The "
                "newest checkpoint is intact: the same call resumes from it."
            ) from error
        if isinstance(answer, bool | np.bool_) and answer:
            stops = name
    return stops


def _stop(run: Run, state: TrainState, reason: str) -> NoReturn:
    run.checkpoints.save(state)
    run.status.stop(reason)
    raise Finished
