"""Programs in processes of their own, several of which are one run; and the parts that a process can play."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

CONFIG = str(pathlib.Path(__file__).with_name("small_config.py"))


class Process(subprocess.Popen):
    """Is read from its start on: one that waits for a reader of what it says has the others of its run wait for it."""

    def __init__(self, argv, env):
        super().__init__(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._said = ()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        self._said = super().communicate()

    def communicate(self, input=None, timeout=None):
        self._reader.join(timeout)
        if self._reader.is_alive():
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self._said


def start(part, *argv, devices=1, script=__file__, **environment):
    """A process that plays `part`, a function of `script` and its arguments, around `barlow_jax`'s main."""
    flags = (  # the last one halves the time of compiling
        f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0 "
        "--xla_cpu_use_fusion_emitters=false"
    )
    path = os.pathsep.join(sys.path)  # `script` imports this module
    return Process(
        [sys.executable, script, *map(str, part), "pretrain", "--config", CONFIG, *map(str, argv)],
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONFAULTHANDLER": "1", "PYTHONPATH": path} | environment,
    )


def start_two(part, *argv, **kwargs):
    """Two processes of one run."""
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
    """What it said on standard output and on standard error, when it has ended with this code."""
    try:
        out, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # it says where it is
        raise AssertionError(f"it goes on after 120 s:\n{process.communicate()[1]}") from None
    assert process.returncode == code, err
    return out, err


def play(*parts):
    """Plays the part that the command line names; the exit code."""
    part = {function.__name__: function for function in parts}[sys.argv[1]]
    count = part.__code__.co_argcount - 1
    return part(*sys.argv[2 : 2 + count], sys.argv[2 + count :])


def record_ids(folder, argv):
    """`pretrain`, with the example ids of its batches written to FOLDER/ids<process>.json."""
    import jax

    ids = []

    def recorded(number, batch):
        ids.append(batch.index.tolist())

    code = _with_batches(recorded, argv)
    (pathlib.Path(folder) / f"ids{jax.process_index()}.json").write_text(json.dumps(ids))
    return code


def end_at_a_batch(how, process_id, number, argv):
    """`pretrain`, of which one process gets a signal when it reads its batch of this number, from 0."""

    def deadly(at, batch):
        import jax

        if at == int(number) and jax.process_index() == int(process_id):
            os.kill(os.getpid(), getattr(signal, how))

    return _with_batches(deadly, argv)


def write_little_from(number, process_id, argv):
    """`pretrain`, of which one process can write no file of more than a few bytes for three batches from this one on."""
    import resource

    def limited(at, batch):
        import jax

        if jax.process_index() == int(process_id):
            soft = {int(number): 16, int(number) + 3: resource.RLIM_INFINITY}.get(at)
            if soft is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))

    return _with_batches(limited, argv)


def terminate_in(function, process_id, argv):
    """`pretrain`, of which one process gets SIGTERM when it calls this function, and then waits until all agree."""
    import importlib

    import jax

    from barlow_jax.training import preemption

    module, _, attribute = function.rpartition(".")
    owner = importlib.import_module(module)
    called = getattr(owner, attribute)

    def terminated(*args, **kwargs):
        if jax.process_index() == int(process_id):
            os.kill(os.getpid(), signal.SIGTERM)
            while preemption._watching._stop_at is None:
                time.sleep(0.001)
        return called(*args, **kwargs)

    setattr(owner, attribute, terminated)
    return _main(argv)


def _with_batches(see, argv):
    """`pretrain`; `see(number, batch)` is called with each of this process's batches as it is read."""
    from barlow_jax.commands import pretrain

    class DevicePrefetcher(pretrain.DevicePrefetcher):
        def __init__(self, batches, place):
            def seen():
                for number, batch in enumerate(batches):
                    see(number, batch)
                    yield batch

            super().__init__(seen(), place)

    before, pretrain.DevicePrefetcher = pretrain.DevicePrefetcher, DevicePrefetcher
    try:
        return _main(argv)
    finally:
        pretrain.DevicePrefetcher = before


def _main(argv):
    from barlow_jax.__main__ import main

    return main(argv)


if __name__ == "__main__":
    if os.environ.get("WITHOUT_TENSORFLOW"):  # ten seconds of import
        sys.modules.update(tensorflow=None, tensorflow_datasets=None)
    sys.exit(play(record_ids, end_at_a_batch, write_little_from, terminate_in))
