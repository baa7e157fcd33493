"""Processes that read different data, with the exchange of two processes in one."""

import json
import threading

import jax
import numpy as np
import pytest
import run_processes

from barlow_jax.config.schema import Data
from barlow_jax.data import splits
from barlow_jax.distributed import exchange, same_data
from barlow_jax.errors import UserError


class _Store:
    """Key-value store of jax.distributed, for threads."""

    def __init__(self):
        self._values, self._changed = {}, threading.Condition()

    def key_value_set(self, key, value):
        with self._changed:
            self._values[key] = value
            self._changed.notify_all()

    def blocking_key_value_get(self, key, timeout_ms):
        with self._changed:
            if not self._changed.wait_for(lambda: key in self._values, timeout_ms / 1000):
                raise RuntimeError("DEADLINE_EXCEEDED: too late")
            return self._values[key]


@pytest.fixture
def together(monkeypatch):
    """Function that calls functions at the same time, as processes of one run; returns results or errors."""
    index = threading.local()
    monkeypatch.setattr(jax, "process_index", lambda: index.value)
    monkeypatch.setattr(exchange, "_POLL_MS", 10)

    def run(*functions):
        results = [None] * len(functions)
        monkeypatch.setattr(exchange, "_client", _Store())
        monkeypatch.setattr(jax, "process_count", lambda: len(functions))

        class _Numbers:  # each process counts its own calls
            def __next__(self):
                index.calls = getattr(index, "calls", -1) + 1
                return index.calls

        monkeypatch.setattr(exchange, "_numbers", _Numbers())

        def call(process):
            index.value = process
            try:
                results[process] = functions[process]()
            except UserError as error:
                results[process] = error

        threads = [threading.Thread(target=call, args=(process,)) for process in range(len(functions))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        return results

    return run


def _arrays(folder, images, seed=0):
    folder.mkdir()
    pixels = np.random.default_rng(seed).integers(0, 256, (images, 4, 4), dtype=np.uint8)
    np.savez(folder / "train.npz", images=pixels)
    return Data(name="images", data_dir=str(folder), augment_on="device", canvas=4)


def test_other_numbers_or_other_images_stop_all_processes(together, tmp_path):
    sixty, fifty, others = (
        _arrays(tmp_path / name, *of) for name, of in {"a": (60,), "b": (50,), "c": (60, 1)}.items()
    )

    def opens(*data):
        return together(*[lambda one=one: same_data.open_split(one, "train") for one in data])

    assert [split.num_examples for split in opens(sixty, sixty)] == [60, 60]
    for error in opens(sixty, sixty, fifty):
        assert isinstance(error, UserError)
        assert "process 2 reads 50 images" in str(error) and "process 0 60 images" in str(error)
        assert "process 1" not in str(error)
    for error in opens(sixty, others):
        assert "process 1 reads 60 images" in str(error)


def test_a_process_that_cannot_open_its_data_stops_all(together, tmp_path):
    good = _arrays(tmp_path / "a", 60)
    missing = Data(name="images", data_dir=str(tmp_path / "missing"), augment_on="device")
    results = together(
        lambda: same_data.open_split(good, "train"), lambda: same_data.open_split(missing, "train")
    )
    for error in results:
        assert str(error).startswith("process 1: config.data: ") and str(tmp_path) in str(error)


def test_problems_of_some_processes_are_named_and_those_of_all_are_not(together):
    results = together(lambda: exchange.all_problems(["a"]), lambda: exchange.all_problems(["b", "a"]))
    assert results == [["a", "process 1: b"]] * 2


def test_a_single_process_exchanges_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "identify", None)
    assert same_data.open_split(_arrays(tmp_path / "a", 60), "train").num_examples == 60
    assert exchange.gather("x") == ["x"] and exchange.all_problems(["x"]) == ["x"]


@pytest.mark.slow
@pytest.mark.parametrize(("images", "batch_size"), [(50, 16), (22, 16), (22, 32)])
def test_two_processes_with_different_arrays_end_with_exit_code_2(tmp_path, images, batch_size):
    coordinator = f"127.0.0.1:{run_processes.free_port()}"
    both = [
        run_processes.start(
            ["record_ids", tmp_path],
            f"--coordinator={coordinator}",
            "--num-processes=2",
            f"--process-id={process}",
            "--config.data.name=images",
            f"--config.data.data_dir={_arrays(tmp_path / str(process), size).data_dir}",
            "--config.data.eval_split=train",
            "--config.data.augment_on=device",
            "--config.monitor.every_epochs=0",
            f"--config.train.batch_size={batch_size}",
            "--workdir",
            tmp_path / "run",
            WITHOUT_TENSORFLOW="1",
        )
        for process, size in enumerate((60, images))
    ]
    for process in both:
        _, err = run_processes.finish(process, 2)
        assert "process 1" in err and f"{images} images" in err
    assert not (tmp_path / "run").exists()


def test_the_digest_is_of_the_examples_in_their_order(tmp_path):
    same = [splits.open_split(_arrays(tmp_path / name, 5), "train") for name in "ab"]
    other = splits.open_split(_arrays(tmp_path / "c", 5, seed=1), "train")
    first, second, third = map(splits.identify, (*same, other))
    assert first == second != third and first.images == third.images == 5
    assert json.loads(json.dumps(first)) == [5, first.digest] and len(first.digest) == 32


@pytest.mark.parametrize("names", [([b"ab", b"c"], [b"a", b"bc"]), ([b"a", b"b"], [b"b", b"a"])])
def test_names_do_not_run_into_each_other(names):
    class Names:
        def __init__(self, values):
            self.num_examples, self.identity = len(values), lambda: iter(values)

    assert splits.identify(Names(names[0])) != splits.identify(Names(names[1]))
