"""SIGTERM to a process that plays a run: where it stops, what it saves, what it says."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from barlow_jax.training import preemption

# A run of four steps, without jax. Each is told by a line on standard input how it goes.
RUN = """
import hashlib, sys, time
from barlow_jax.running import preemption

preemption._PATIENCE_S = float(sys.argv[1])

def say(*words):
    print(*words, flush=True)

def step(done):
    if done > 1 or "from the first" in sys.argv:
        say("at", done)
        word = sys.stdin.readline().strip()
        if word == "compile":  # minutes without the interpreter: no handler of Python's would run
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
        while word == "told" and not preemption._watching._stop_at:
            time.sleep(0.001)

def save(done):
    say("save", done)
    say("saves")
    sys.stdin.readline()

def main():
    with preemption.watched(), preemption.run():
        hook = preemption.saving([lambda done, *_: step(done)], save, last=4)
        for done in range(1, 5):
            hook(done, done, None)
        say("closes")
        sys.stdin.readline()
    say("done")

try:
    main()
except preemption.Preempted as told:
    print(told, file=sys.stderr)
    sys.exit(preemption.EXIT_CODE)
"""


class _Run:
    def __init__(self, *flags, patience=60.0):
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(patience), *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, line):
        assert self.process.stdout.readline().strip() == line

    def answer(self, word=""):
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def end(self, code):
        _, said = self.process.communicate(timeout=60)
        assert self.process.returncode == code, said
        return said


@pytest.fixture
def start():
    runs = []
    yield lambda *args, **kwargs: runs.append(_Run(*args, **kwargs)) or runs[-1]
    for run in runs:
        run.process.kill()
        run.process.communicate()


def test_the_step_under_way_is_finished_and_saved_however_often_one_asks(start):
    run = start()
    run.until("at 2")
    for _ in range(3):
        run.terminate()
    run.answer("told")
    run.until("save 2")
    run.until("saves")
    run.terminate()
    run.answer()
    said = run.end(143)
    assert "step 2 is saved; run the same command again" in said and said.count("told to stop") == 1


def test_before_the_first_step_it_leaves_at_once(start):
    run = start("from the first")
    run.until("at 1")
    run.answer("compile")
    run.terminate()
    assert "nothing was to be saved" in run.end(143)


def test_a_step_that_does_not_end_is_not_waited_for(start):
    run = start(patience=0.2)
    run.until("at 2")
    run.answer("compile")
    run.terminate()
    assert "no step ended within" in run.end(143)


def test_a_save_is_waited_for(start):
    run = start(patience=0.2)
    run.until("at 2")
    run.terminate()
    run.answer("told")
    run.until("save 2")
    run.until("saves")
    with pytest.raises(subprocess.TimeoutExpired):
        run.process.wait(1)  # five times its patience
    run.answer()
    assert "step 2 is saved" in run.end(143)


def test_a_run_that_is_done_but_for_its_end_ends(start):
    run = start(patience=0.2)
    for step in (2, 3, 4):
        run.until(f"at {step}")
        run.answer()
    run.until("closes")
    run.terminate()
    run.answer()
    assert run.end(0) == ""


def test_nothing_is_left_of_it_and_nobody_watches_from_a_thread():
    handler, files = signal.getsignal(signal.SIGTERM), set(os.listdir("/proc/self/fd"))
    with preemption.watched():
        assert signal.getsignal(signal.SIGTERM) != handler
    assert signal.getsignal(signal.SIGTERM) == handler and set(os.listdir("/proc/self/fd")) == files

    def elsewhere():
        with preemption.watched():
            preemption.point()
            assert signal.getsignal(signal.SIGTERM) == handler

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()


def test_a_library_that_takes_the_signal_does_not_keep_it():
    ignore = ctypes.c_void_p(signal.SIG_IGN.value)
    with preemption.watched():
        ctypes.CDLL(None).signal(signal.SIGTERM, ignore)  # where Python does not see it
        with preemption.run(), pytest.raises(preemption.Preempted):
            preemption.point()
            _terminate_and_wait()
            preemption.point()


def test_what_came_before_the_first_step_does_not_make_it_more_patient():
    with preemption.watched(), preemption.run():
        gaps = []
        for _ in range(3):
            time.sleep(0.01)
            preemption.point()
            gaps.append(preemption._watching._gap)
    assert gaps[0] == 0 and min(gaps[1:]) >= 0.01


def test_processes_that_cannot_agree_leave_at_once(monkeypatch, capsys):
    """The others may be gone already."""

    class Store:
        def key_value_try_get(self, key):
            raise ValueError("NOT_FOUND")

        def key_value_set(self, key, value, allow_overwrite):
            raise ConnectionError("gone")

    left = []
    monkeypatch.setattr(preemption.exchange, "client", Store)
    monkeypatch.setattr(preemption.shutdown, "exit_together", left.append)
    with preemption.watched(), preemption.run():
        preemption.point()
        _terminate_and_wait()
    assert left == [143] and "cannot agree on a step to stop at: gone" in capsys.readouterr().err


def test_after_one_run_of_several_no_other_is_started():
    with preemption.watched():
        with preemption.run():
            preemption.point()
            preemption._watching.close()
            _terminate_and_wait()
        with pytest.raises(preemption.Preempted, match="no further run"), preemption.run():
            pass


def _terminate_and_wait():
    os.kill(os.getpid(), signal.SIGTERM)
    deadline = time.monotonic() + 30
    while preemption._watching._stop_at is None and time.monotonic() < deadline:
        time.sleep(0.001)
