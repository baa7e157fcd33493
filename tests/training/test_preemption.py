"""SIGTERM to a process with a simulated run: where it stops, what it saves, and its message."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from barlow_jax.training import preemption

# A run of four steps, without jax. A line on standard input selects what each step does.
RUN = """
import hashlib, sys, time
from barlow_jax.training import preemption

preemption._PATIENCE_S = float(sys.argv[1])

def report(*words):
    print(*words, flush=True)

def step(done):
    if done > 1 or "from the first" in sys.argv:
        report("at", done)
        word = sys.stdin.readline().strip()
        if word == "compile":  # minutes without the interpreter: no Python handler would run
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
        while word == "wait" and not preemption._watcher._stop_at:
            time.sleep(0.001)

def save(done):
    report("save", done)
    report("saving")
    sys.stdin.readline()

def main():
    with preemption.watch(), preemption.run_scope():
        hook = preemption.with_stop_point([lambda done, *_: step(done)], save, last_step=4)
        for done in range(1, 5):
            hook(done, done, None)
        report("closing")
        sys.stdin.readline()
    report("done")

try:
    main()
except preemption.Preempted as error:
    print(error, file=sys.stderr)
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
        _, err = self.process.communicate(timeout=60)
        assert self.process.returncode == code, err
        return err


@pytest.fixture
def start():
    runs = []
    yield lambda *args, **kwargs: runs.append(_Run(*args, **kwargs)) or runs[-1]
    for run in runs:
        run.process.kill()
        run.process.communicate()


def test_the_step_under_way_is_finished_and_saved_after_repeated_signals(start):
    run = start()
    run.until("at 2")
    for _ in range(3):
        run.terminate()
    run.answer("wait")
    run.until("save 2")
    run.until("saving")
    run.terminate()
    run.answer()
    err = run.end(143)
    assert "step 2 is saved. Run the same command again" in err and err.count("SIGTERM") == 1


def test_before_the_first_step_the_process_exits_at_once(start):
    run = start("from the first")
    run.until("at 1")
    run.answer("compile")
    run.terminate()
    assert "nothing to save" in run.end(143)


def test_a_step_that_does_not_end_is_not_waited_for(start):
    run = start(patience=0.2)
    run.until("at 2")
    run.answer("compile")
    run.terminate()
    assert "no step ended in" in run.end(143)


def test_a_save_is_waited_for(start):
    run = start(patience=0.2)
    run.until("at 2")
    run.terminate()
    run.answer("wait")
    run.until("save 2")
    run.until("saving")
    with pytest.raises(subprocess.TimeoutExpired):
        run.process.wait(1)  # five times its patience
    run.answer()
    assert "step 2 is saved" in run.end(143)


def test_a_complete_run_that_is_closing_finishes_normally(start):
    run = start(patience=0.2)
    for step in (2, 3, 4):
        run.until(f"at {step}")
        run.answer()
    run.until("closing")
    run.terminate()
    run.answer()
    assert run.end(0) == ""


def test_the_handler_is_restored_and_other_threads_do_not_watch():
    handler, files = signal.getsignal(signal.SIGTERM), set(os.listdir("/proc/self/fd"))
    with preemption.watch():
        assert signal.getsignal(signal.SIGTERM) != handler
    assert signal.getsignal(signal.SIGTERM) == handler and set(os.listdir("/proc/self/fd")) == files

    def in_a_thread():
        with preemption.watch():
            preemption.stop_point()
            assert signal.getsignal(signal.SIGTERM) == handler

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()


def test_a_library_that_takes_the_signal_does_not_keep_it():
    ignore = ctypes.c_void_p(signal.SIG_IGN.value)
    with preemption.watch():
        ctypes.CDLL(None).signal(signal.SIGTERM, ignore)  # unknown to Python
        with preemption.run_scope(), pytest.raises(preemption.Preempted):
            preemption.stop_point()
            _terminate_and_wait()
            preemption.stop_point()


def test_the_time_before_the_first_step_does_not_extend_the_patience():
    with preemption.watch(), preemption.run_scope():
        gaps = []
        for _ in range(3):
            time.sleep(0.01)
            preemption.stop_point()
            gaps.append(preemption._watcher._gap)
    assert gaps[0] == 0 and min(gaps[1:]) >= 0.01


def test_processes_that_cannot_agree_exit_at_once(monkeypatch, capsys):
    """The others may have exited already."""

    class Store:
        def key_value_try_get(self, key):
            raise ValueError("NOT_FOUND")

        def key_value_set(self, key, value, allow_overwrite):
            raise ConnectionError("gone")

    exits = []
    monkeypatch.setattr(preemption.exchange, "client", Store)
    monkeypatch.setattr(preemption.shutdown, "exit_together", exits.append)
    with preemption.watch(), preemption.run_scope():
        preemption.stop_point()
        _terminate_and_wait()
    assert exits == [143] and "cannot agree on a step to stop at: gone" in capsys.readouterr().err


def test_after_a_preempted_run_no_further_run_starts():
    with preemption.watch():
        with preemption.run_scope():
            preemption.stop_point()
            preemption._watcher.close()
            _terminate_and_wait()
        with pytest.raises(preemption.Preempted, match="no further run"), preemption.run_scope():
            pass


def _terminate_and_wait():
    os.kill(os.getpid(), signal.SIGTERM)
    deadline = time.monotonic() + 30
    while preemption._watcher._stop_at is None and time.monotonic() < deadline:
        time.sleep(0.001)
