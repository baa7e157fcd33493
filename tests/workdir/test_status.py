"""`status.json` against sums by hand, with a simulated clock."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from barlow_jax.errors import RunError
from barlow_jax.workdir import saved_run, status
from barlow_jax.workdir.status import Status

START = 1_000_000.0


@pytest.fixture
def clock(monkeypatch):
    """Simulated clock, starting at START; `clock(5)` advances it by five seconds."""
    now = [0.0]
    monkeypatch.setattr(status.time, "time", lambda: START + now[0])
    monkeypatch.setattr(status.time, "monotonic", lambda: 7.0 + now[0])

    def advance(seconds):
        now[0] += seconds

    return advance


def _open(workdir):
    return Status(workdir, num_steps=100, epoch=lambda step: step / 10)


def _read(workdir):
    return json.loads((workdir / "status.json").read_text())


def _train(status_file, clock, steps, *, seconds_a_step=1.0, every=5, decode_failures=lambda step: 0):
    for step in steps:
        clock(seconds_a_step)
        if step % every == 0:
            status_file.log(
                step,
                {
                    "loss": 1.0 / step,
                    "images_per_second": 64.0,
                    "skipped_steps": 2.0,
                    "decode_failures": decode_failures(step),
                },
            )


def _killed(workdir, clock):
    """Simulate a killed start: 10 s of compilation, 1 + 29 steps of 1 s, and 5 s of saving at step 20."""
    run = _open(workdir)
    run.__enter__()
    run.begin(0)
    clock(10)
    run.first_step_done()
    _train(run, clock, range(2, 21))
    with run.during("saving", 20):
        clock(5)
    _train(run, clock, range(21, 31), decode_failures=lambda step: 3)


def test_an_undisturbed_run(tmp_path, clock):
    with _open(tmp_path) as run:
        assert _read(tmp_path)["state"] == "starting"
        run.begin(0)
        clock(10)
        run.first_step_done()
        _train(run, clock, range(2, 101), decode_failures=lambda step: step // 50)
        with run.during("evaluating", 100):
            assert _read(tmp_path)["state"] == "evaluating"
            clock(6)
    saved = _read(tmp_path)
    assert (saved["state"], saved["reason"], saved["step"], saved["epoch"]) == ("finished", None, 100, 10.0)
    assert (saved["useful_seconds"], saved["wall_seconds"], saved["lost_seconds"]) == (99, 115, 0)
    assert saved["goodput"] == pytest.approx(99 / 115) and (saved["starts"], saved["restarts"]) == (1, 0)
    assert (
        saved["loss"],
        saved["images_per_second"],
        saved["skipped_steps"],
        saved["decode_failures"],
    ) == (
        0.01,
        64,
        2,
        2,
    )
    assert saved["checkpoint"] is None


def test_repeated_steps_and_the_time_between_starts_are_lost(tmp_path, clock):
    _killed(tmp_path, clock)
    clock(60)  # nothing runs
    with _open(tmp_path) as run:
        assert _read(tmp_path)["starts"] == 2
        run.begin(20)
        clock(8)
        run.first_step_done()
        _train(run, clock, range(22, 101))
    saved = _read(tmp_path)
    # Step 20 was reached at 29 s, the kill came at 44 s, and the second start finished a step at 112 s.
    assert saved["lost_seconds"] == 112 - 29
    assert saved["useful_seconds"] == 19 + 79 and saved["wall_seconds"] == 112 + 79
    assert saved["goodput"] == pytest.approx(98 / 191)
    assert saved["restarts"] == 1 and saved["decode_failures"] == 0, (
        "the failures of steps 25 and 30 will occur again"
    )


def test_a_step_between_two_marks_is_interpolated(tmp_path, clock):
    _killed(tmp_path, clock)
    run = _open(tmp_path)
    run.begin(27)
    assert _read(tmp_path)["useful_seconds"] == pytest.approx(26)
    assert _read(tmp_path)["decode_failures"] == 3


def test_starts_that_are_killed_before_their_first_step_are_counted(tmp_path, clock):
    _killed(tmp_path, clock)
    for _ in range(3):
        clock(60)
        _open(tmp_path).__enter__()
    run = _open(tmp_path)
    run.begin(20)
    clock(8)
    run.first_step_done()
    saved = _read(tmp_path)
    assert (
        saved["starts"] == 5
        and saved["lost_seconds"] == 44 + 3 * 60 + 8 - 29
        and saved["useful_seconds"] == 19
    )


def test_a_start_from_step_0_has_lost_all_time(tmp_path, clock):
    _killed(tmp_path, clock)
    run = _open(tmp_path)
    run.begin(0)
    clock(10)
    run.first_step_done()
    saved = _read(tmp_path)
    assert saved["useful_seconds"] == 0 and saved["lost_seconds"] == saved["wall_seconds"] == 54


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": "training"}', "null", "\x00" * 40])
def test_a_damaged_file_is_ignored(tmp_path, clock, content):
    (tmp_path / "status.json").write_text(content)
    assert saved_run.saved_status(tmp_path) is None
    with _open(tmp_path) as run:
        run.begin(40)
    assert _read(tmp_path)["starts"] == 1


def test_the_reason_of_a_stop_is_recorded(tmp_path, clock):
    with pytest.raises(RunError), _open(tmp_path) as run:
        run.begin(0)
        raise RunError("the loss was not finite\nin ten steps")
    saved = _read(tmp_path)
    assert (saved["state"], saved["reason"]) == ("stopped", "RunError: the loss was not finite")
    with pytest.raises(KeyboardInterrupt), _open(tmp_path):
        raise KeyboardInterrupt
    assert _read(tmp_path)["reason"] == "KeyboardInterrupt"


def test_a_start_on_a_finished_run_changes_nothing(tmp_path, clock):
    with _open(tmp_path) as run:
        run.begin(0)
        run.first_step_done()
        _train(run, clock, range(2, 101))
    before = _read(tmp_path)
    clock(1000)
    with _open(tmp_path) as run:
        run.begin(100)
    assert _read(tmp_path) == before


def test_the_newest_complete_checkpoint_is_recorded(tmp_path, clock):
    for name in ("5", "20", "30.orbax-checkpoint-tmp"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    with _open(tmp_path):
        pass
    assert _read(tmp_path)["checkpoint"]["step"] == 20


def test_the_number_of_marks_is_limited_and_interpolation_stays_exact(tmp_path, clock):
    run = Status(tmp_path, num_steps=10**6, epoch=lambda step: step / 10, active=False)
    run.begin(0)
    run.first_step_done()
    for step in range(1, 3001):
        clock(2.0)
        run.log(step, {})
    assert len(run._marks) <= 200
    assert all(run._at(step)[1] == pytest.approx(2.0 * step) for step in (0, 1, 77, 1501, 2999, 3000))


def test_a_failed_write_is_logged_once_and_inactive_processes_write_nothing(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with _open(tmp_path / "file") as run:
        run.begin(0)
    assert capsys.readouterr().err.count("warning: ") == 1
    with Status(tmp_path, num_steps=1, epoch=lambda step: step / 1, active=False) as run:
        run.begin(0)
    assert not (tmp_path / "status.json").exists()


def test_a_reader_never_sees_an_incomplete_file(tmp_path):
    """Read the file while a process rewrites it continually, until that process is killed."""
    code = (
        "import sys, pathlib; from barlow_jax.workdir.status import Status\n"
        "run = Status(pathlib.Path(sys.argv[1]), num_steps=9, epoch=lambda step: step / 1); run.begin(0)\n"
        "step = 0\nwhile True:\n    step += 1; run.log(step, {'loss': 1.0})"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    while not (tmp_path / "status.json").exists():
        time.sleep(0.01)
    steps = [saved_run.saved_status(tmp_path)["step"] for _ in range(200)]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert steps == sorted(steps) and steps[-1] > steps[0]
    assert saved_run.saved_status(tmp_path)["step"] >= steps[-1]
