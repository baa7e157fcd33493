"""Soak test: kill a run again and again, and compare its result with an uninterrupted run.

    python tests/soak.py --kills 100

The times of the kills are random with a seed, and alternate between phases: during a save, during
compilation, after some rows of metrics, during start-up, at any time; every sixth is a SIGTERM. When a run
ends, it is compared, and the next one begins, until all kills are done. Compared bit for bit: every array of
the last checkpoint (parameters, statistics, optimizer), `metrics.jsonl` without CLOCKS, and the names of the
files.

Runs are forks of this process, which has imported everything but used nothing: that saves 15 s of imports per
start.
"""

import argparse
from collections.abc import Iterator
import contextlib
import itertools
import json
import os
import pathlib
import random
import signal
import sys
import tempfile
import time

import bucket_server
from etils import epath
from xla_flags import xla_flags

from barlow_jax.io import jsonl, paths
from barlow_jax.io.paths import Path
from barlow_jax.workdir import saved_run

CONFIG = pathlib.Path(__file__).with_name("small_config.py")
FLAGS = (
    "--config.checkpoint.every_epochs=0.28",
    "--config.monitor.max_images=500",
)  # a save every third step
CLOCKS = ("images_per_second", "data_wait_fraction")  # metrics that measure time
PHASES = ("save", "compile", "rows", "SIGTERM", "start-up", "anywhere")
_LIMIT_S = 600  # for one start
_TERM_S = 15  # for a run to stop after SIGTERM; in a bucket two saves may be left to do
_TERM_IN_BUCKET_S = 120


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder", type=pathlib.Path, help="keep the runs and their output here; default: temporary"
    )
    parser.add_argument(
        "--bucket",
        action="store_true",
        help="the runs are in a bucket (bucket_server.py), where each request takes 50 ms and 5 %% fail",
    )
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = args.folder or pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root = Path(folder)
        if args.bucket:
            url = stack.enter_context(bucket_server.process())
            os.environ.update(bucket_server.environment(url))
            bucket_server.inject(url, latency_s=0.05, failing=0.05)
            root = Path(f"gs://{bucket_server.BUCKET}")
        return soak(root, folder, args.kills, random.Random(args.seed))


def soak(root: Path, folder: pathlib.Path, kills: int, rng: random.Random) -> int:
    """Return 0 if every completed run equals the uninterrupted one bit for bit; print the progress.

    The workdirs are in `root`, everything else in `folder`.
    """
    _import_all(folder)
    began = time.monotonic()
    untouched = Start(root / "untouched", folder, cold=False)
    times = untouched.run_to_end()
    done, finished, different = 0, 0, 0
    phases = itertools.cycle(PHASES)
    phase = next(phases)
    for number in itertools.count():
        if number > 4 * kills + 4:
            print("the runs end before they can be killed")
            return 1
        workdir = root / f"run{finished}"
        start = Start(workdir, folder, cold=phase == "compile" and done < kills)
        outcome = "its end" if done == kills else start.stop(phase, rng, times)
        if outcome == "its end":
            start.finish(0)
        print(f"{time.monotonic() - began:5.0f} s  run {finished}  start {number}: {outcome}", flush=True)
        if outcome == "its end":
            finished += 1
            different += not _is_same(workdir, root / "untouched", folder)
            paths.remove_folder(workdir)
            if done == kills:
                break
        else:
            done += 1
            phase = next(phases)
    print(f"{done} kills, {finished} runs to the end, {different} of them different")
    return int(different > 0)


class Start:
    """One start of the run, as a process."""

    def __init__(self, workdir: Path, folder: pathlib.Path, *, cold: bool):
        """Fork the process, whose log is in the folder; `cold` compiles without the cache."""
        self._workdir = workdir
        self._log = folder / f"{workdir.name}.log"
        self._from = self._log.stat().st_size if self._log.exists() else 0
        self._rows = self._count_rows()
        self._began = time.monotonic()
        self._pid, self._code = _fork(self._log, lambda: _pretrain(workdir, cold)), None

    def run_to_end(self) -> dict[str, float]:
        """Wait for the end; return the seconds to the first row and to the end."""
        self._wait_for(lambda: self._count_rows() > 0)
        first = time.monotonic() - self._began
        self.finish(0)
        return {"start-up": first, "anywhere": time.monotonic() - self._began}

    def stop(self, phase: str, rng: random.Random, times: dict[str, float]) -> str:
        """End the process at a random time in this phase; return a description of what happened."""
        if phase == "save":
            self._wait_for(self._half_saved)
            delay = rng.uniform(0, 0.06)
        elif phase == "compile":
            self._wait_for(lambda: b"Compiling jit(train_step)" in self._output())
            delay = rng.uniform(0, 1)
        elif phase in ("rows", "SIGTERM"):
            rows = self._rows + rng.randint(1, 3)
            self._wait_for(lambda: self._count_rows() >= rows)
            delay = rng.uniform(0, 0.3)
        else:
            delay = rng.uniform(0, times[phase])
        until = time.monotonic() + delay
        self._wait_for(lambda: time.monotonic() >= until)
        if self._ended():
            return "its end"
        signalled = time.monotonic()
        os.kill(self._pid, signal.SIGTERM if phase == "SIGTERM" else signal.SIGKILL)
        if self.finish(0, 143 if phase == "SIGTERM" else -signal.SIGKILL) == 0:
            return "its end"
        took = time.monotonic() - signalled
        limit = _TERM_IN_BUCKET_S if paths.is_url(self._workdir) else _TERM_S
        assert took < limit, f"{phase} took {took:.0f} s"
        saving = ", during a save" if self._half_saved() else ""
        return f"ended after {took:.1f} s ({phase}), with {self._count_rows()} rows{saving}"

    def finish(self, *codes: int) -> int:
        """Wait for the end, and check that the exit code is one of these; return it."""
        self._wait_for(lambda: False)
        assert self._code in codes, f"exit code {self._code}:\n{self._end_of_log()}"
        return self._code

    def _wait_for(self, condition) -> None:
        """Wait until the condition holds, or the process has ended."""
        while not (self._ended() or condition()):
            if time.monotonic() - self._began > _LIMIT_S:
                os.kill(self._pid, signal.SIGKILL)
                raise TimeoutError(f"more than {_LIMIT_S} s:\n{self._end_of_log()}")
            time.sleep(0.002)

    def _ended(self) -> bool:
        if self._code is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code is not None

    def _output(self) -> bytes:
        return self._log.read_bytes()[self._from :]

    def _end_of_log(self) -> str:
        return self._output()[-3000:].decode(errors="replace")

    def _half_saved(self) -> bool:
        folder = self._workdir / "checkpoints"
        if paths.is_url(folder):
            started = {path.name for path in folder.glob("*")}
            return bool(started - {str(step) for step in saved_run.checkpoint_steps(self._workdir)})
        return any(folder.glob("*.orbax-checkpoint-tmp*"))

    def _count_rows(self) -> int:
        return len(jsonl.read(self._workdir / "metrics.jsonl")[0])


def differences(one: Path, other: Path) -> list[str]:
    """Return a phrase for each difference between two complete runs. Uses jax."""
    return [*_different_names(one, other), *_different_rows(one, other), *_different_arrays(one, other)]


def _different_names(one: Path, other: Path) -> Iterator[str]:
    for part in ("", "checkpoints", "results"):
        names = [{path.name for path in (workdir / part).iterdir()} for workdir in (one, other)]
        if names[0] != names[1]:
            yield f"/{part} has {sorted(names[0])} and {sorted(names[1])}"


def _different_rows(one: Path, other: Path) -> Iterator[str]:
    rows = [(workdir / "metrics.jsonl").read_text().splitlines() for workdir in (one, other)]
    if len(rows[0]) != len(rows[1]):
        yield f"metrics.jsonl has {len(rows[0])} and {len(rows[1])} rows"
    for number, pair in enumerate(zip(*rows, strict=False)):
        # Floats that Python has written are read back to the same bits.
        a, b = ({k: v for k, v in json.loads(row).items() if k not in CLOCKS} for row in pair)
        if a != b:
            yield f"row {number} of metrics.jsonl is {a} and {b}"


def _different_arrays(one: Path, other: Path) -> Iterator[str]:
    a, b = map(final_arrays, (one, other))
    if a.keys() != b.keys():
        yield f"arrays are {sorted(a)} and {sorted(b)}"
    for name in a.keys() & b.keys():
        same = (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape)
        if not same or a[name].tobytes() != b[name].tobytes():
            yield f"{name} has other bits"


def final_arrays(workdir: Path) -> dict:
    """Return all arrays of the newest checkpoint on the host, by name."""
    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    step = max(saved_run.checkpoint_steps(workdir))
    folder = epath.Path(str(workdir.absolute() / "checkpoints" / str(step) / "default"))
    handler = ocp.PyTreeCheckpointHandler()
    shapes = handler.metadata(folder).tree
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
    tree = handler.restore(folder, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    return {name: np.asarray(array) for name, array in ocp.tree.to_flat_dict(tree, sep=".").items()}


def _is_same(one: Path, other: Path, folder: pathlib.Path) -> bool:
    """Compare in a process of its own: this one must not use jax, or its forks could not."""

    def compare() -> int:
        phrases = differences(one, other)
        print("\n".join(phrases), file=sys.stderr)
        return int(bool(phrases))

    log = folder / f"{one.name}.compared"
    _, status = os.waitpid(_fork(log, compare), 0)
    if status:
        print(f"{one.name} differs from the uninterrupted run:\n{log.read_text()}", flush=True)
    return status == 0


def _fork(log: pathlib.Path, work) -> int:
    """Fork a process that calls `work` and appends its output to `log`; return its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1), os.dup2(file, 2)
        code = work()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def _pretrain(workdir: Path, cold: bool) -> int:
    import jax

    from barlow_jax.__main__ import main

    jax.config.update("jax_log_compiles", cold)  # the log shows when compilation starts
    jax.config.update("jax_enable_compilation_cache", not cold)
    return main(["pretrain", "--config", str(CONFIG), "--workdir", str(workdir), *FLAGS])


def _import_all(folder: pathlib.Path) -> None:
    """Import all that `pretrain` does, without initializing jax's devices."""
    os.environ["XLA_FLAGS"] = xla_flags(2)
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import jax

    from barlow_jax import __main__  # noqa: F401
    from barlow_jax.commands import pretrain  # noqa: F401
    from barlow_jax.data import splits  # noqa: F401

    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


if __name__ == "__main__":
    sys.exit(main())
