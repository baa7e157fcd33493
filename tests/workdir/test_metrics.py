"""Metrics on disk: rows of `metrics.jsonl`."""

import json
import math

from barlow_jax.workdir.metrics import MetricsWriter


def _rows(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_rows_are_json_lines_with_null_for_what_is_not_finite(tmp_path):
    writer = MetricsWriter(tmp_path, first_step=0)
    writer.write(5, {"loss": 1.5, "rate": math.inf})
    writer.close()
    assert _rows(tmp_path) == [{"step": 5, "loss": 1.5, "rate": None}]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_rows_after_the_checkpoint_and_incomplete_rows_are_dropped_when_a_run_resumes(tmp_path):
    rows = '{"step": 5, "knn": 1}\n{"step": 10, "loss": 3}\n{"step": 15, "rate": 1}\n{"step": 2'
    (tmp_path / "metrics.jsonl").write_text(rows)
    writer = MetricsWriter(tmp_path, first_step=10)
    assert writer.latest == {"step": 10, "knn": 1, "loss": 3} and writer.first_step_names == {"step", "loss"}
    writer.write(15, {"loss": 2.0})
    writer.close()
    assert [row["step"] for row in _rows(tmp_path)] == [5, 10, 15]
