"""Metric sinks: copies of the rows of `metrics.jsonl` in TensorBoard, Weights & Biases or MLflow.

A sink has two methods of clu's `MetricWriter`. Each runs in a thread of its own, so that a tool that is slow
or does not answer holds up no step. A sink that fails is dropped with one warning.
`<workdir>/sinks/NAME.json` has its run id, and the newest step of each metric that it received before.
"""

from collections.abc import Callable, Mapping, Sequence
import importlib.util
import os
import pathlib
import queue
import secrets
import socket
import threading
import time
from typing import Any, Protocol

from barlow_jax.errors import UserError
from barlow_jax.io import files, log

_PATIENCE_S = 120.0  # a sink that is busy with one row, or with its start, for longer is dropped
_CLOSE_S = 5.0  # a preempted process may have 15 s
_PROJECT = "barlow_jax"


class Sink(Protocol):
    """Receiver of metrics, made with the workdir, the run id of earlier starts or None, and a flat config."""

    run_id: str  # identifies the run in the tool, for the next start

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write finite values of a step."""

    def close(self) -> None:
        """Write pending values, and release the files or connections."""


class TensorBoard:
    """TensorBoard events in `<workdir>/tensorboard`, written without TensorFlow."""

    def __init__(self, workdir: pathlib.Path, run_id: str | None, config: Mapping[str, Any]):
        """Open a new file of events; the first start also writes the config as hyperparameters."""
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.plugins.hparams import summary_v2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.run_id = run_id or workdir.resolve().name
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        folder = workdir / "tensorboard"
        folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self._writer = RecordWriter((folder / name).open("ab"))
        self._write(file_version="brain.Event:2")
        if run_id is None:
            numbers_and_text = {k: v if isinstance(v, int | float) else str(v) for k, v in config.items()}
            self._write(summary=summary_v2.hparams_pb(numbers_and_text))

    def _write(self, **fields: Any) -> None:
        self._writer.write(self._event(wall_time=time.time(), **fields).SerializeToString())
        self._writer.flush()

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write one event."""
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self._write(step=step, summary=self._summary(value=values))

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class Wandb:
    """Weights & Biases; its own environment variables choose project, entity, name and mode."""

    def __init__(self, workdir: pathlib.Path, run_id: str | None, config: Mapping[str, Any]):
        """Start or resume the run.

        Raises:
          UserError: there is no API key. wandb itself would ask for it on the terminal.
        """
        import wandb

        if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False):
            raise UserError("wandb has no API key: run `wandb login`, or set WANDB_MODE=offline")
        self.run_id = run_id or secrets.token_hex(4)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=os.environ.get("WANDB_NAME", workdir.resolve().name),
            id=self.run_id,
            resume="allow",
            dir=str(workdir),
            config=dict(config),
            settings=wandb.Settings(silent=True, console="off"),
        )

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Send one row."""
        self._run.log(dict(scalars), step=step)

    def close(self) -> None:
        """Wait until everything is sent."""
        self._run.finish()


class Mlflow:
    """MLflow: the server of MLFLOW_TRACKING_URI, or files in `<workdir>/mlflow`."""

    def __init__(self, workdir: pathlib.Path, run_id: str | None, config: Mapping[str, Any]):
        """Start or resume the run; the first start also logs the config as parameters."""
        from mlflow import MlflowClient, entities

        self._metric = entities.Metric
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # mlflow 3 refuses files without it
        self._client = MlflowClient(uri or (workdir / "mlflow").absolute().as_uri())
        if run_id is not None:
            self.run_id = run_id
            self._client.update_run(run_id, "RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self.run_id = self._client.create_run(experiment_id, run_name=workdir.resolve().name).info.run_id
        params = [entities.Param(key, str(value)) for key, value in config.items()]
        for start in range(0, len(params), 100):  # the largest batch that a server accepts
            self._client.log_batch(self.run_id, params=params[start : start + 100])

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Send one row."""
        now = int(time.time() * 1000)
        metrics = [self._metric(name, value, now, step) for name, value in scalars.items()]
        self._client.log_batch(self.run_id, metrics=metrics)

    def close(self) -> None:
        """Mark the run as finished."""
        self._client.set_terminated(self.run_id)


SINKS: dict[str, Callable[[pathlib.Path, str | None, Mapping[str, Any]], Sink]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "mlflow": Mlflow,
}


def missing_packages(names: Sequence[str]) -> list[str]:
    """Return one sentence for each sink whose package is not installed."""
    return [
        f"config.monitor.sinks has {name!r}, but the package {name} is not installed. Run `pip install "
        f"'barlow_jax[{name}]'`, or leave it out."
        for name in names
        if importlib.util.find_spec(name) is None
    ]


class BackgroundSink:
    """A sink in a thread of its own. No method raises, and only `close` waits, for a short time."""

    def __init__(
        self,
        name: str,
        workdir: pathlib.Path,
        config: Mapping[str, Any],
        rows: Sequence[Mapping[str, Any]],
        newest: Mapping[str, int],
    ):
        """Start the thread.

        Args:
          name: one of `SINKS`.
          workdir: workdir of the run.
          config: resolved config with flat keys.
          rows: rows of metrics.jsonl, which the sink receives first if this workdir has not had it before.
          newest: newest step of each metric that earlier starts wrote; a sink that the workdir has had before
            receives later steps only.
        """
        self._name, self._state_file = name, workdir / "sinks" / f"{name}.json"
        try:
            state = files.read_json(self._state_file)
            run_id, before = str(state["run_id"]), dict(state["newest"])
            self._newest = {key: max(before.get(key, -1), newest.get(key, -1)) for key in before | newest}
            rows = ()
        except (OSError, ValueError, KeyError, TypeError):
            run_id, self._newest = None, {}
        self._dropped, self._busy_since = False, time.monotonic()
        self._queue: queue.SimpleQueue[tuple[int, Mapping[str, float]] | None] = queue.SimpleQueue()
        for row in rows:
            self.write(row["step"], {key: row[key] for key in row if key != "step"})
        self._thread = threading.Thread(target=self._work, args=(workdir, run_id, config), daemon=True)
        self._thread.start()

    def _work(self, workdir: pathlib.Path, run_id: str | None, config: Mapping[str, Any]) -> None:
        try:
            sink = SINKS[self._name](workdir, run_id, config)
            files.write_json(self._state_file, {"run_id": sink.run_id, "newest": self._newest})
            self._busy_since = None
            while row := self._queue.get():
                self._busy_since = time.monotonic()
                sink.write_scalars(*row)
                self._busy_since = None
            sink.close()
        except Exception as error:  # a tool may raise anything
            self._drop((str(error).splitlines() or [""])[0] or type(error).__name__)

    def _drop(self, reason: str) -> None:
        if not self._dropped:
            log.warning(
                f"{self._name} receives no more metrics ({reason}); metrics.jsonl contains all of them"
            )
        self._dropped = True

    def write(self, step: int, row: Mapping[str, float | None]) -> None:
        """Pass on the finite values that no earlier start has written."""
        if (since := self._busy_since) and time.monotonic() - since > _PATIENCE_S:
            self._drop(f"no answer for {_PATIENCE_S:g} s")
        finite = {key: value for key, value in row.items() if value is not None}
        new = {key: value for key, value in finite.items() if step > self._newest.get(key, -1)}
        if new and not self._dropped:
            self._queue.put((step, new))

    def close(self) -> None:
        """Let the thread close the sink after the rows that wait, and wait for it."""
        self._queue.put(None)
        if not self._dropped:
            self._thread.join(_CLOSE_S)
            if self._thread.is_alive():
                self._drop(f"not closed within {_CLOSE_S:g} s")
