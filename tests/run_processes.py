"""Commands in processes of their own, of which several can form one run; faults to inject into them."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

from xla_flags import xla_flags

CONFIG = str(pathlib.Path(__file__).with_name("small_config.py"))


class Process(subprocess.Popen):
    """Process whose output is read from the start: a full pipe would block it, and with it its run."""

    def __init__(self, argv, env):
        super().__init__(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._output = ()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        self._output = super().communicate()

    def communicate(self, input=None, timeout=None):
        self._reader.join(timeout)
        if self._reader.is_alive():
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self._output


def start(part, *argv, devices=1, script=__file__, **environment):
    """Start a process that runs `part`, a function of `script` with arguments, around `barlow_jax`'s main."""
    path = os.pathsep.join(sys.path)  # `script` imports this module
    return Process(
        [sys.executable, script, *map(str, part), "pretrain", "--config", CONFIG, *map(str, argv)],
        env=os.environ
        | {"XLA_FLAGS": xla_flags(devices), "PYTHONFAULTHANDLER": "1", "PYTHONPATH": path}
        | environment,
    )


def start_two(part, *argv, **kwargs):
    """Start two processes of one run."""
    coordinator = f"127.0.0.1:{free_port()}"
    return [
        start(part, "--coordinator", coordinator, "--num-processes=2", f"--process-id={i}", *argv, **kwargs)
        for i in range(2)
    ]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def finish(process, code=0):
    """Wait for a process to end with this exit code; return its standard output and standard error."""
    try:
        out, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # prints where it is
        raise AssertionError(f"still running after 120 s:\n{process.communicate()[1]}") from None
    assert process.returncode == code, err
    return out, err


def play(*parts):
    """Run the part that the command line names; return the exit code."""
    part = {function.__name__: function for function in parts}[sys.argv[1]]
    count = part.__code__.co_argcount - 1
    return part(*sys.argv[2 : 2 + count], sys.argv[2 + count :])


def record_ids(folder, argv):
    """Run `pretrain`, and write the indices of its examples to FOLDER/ids<process>.json."""
    import jax

    ids = []

    def record(number, batch):
        ids.append(batch.index.tolist())

    code = _with_batches(record, argv)
    (pathlib.Path(folder) / f"ids{jax.process_index()}.json").write_text(json.dumps(ids))
    return code


def end_at_a_batch(how, process_id, number, argv):
    """Run `pretrain`; one process gets a signal when it reads the batch of this number (0-based)."""

    def end(current, batch):
        import jax

        if current == int(number) and jax.process_index() == int(process_id):
            os.kill(os.getpid(), getattr(signal, how))

    return _with_batches(end, argv)


def write_little_from(number, process_id, argv):
    """Run `pretrain`; for three batches from this one, one process can write only a few bytes per file."""
    import resource

    def limit(current, batch):
        import jax

        if jax.process_index() == int(process_id):
            soft = {int(number): 16, int(number) + 3: resource.RLIM_INFINITY}.get(current)
            if soft is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))

    return _with_batches(limit, argv)


def terminate_in(function, process_id, argv):
    """Run `pretrain`; one process gets SIGTERM when it calls this function, and waits until all agree."""
    import importlib

    import jax

    from barlow_jax.training import preemption

    module, _, attribute = function.rpartition(".")
    owner = importlib.import_module(module)
    called = getattr(owner, attribute)

    def terminated(*args, **kwargs):
        if jax.process_index() == int(process_id):
            os.kill(os.getpid(), signal.SIGTERM)
            while preemption._watcher._stop_at is None:
                time.sleep(0.001)
        return called(*args, **kwargs)

    setattr(owner, attribute, terminated)
    return _main(argv)


def _with_batches(callback, argv):
    """Run `pretrain`; `callback(number, batch)` is called with each batch that this process reads."""
    from barlow_jax.experiment import run

    class DevicePrefetcher(run.DevicePrefetcher):
        def __init__(self, batches, to_devices):
            def observed():
                for number, batch in enumerate(batches):
                    callback(number, batch)
                    yield batch

            super().__init__(observed(), to_devices)

    original, run.DevicePrefetcher = run.DevicePrefetcher, DevicePrefetcher
    try:
        return _main(argv)
    finally:
        run.DevicePrefetcher = original


def _main(argv):
    from barlow_jax.__main__ import main

    return main(argv)


if __name__ == "__main__":
    if os.environ.get("WITHOUT_TENSORFLOW"):  # ten seconds of import
        sys.modules.update(tensorflow=None, tensorflow_datasets=None)
    sys.exit(play(record_ids, end_at_a_batch, write_little_from, terminate_in))
