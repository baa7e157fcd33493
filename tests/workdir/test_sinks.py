"""Metric sinks: TensorBoard without TensorFlow, wandb and MLflow offline, and sinks that fail."""

import errno
import json
import os
import struct
import subprocess
import sys
import threading
import time

import pytest

from barlow_jax.workdir import sinks
from barlow_jax.workdir.metrics import MetricsWriter
from barlow_jax.workdir.sinks import SINKS, missing_packages

CONFIG = {"seed": 3, "optim.learning_rate": 0.25, "network.projector": (16, 16), "data.data_dir": None}


def _write(workdir, *rows, first_step=0, names=("tensorboard",)):
    writer = MetricsWriter(workdir, first_step=first_step, sinks=names, config=CONFIG)
    for step, row in rows:
        writer.write(step, row)
    writer.close()


def _write_twice(workdir, name):
    """Write up to step 15, and once more from the checkpoint of step 10, whose evaluation is missing."""
    rows = [(5, {"loss": 3.0}), (5, {"knn_top1": 0.5}), (10, {"loss": float("nan")}), (15, {"loss": 1.0})]
    _write(workdir, *rows, names=(name,))
    state = (workdir / "sinks" / f"{name}.json").read_text()
    rows = [(10, {"knn_top1": 0.75}), (15, {"loss": 1.0}), (20, {"loss": 0.5})]
    _write(workdir, *rows, first_step=10, names=(name,))
    again = (workdir / "sinks" / f"{name}.json").read_text()
    assert json.loads(state)["run_id"] == json.loads(again)["run_id"]
    return json.loads(state)["run_id"]


EXPECTED = {"loss": [(5, 3.0), (15, 1.0), (20, 0.5)], "knn_top1": [(5, 0.5), (10, 0.75)]}


def _tensorboard_events(workdir):
    """Write twice, and read with TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _write_twice(workdir, "tensorboard")
    events = EventAccumulator(str(workdir / "tensorboard"))
    events.Reload()
    scalars = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in EXPECTED}
    hparams = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    return scalars, b"optim.learning_rate" in hparams and b"(16, 16)" in hparams


def test_tensorboard_events_are_written_and_read_without_tensorflow(tmp_path):
    code = (
        "import json, pathlib, sys, types; sys.path.insert(0, sys.argv[2])\n"
        "sys.modules.update(tensorflow=None, jax=types.SimpleNamespace(process_index=lambda: 0))\n"
        "import test_sinks\n"
        "print(json.dumps(test_sinks._tensorboard_events(pathlib.Path(sys.argv[1]))))"
    )
    argv = [sys.executable, "-c", code, tmp_path, os.path.dirname(__file__)]
    written = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    assert written == [{tag: [list(pair) for pair in pairs] for tag, pairs in EXPECTED.items()}, True]


def test_mlflow_keeps_one_run_with_the_config_over_restarts(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    workdir = tmp_path / "a run"
    workdir.mkdir()
    run_id = _write_twice(workdir, "mlflow")
    client = mlflow.MlflowClient((workdir / "mlflow").as_uri())
    for name, values in EXPECTED.items():
        assert [(m.step, m.value) for m in client.get_metric_history(run_id, name)] == values
    (experiment,) = [e for e in client.search_experiments() if e.name == "barlow_jax"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params == {key: str(value) for key, value in CONFIG.items()}
    assert (run.info.run_name, run.info.status) == ("a run", "FINISHED")


def _wandb_records(path):
    """Return the protocol buffers in wandb's file, which another process may still write."""
    end = time.monotonic() + 30
    while not (records := [*_read_wandb(path)]) or not records[-1].HasField("exit"):
        assert time.monotonic() < end, f"{path} has {len(records)} records, and no end"
        time.sleep(0.05)
    return records


def _read_wandb(path):
    """Yield the protocol buffers in wandb's file: a header of 7 bytes, then LevelDB's log format."""
    from wandb.proto import wandb_internal_pb2

    content, start, record = path.read_bytes(), 7, b""
    while start + 7 <= len(content):
        _, length, kind = struct.unpack_from("<IHB", content, start)
        assert start // 32768 == (start + 7 + length) // 32768, "all in the first block"
        record += content[start + 7 : start + 7 + length]
        start += 7 + length
        if kind in (1, 4):  # complete
            yield wandb_internal_pb2.Record.FromString(record)
            record = b""


def test_wandb_keeps_one_run_with_the_config_over_restarts(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(sinks, "_CLOSE_S", 60.0)  # no loss of rows on a busy machine
    run_id = _write_twice(tmp_path, "wandb")
    values, config = {name: [] for name in EXPECTED}, {}
    logs = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    assert len(logs) == 2 and {path.stem for path in logs} == {f"run-{run_id}"}
    for record in (record for path in logs for record in _wandb_records(path)):
        items = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
        for name in values.keys() & items.keys():
            values[name].append((items["_step"], items[name]))
        config |= {i.key: json.loads(i.value_json) for i in record.run.config.update}
    assert values == EXPECTED
    assert config["optim.learning_rate"] == 0.25 and config["network.projector"] == [16, 16]


class _Fails:
    """Sink that raises at its start, at the first row or at the end, or never answers."""

    run_id = "x"

    def __init__(self, when):
        self.when = when
        self.at("start")

    def at(self, moment):
        if self.when == moment:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.when == f"hangs at {moment}":
            threading.Event().wait(20)

    def write_scalars(self, step, scalars):
        self.at("row")

    def close(self):
        self.at("close")


MOMENTS = ("start", "row", "close", "hangs at start", "hangs at row", "hangs at close")


@pytest.mark.parametrize("when", MOMENTS)
def test_a_sink_that_fails_is_dropped_with_one_warning_and_the_others_receive_all(
    tmp_path, capsys, monkeypatch, when
):
    received = []

    class Works(_Fails):
        def write_scalars(self, step, scalars):
            received.append((step, scalars))

    monkeypatch.setitem(SINKS, "wandb", lambda *_: _Fails(when))
    monkeypatch.setitem(SINKS, "mlflow", lambda *_: Works(None))
    monkeypatch.setattr(sinks, "_CLOSE_S", 0.2)
    monkeypatch.setattr(sinks, "_PATIENCE_S", 0.1)
    _write(tmp_path, *((step, {"loss": 1.0}) for step in range(5)), names=("wandb", "mlflow", "wandb"))
    assert received == [(step, {"loss": 1.0}) for step in range(5)]
    assert capsys.readouterr().err.count("warning: wandb ") == 1
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 5


def test_a_sink_without_an_answer_is_dropped_while_the_run_is_running(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(SINKS, "mlflow", lambda *_: _Fails("hangs at start"))
    monkeypatch.setattr(sinks, "_PATIENCE_S", 0.0)
    writer = MetricsWriter(tmp_path, first_step=0, sinks=("mlflow",))
    writer.write(1, {"loss": 1.0})
    assert capsys.readouterr().err.count("warning: mlflow ") == 1


def test_a_sink_that_is_added_later_receives_the_rows_from_then_on(tmp_path, monkeypatch):
    received = []
    monkeypatch.setattr(_Fails, "write_scalars", lambda self, *row: received.append(row))
    monkeypatch.setitem(SINKS, "mlflow", lambda *_: _Fails(None))
    _write(tmp_path, (5, {"loss": 2.0}), (10, {"loss": 1.5}), names=())
    _write(tmp_path, (10, {"loss": 1.5}), first_step=5, names=("mlflow",))
    assert received == [(10, {"loss": 1.5})]


def test_wandb_without_a_key_asks_for_none(tmp_path, capsys, monkeypatch):
    pytest.importorskip("wandb").teardown()  # forget the settings of an earlier test
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    _write(tmp_path, (5, {"loss": 2.0}), names=("wandb",))
    assert "WANDB_MODE=offline" in capsys.readouterr().err


def test_a_package_that_is_missing_is_named_with_the_extra(monkeypatch):
    monkeypatch.setattr(sinks.importlib.util, "find_spec", lambda name: None if name == "wandb" else object())
    (problem,) = missing_packages(("tensorboard", "wandb"))
    assert "config.monitor.sinks" in problem and "barlow_jax[wandb]" in problem
