"""`status.json` against sums by hand, on a clock of the tests' own."""

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
    """Seconds since START; `clock(5)` lets five go by."""
    now = [0.0]
    monkeypatch.setattr(status.time, "time", lambda: START + now[0])
    monkeypatch.setattr(status.time, "monotonic", lambda: 7.0 + now[0])

    def passes(seconds):
        now[0] += seconds

    return passes


def _open(workdir):
    return Status(workdir, num_steps=100, steps_per_epoch=10)


def _figures(workdir):
    return json.loads((workdir / "status.json").read_text())


def _train(one, clock, steps, *, seconds_a_step=1.0, every=5, decode_failures=lambda step: 0):
    for step in steps:
        clock(seconds_a_step)
        if step % every == 0:
            one.log(
                step,
                {
                    "loss": 1.0 / step,
                    "images_per_second": 64.0,
                    "skipped_steps": 2.0,
                    "decode_failures": decode_failures(step),
                },
            )


def _killed(workdir, clock):
    """A start that compiles for 10 s, does 1 + 29 steps of a second each with 5 s of saving at 20, and is killed."""
    one = _open(workdir)
    one.__enter__()
    one.begin(0)
    clock(10)
    one.first_step_done()
    _train(one, clock, range(2, 21))
    with one.during("saving", 20):
        clock(5)
    _train(one, clock, range(21, 31), decode_failures=lambda step: 3)


def test_a_run_that_nobody_touched(tmp_path, clock):
    with _open(tmp_path) as one:
        assert _figures(tmp_path)["state"] == "starting"
        one.begin(0)
        clock(10)
        one.first_step_done()
        _train(one, clock, range(2, 101), decode_failures=lambda step: step // 50)
        with one.during("evaluating", 100):
            assert _figures(tmp_path)["state"] == "evaluating"
            clock(6)
    it = _figures(tmp_path)
    assert (it["state"], it["why"], it["step"], it["epoch"]) == ("finished", None, 100, 10.0)
    assert (it["useful_seconds"], it["wall_seconds"], it["lost_seconds"]) == (99, 115, 0)
    assert it["goodput"] == pytest.approx(99 / 115) and (it["starts"], it["restarts"]) == (1, 0)
    assert (it["loss"], it["images_per_second"], it["skipped_steps"], it["decode_failures"]) == (
        0.01,
        64,
        2,
        2,
    )
    assert it["checkpoint"] is None


def test_steps_that_are_done_again_and_the_time_between_are_lost(tmp_path, clock):
    _killed(tmp_path, clock)
    clock(60)  # nothing runs
    with _open(tmp_path) as one:
        assert _figures(tmp_path)["starts"] == 2
        one.begin(20)
        clock(8)
        one.first_step_done()
        _train(one, clock, range(22, 101))
    it = _figures(tmp_path)
    # Step 20 was reached at 29 s; the kill came at 44 s, the first step of the second start was done at 112 s.
    assert it["lost_seconds"] == 112 - 29
    assert it["useful_seconds"] == 19 + 79 and it["wall_seconds"] == 112 + 79
    assert it["goodput"] == pytest.approx(98 / 191)
    assert it["restarts"] == 1 and it["decode_failures"] == 0, "those of steps 25 and 30 come again"


def test_a_step_between_two_marks_is_placed_by_proportion(tmp_path, clock):
    _killed(tmp_path, clock)
    one = _open(tmp_path)
    one.begin(27)
    assert _figures(tmp_path)["useful_seconds"] == pytest.approx(26)
    assert _figures(tmp_path)["decode_failures"] == 3


def test_a_run_that_is_killed_again_before_its_first_step_loses_no_count(tmp_path, clock):
    _killed(tmp_path, clock)
    for _ in range(3):
        clock(60)
        _open(tmp_path).__enter__()
    one = _open(tmp_path)
    one.begin(20)
    clock(8)
    one.first_step_done()
    it = _figures(tmp_path)
    assert it["starts"] == 5 and it["lost_seconds"] == 44 + 3 * 60 + 8 - 29 and it["useful_seconds"] == 19


def test_a_start_from_the_beginning_has_lost_all(tmp_path, clock):
    _killed(tmp_path, clock)
    one = _open(tmp_path)
    one.begin(0)
    clock(10)
    one.first_step_done()
    it = _figures(tmp_path)
    assert it["useful_seconds"] == 0 and it["lost_seconds"] == it["wall_seconds"] == 54


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": "training"}', "null", "\x00" * 40])
def test_a_file_that_is_torn_is_none(tmp_path, clock, content):
    (tmp_path / "status.json").write_text(content)
    assert saved_run.saved_status(tmp_path) is None
    with _open(tmp_path) as one:
        one.begin(40)
    assert _figures(tmp_path)["starts"] == 1


def test_why_a_run_stopped_is_there(tmp_path, clock):
    with pytest.raises(RunError), _open(tmp_path) as one:
        one.begin(0)
        raise RunError("the loss was not finite\nin ten steps")
    it = _figures(tmp_path)
    assert (it["state"], it["why"]) == ("stopped", "RunError: the loss was not finite")
    with pytest.raises(KeyboardInterrupt), _open(tmp_path):
        raise KeyboardInterrupt
    assert _figures(tmp_path)["why"] == "KeyboardInterrupt"


def test_a_start_on_a_finished_run_changes_nothing(tmp_path, clock):
    with _open(tmp_path) as one:
        one.begin(0)
        one.first_step_done()
        _train(one, clock, range(2, 101))
    before = _figures(tmp_path)
    clock(1000)
    with _open(tmp_path) as one:
        one.begin(100)
    assert _figures(tmp_path) == before


def test_the_newest_whole_checkpoint_is_told(tmp_path, clock):
    for name in ("5", "20", "30.orbax-checkpoint-tmp"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    with _open(tmp_path):
        pass
    assert _figures(tmp_path)["checkpoint"]["step"] == 20


def test_marks_stay_few_and_what_they_say_stays_right(tmp_path, clock):
    one = Status(tmp_path, num_steps=10**6, steps_per_epoch=10, active=False)
    one.begin(0)
    one.first_step_done()
    for step in range(1, 3001):
        clock(2.0)
        one.log(step, {})
    assert len(one._marks) <= 200
    assert all(one._at(step)[1] == pytest.approx(2.0 * step) for step in (0, 1, 77, 1501, 2999, 3000))


def test_a_file_that_cannot_be_written_is_said_once_and_others_write_nothing(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with _open(tmp_path / "file") as one:
        one.begin(0)
    assert capsys.readouterr().err.count("WARNING") == 1
    with Status(tmp_path, num_steps=1, steps_per_epoch=1, active=False) as one:
        one.begin(0)
    assert not (tmp_path / "status.json").exists()


def test_a_reader_never_sees_half_a_file(tmp_path):
    """Written over and over by a process that is killed; read all the while."""
    code = (
        "import sys, pathlib; from barlow_jax.workdir.status import Status\n"
        "one = Status(pathlib.Path(sys.argv[1]), num_steps=9, steps_per_epoch=1); one.begin(0)\n"
        "step = 0\nwhile True:\n    step += 1; one.log(step, {'loss': 1.0})"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    while not (tmp_path / "status.json").exists():
        time.sleep(0.01)
    steps = [saved_run.saved_status(tmp_path)["step"] for _ in range(200)]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert steps == sorted(steps) and steps[-1] > steps[0]
    assert saved_run.saved_status(tmp_path)["step"] >= steps[-1]
