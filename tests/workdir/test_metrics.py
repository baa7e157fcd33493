"""Metrics on disk: rows of `metrics.jsonl` and TensorBoard events."""

import json
import sys

from barlow_jax.workdir.metrics import MetricsWriter


def _rows(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_rows_are_json_lines_and_tensorboard_events(tmp_path):
    writer = MetricsWriter(tmp_path, first_step=0)
    writer.write(5, {"loss": 1.5})
    writer.close()
    assert _rows(tmp_path) == [{"step": 5, "loss": 1.5}]
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_rows_are_written_without_tensorflow_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "clu.metric_writers", None)
    monkeypatch.delattr("clu.metric_writers", raising=False)
    writer = MetricsWriter(tmp_path, first_step=0)
    writer.write(5, {"loss": 1.5})
    writer.close()
    assert _rows(tmp_path) == [{"step": 5, "loss": 1.5}] and not (tmp_path / "tensorboard").exists()
    assert capsys.readouterr().err.count("metrics.jsonl contains all metrics") == 1


def test_rows_after_the_checkpoint_and_incomplete_rows_are_dropped_when_a_run_resumes(tmp_path):
    rows = '{"step": 5, "knn": 1}\n{"step": 10, "loss": 3}\n{"step": 15, "rate": 1}\n{"step": 2'
    (tmp_path / "metrics.jsonl").write_text(rows)
    writer = MetricsWriter(tmp_path, first_step=10)
    assert writer.latest == {"step": 10, "knn": 1, "loss": 3} and writer.first_step_names == {"step", "loss"}
    writer.write(15, {"loss": 2.0})
    writer.close()
    assert [row["step"] for row in _rows(tmp_path)] == [5, 10, 15]
