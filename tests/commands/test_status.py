"""`status` through its entry point: of runs that are finished, at work, gone, and none."""

import json
import os
import subprocess
import sys

import pytest

from barlow_jax.workdir import lock, status


@pytest.fixture
def run(tmp_path):
    """A workdir as a run leaves it that is killed in its training."""
    one = status.Status(tmp_path, num_steps=200, epoch=lambda step: step / 10)
    one.begin(0)
    one.first_step_done()
    one.log(50, {"loss": 3.25, "images_per_second": 640.0, "skipped_steps": 1, "decode_failures": 2})
    return tmp_path


def _edit(run, **figures):
    path = run / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | figures))


def test_a_person_is_told_where_the_run_is(run, run_command):
    before = sorted(run.rglob("*"))
    results, said = run_command("status", "--workdir", run)
    table = dict(line.split(None, 1) for line in said.splitlines())
    assert table["state"] == "training" and table["step"] == "50 of 200 (25%)" and table["loss"] == "3.25"
    assert "640 images/s" in said and "goodput" in said and table["restarts"].startswith("0, which cost 0 s")
    assert results["step"] == 50 and results["decode_failures"] == 2 and "marks" not in results
    assert sorted(run.rglob("*")) == before


def test_whether_the_process_is_alive_is_told_by_the_lock(run, run_command):
    with lock.acquire(run):
        results, said = run_command("status", "--workdir", run)
        assert results["alive"] is True and f"alive: process {os.getpid()} on" in said
    results, said = run_command("status", "--workdir", run)
    assert results["alive"] is False and "was killed or lost" in said
    _edit(run, state="finished")
    assert (
        f"process {os.getpid()} on" in (said := run_command("status", "--workdir", run)[1])
        and " ended" in said
    )
    _edit(run, host="another")
    results, said = run_command("status", "--workdir", run)
    assert results["alive"] is None and "whether it is alive is unknown" in said


def test_how_old_the_figures_are(run, run_command):
    figures = json.loads((run / "status.json").read_text())
    _edit(run, updated_unix=figures["updated_unix"] - 3 * 86400 - 3723)
    results, said = run_command("status", "--workdir", run)
    assert 262923 <= results["age_seconds"] < 263000 and "3 d 01:02:" in said


def test_a_run_without_a_file_that_can_be_read_is_told_from_its_checkpoints(run, run_command):
    (run / "status.json").write_text("{")
    (run / "checkpoints" / "40").mkdir(parents=True)
    results, said = run_command("status", "--workdir", run)
    assert (
        results["checkpoints"] == [40]
        and results["alive"] is False
        and "status.json is missing or not readable" in said
    )


def test_where_there_is_no_run_that_is_said(tmp_path, run_command):
    assert "--workdir is missing" in run_command("status", code=2)[1]
    assert "holds no run" in run_command("status", "--workdir", tmp_path, code=2)[1]
    said = run_command("status", "--workdir", tmp_path, "--config.seed=1", code=2)[1]
    assert "--config.seed: status reads no config" in said


def test_it_imports_nothing_slow(run):
    code = (
        "import sys; from barlow_jax.__main__ import main\n"
        "code = main(['status', '--workdir', sys.argv[1]])\n"
        "slow = {'tensorflow', 'jax', 'flax', 'orbax'} & set(sys.modules)\n"
        "assert not slow, slow; sys.exit(code)"
    )
    ran = subprocess.run([sys.executable, "-c", code, run], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)["step"] == 50


def test_a_finished_run_was_kept_up_to_the_end(workdir, run_command):
    results, _ = run_command("status", "--workdir", workdir)
    assert (results["state"], results["step"], results["epoch"]) == ("finished", 22, 2.0)
    assert results["checkpoint"]["step"] == 22 and results["loss"] > 0 and 0 < results["goodput"] < 1
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    first, last = (row["knn_top1"] for row in rows if "knn_top1" in row)
    best = 2.0 if last > first + 0.005 else 1.0
    assert (results["verdict"]["metric"], results["verdict"]["since_epoch"]) == ("knn_top1", best)
    assert not (workdir / "results" / "status.json").exists()
