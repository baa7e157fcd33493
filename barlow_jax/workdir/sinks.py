"""Metric sinks: copies of the rows of `metrics.jsonl` in TensorBoard, Weights & Biases or MLflow.

A sink has `write_scalars(step, scalars)` and `close()` of clu's `MetricWriter`, and `run_id`, its name of the
run. It is made with the workdir, the run id of earlier starts or None, and the config with flat keys.
"""

from collections.abc import Mapping, Sequence
import importlib.util
import io
import os
import queue
import secrets
import socket
import threading
import time
from typing import Any

from barlow_jax.errors import UserError, first_line
from barlow_jax.io import files, log, paths
from barlow_jax.io.paths import Path

_PATIENCE_S = 120.0  # a sink that is busy with one row, or with its start, for longer is dropped
_CLOSE_S = 5.0  # a preempted process may have 15 s
_INTERVAL_S = 60.0  # between copies of TensorBoard's events to a bucket
_PROJECT = "barlow_jax"


class _TensorBoard:
    """TensorBoard events in `<workdir>/tensorboard`, written without TensorFlow."""

    def __init__(self, workdir: Path, run_id: str | None, config: Mapping[str, Any]):
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.plugins.hparams import summary_v2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.run_id, self._event, self._summary = "tensorboard", event_pb2.Event, summary_pb2.Summary
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self._path, self._written = workdir / "tensorboard" / name, time.monotonic()
        if paths.is_url(workdir):  # where nothing can be appended
            self._file = io.BytesIO()
        else:
            self._path.parent.mkdir(exist_ok=True)
            self._file = self._path.open("ab")
        self._writer = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        if run_id is None:
            values = {key: v if isinstance(v, int | float) else str(v) for key, v in config.items()}
            self._write(summary=summary_v2.hparams_pb(values))

    def _write(self, **fields: Any) -> None:
        self._writer.write(self._event(wall_time=time.time(), **fields).SerializeToString())
        self._writer.flush()
        if time.monotonic() - self._written > _INTERVAL_S:
            self._copy()

    def _copy(self) -> None:
        """Write all events so far to the bucket."""
        if isinstance(self._file, io.BytesIO):
            files.write_bytes(self._path, self._file.getvalue())
            self._written = time.monotonic()

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self._write(step=step, summary=self._summary(value=values))

    def close(self) -> None:
        self._copy()
        self._writer.close()


class _Wandb:
    """Weights & Biases; its own environment variables choose project, entity, name and mode."""

    def __init__(self, workdir: Path, run_id: str | None, config: Mapping[str, Any]):
        import wandb

        # Without a key, `init` would ask for one on the terminal.
        if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False):
            raise UserError("wandb has no API key: run `wandb login`, or set WANDB_MODE=offline")
        self.run_id = run_id or secrets.token_hex(4)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=os.environ.get("WANDB_NAME", workdir.resolve().name),
            id=self.run_id,
            resume="allow",
            dir=None if paths.is_url(workdir) else str(workdir),
            config=dict(config),
            settings=wandb.Settings(silent=True, console="off"),
        )

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        self._run.log(dict(scalars), step=step)

    def close(self) -> None:
        self._run.finish()


class _Mlflow:
    """MLflow: the server of MLFLOW_TRACKING_URI, or files in `<workdir>/mlflow`."""

    def __init__(self, workdir: Path, run_id: str | None, config: Mapping[str, Any]):
        from mlflow import MlflowClient, entities

        self._metric, uri = entities.Metric, os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            if paths.is_url(workdir):
                raise UserError("the workdir is in a bucket: set MLFLOW_TRACKING_URI")
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # mlflow 3 refuses files without it
        self._client = client = MlflowClient(uri or (workdir / "mlflow").absolute().as_uri())
        if run_id is not None:
            client.update_run(run_id, "RUNNING")
        else:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
            known = client.get_experiment_by_name(name)
            experiment_id = known.experiment_id if known else client.create_experiment(name)
            run_id = client.create_run(experiment_id, run_name=workdir.resolve().name).info.run_id
            params = [entities.Param(key, str(value)) for key, value in config.items()]
            for start in range(0, len(params), 100):  # the largest batch that a server accepts
                client.log_batch(run_id, params=params[start : start + 100])
        self.run_id = run_id

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [self._metric(name, value, now, step) for name, value in scalars.items()]
        self._client.log_batch(self.run_id, metrics=metrics)

    def close(self) -> None:
        self._client.set_terminated(self.run_id)


SINKS: dict[str, Any] = {"tensorboard": _TensorBoard, "wandb": _Wandb, "mlflow": _Mlflow}


def missing_packages(names: Sequence[str]) -> list[str]:
    """Return one sentence for each sink whose package is not installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    remedy = "is not installed. Run `pip install 'barlow_jax[{}]'`, or leave it out."
    return [f"config.monitor.sinks has {name!r}, whose package {remedy.format(name)}" for name in missing]


class BackgroundSink:
    """A sink in a thread of its own, so that a tool that does not answer holds up no step.

    A sink that fails is dropped with one warning. `<workdir>/sinks/NAME.json` has its run id, and the newest
    step of each metric that it had received when the run started last.
    """

    def __init__(self, name: str, workdir: Path, config: Mapping[str, Any], newest: Mapping[str, int]):
        """Start the thread; `newest` is the newest step of each metric that earlier starts have written."""
        self._name, self._state_file = name, workdir / "sinks" / f"{name}.json"
        try:
            state = files.read_json(self._state_file)
            run_id, before = str(state["run_id"]), dict(state["newest"])
            self._newest = {key: max(before.get(key, -1), newest.get(key, -1)) for key in before | newest}
        except (OSError, ValueError, KeyError, TypeError):
            run_id, self._newest = None, {}
        self._dropped, self._busy_since = False, time.monotonic()
        self._queue: queue.SimpleQueue[tuple[int, Mapping[str, float]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, args=(workdir, run_id, config), daemon=True)
        self._thread.start()

    def _work(self, workdir: Path, run_id: str | None, config: Mapping[str, Any]) -> None:
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
            self._drop(first_line(error))

    def _drop(self, reason: str) -> None:
        if not self._dropped:
            log.warning(f"{self._name} gets no more metrics ({reason}); metrics.jsonl contains all of them")
        self._dropped = True

    def write(self, step: int, row: Mapping[str, float | None]) -> None:
        """Pass on the finite values that no earlier start has written."""
        if (since := self._busy_since) and time.monotonic() - since > _PATIENCE_S:
            self._drop(f"no answer for {_PATIENCE_S:g} s")
        new = {k: v for k, v in row.items() if v is not None and step > self._newest.get(k, -1)}
        if new and not self._dropped:
            self._queue.put((step, new))

    def close(self) -> None:
        """Wait a few seconds for the rows that are queued, and for the sink to close."""
        self._queue.put(None)
        if not self._dropped:
            self._thread.join(_CLOSE_S)
            if self._thread.is_alive():
                self._drop(f"not closed within {_CLOSE_S:g} s")
