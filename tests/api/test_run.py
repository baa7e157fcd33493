"""The Python functions: runs as objects, callbacks, Ctrl-C, and what they leave of the process."""

import asyncio
import gc
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import threading

import jax
import numpy as np
import pytest
import soak

import barlow_jax as bj
from barlow_jax.errors import RunError, UserError


@pytest.fixture(scope="module")
def config(config_file):
    """Ten steps, without evaluations."""
    changes = {"train.max_steps": 10, "monitor.every_epochs": 0.0, "checkpoint.every_epochs": 100.0}
    return bj.load_config(config_file).replace(changes)


def test_import_is_fast_and_light():
    heavy = {"jax", "tensorflow", "torch", "numpy"}
    code = f"import sys, barlow_jax as bj; dir(bj); print(*{heavy} & {{*sys.modules}})"
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(bj.__file__).parents[1])}
    command = [sys.executable, "-X", "importtime", "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
    microseconds = [
        int(line.split("|")[1]) for line in result.stderr.splitlines() if line.endswith(" barlow_jax")
    ]
    assert microseconds[0] < 500_000


def test_all_names_exist():
    for name in bj.__all__:
        assert getattr(bj, name) is not None
    with pytest.raises(AttributeError, match="pretrian"):
        _ = bj.pretrian


def test_shipped_configs():
    digits = bj.configs.digits()
    assert isinstance(digits, bj.Config) and digits.data.name == "digits"
    assert (
        bj.configs.vicreg("digits").objective.name == "vicreg" and bj.load_config("vicreg:digits").seed == 0
    )
    assert {"digits", "imagenet", "cifar10"} <= {*dir(bj.configs)} and "1 797" in bj.configs.digits.__doc__
    with pytest.raises(AttributeError, match="cifar10"):
        bj.configs.cifar1()
    with pytest.raises(UserError, match="vicreg"):
        bj.configs.vicreg("cifar1000")


def test_callbacks_see_the_run_and_its_result_is_that_of_the_command(config_file, finished, tmp_path):
    """The same config: the same losses and the same files as by the command line."""
    events, lines = [], tmp_path / "run" / "metrics.jsonl"

    def callback(event):
        rows = [json.loads(line) for line in lines.read_text().splitlines()]
        events.append(
            (event.kind, event.step, event.metrics["loss"], int(event.state.step), rows[-1]["step"])
        )

    config = bj.load_config(config_file)
    run = bj.pretrain(config, workdir=tmp_path / "run", callbacks=[callback])
    assert run.status["state"] == "finished" and f"{run!r}".endswith("finished, step 22 of 22)")
    assert [step for kind, step, *_ in events if kind == "step"] == list(range(2, 23, 2))
    assert [step for kind, step, *_ in events if kind == "evaluation"] == [11, 22]
    assert events[-1][:2] == ("end", 22) and all(step == at for _, step, _, at, _ in events)
    assert all(row >= step - step % 2 for _, step, _, _, row in events)
    # A table with a row for each step; the command's run has the same losses.
    table, other = run.metrics, bj.open_run(finished).metrics
    assert table["step"].is_unique and {"loss", "rankme", "knn_top1"} <= {*table.columns}
    for name in ("loss", "rankme", "knn_top1"):
        np.testing.assert_array_equal(table[name], other[name])
    files = [{p.relative_to(path).parts[0] for p in path.iterdir()} for path in (run.workdir, finished)]
    assert files[0] == files[1] and (run.workdir / "results" / "pretrain.json").is_file()
    # It resumes from there: nothing is left to do, and `end` is all that is called.
    again = bj.pretrain(workdir=run.workdir, callbacks=[callback])
    assert again.config == run.config and events[-1][:2] == ("end", 22) and events[-2][0] == "end"


def test_a_callback_stops_the_run_which_resumes(config, tmp_path):
    run = bj.pretrain(
        config, workdir=tmp_path, callbacks=[lambda event: event.step == 4, lambda event: "text"]
    )
    assert (run.status["state"], run.status["step"], run.status["checkpoint"]["step"]) == ("stopped", 4, 4)
    assert "lambda" in run.status["reason"]
    assert bj.pretrain(config, workdir=tmp_path).status["state"] == "finished"


def test_a_run_of_growing_views_resumes_to_the_same_bits(config, tmp_path):
    config = config.replace({"train.image_sizes": (6, 8), "train.max_steps": 14})  # 8 from step 11 on
    bj.pretrain(config, workdir=tmp_path / "run", callbacks=[lambda event: event.step == 12])
    for name in ("run", "untouched"):
        assert bj.pretrain(config, workdir=tmp_path / name).status["state"] == "finished"
    arrays = [soak.final_arrays(tmp_path / name) for name in ("run", "untouched")]
    assert arrays[0].keys() == arrays[1].keys()
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(array, arrays[1][name])


def test_a_callback_that_raises_is_named(config, tmp_path):
    def broken(event):
        if event.step == 6:
            raise ValueError("no such key")

    save = config.replace({"checkpoint.every_epochs": 0.2})  # every two steps
    with pytest.raises(RunError, match=r"broken.*ValueError: no such key.*step 6") as error:
        bj.pretrain(save, workdir=tmp_path, callbacks=[broken])
    assert isinstance(error.value.__cause__, ValueError)
    run = bj.open_run(tmp_path)
    assert (run.status["state"], run.status["alive"], run.status["checkpoint"]["step"]) == (
        "stopped",
        False,
        6,
    )
    assert bj.load(run).step == 6  # verified when it is read


def test_ctrl_c_saves_and_returns_the_run(config, tmp_path):
    """The handlers of the process are as before; the second one raises."""

    def press(event):
        if (event.kind, event.step) == ("step", 4):
            signal.raise_signal(signal.SIGINT)

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    run = bj.pretrain(config, workdir=tmp_path, callbacks=[press])
    assert (run.status["state"], run.status["checkpoint"]["step"]) == ("stopped", 4)

    def press_twice(event):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        bj.pretrain(config, workdir=tmp_path, callbacks=[press_twice])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert run.status["alive"] is False and run.status["checkpoint"]["step"] == 4


@pytest.mark.slow
def test_in_an_event_loop_and_in_a_thread_and_without_traces(config, tmp_path, capfd):
    """Nothing on standard output; environment, loggers, handlers and descriptors as before."""

    def state():
        loggers = [(name, logging.getLogger(name)) for name in (None, "barlow_jax", "jax", "absl")]
        levels = [(name, logger.level, list(logger.handlers)) for name, logger in loggers]
        files = sorted(
            os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if int(fd) < 3
        )
        signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
        return (
            levels,
            files,
            signals,
            dict(os.environ),
            os.getcwd(),
            sys.stdout,
            sys.stderr,
            jax.config.values,
        )

    async def cell(name):
        return bj.pretrain(config, workdir=tmp_path / name)

    asyncio.run(cell("first"))
    before, number = state(), len(os.listdir("/proc/self/fd"))
    run = asyncio.run(cell("loop"))
    thread = threading.Thread(target=bj.pretrain, args=(config, tmp_path / "thread"))
    thread.start()
    thread.join()
    gc.collect()  # readers of the data set
    assert state() == before and len(os.listdir("/proc/self/fd")) <= number
    losses = [
        [row["loss"] for row in bj.open_run(tmp_path / n).metrics.to_dict("records")]
        for n in ("loop", "thread")
    ]
    assert run.status["state"] == "finished" and losses[0] == losses[1]
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"workdir": ""}, "workdir"),
        ({"workdir": "ftp://bucket/run"}, "workdir"),
        ({"callbacks": ["print"]}, "callbacks"),
        ({"resume": "must"}, "resume"),
        ({"overrides": {"train.batch_size": 5000}}, "batch_size"),
        ({"overrides": {"optim.warmup_epochs": 900.0}}, "warmup_epochs"),
        ({"overrides": {"data.eval_split": "tset"}}, "tset"),
        ({"overrides": {"objective.name": "barlow"}}, "barlow"),
        (
            {"overrides": {"data.name": "images", "data.augment_on": "device", "data.data_dir": "/nowhere"}},
            "nowhere",
        ),
    ],
)
def test_bad_input_of_pretrain_writes_nothing(config, tmp_path, options, word):
    overrides = options.pop("overrides", {})
    with pytest.raises(UserError, match=word):
        changed = config.replace(overrides)
        bj.pretrain(changed, **{"workdir": tmp_path / "run"} | options)
    assert not [*tmp_path.iterdir()]


def test_a_workdir_of_another_config_is_refused(finished, config_file):
    other = bj.load_config(config_file).replace({"optim.learning_rate": 0.7, "seed": 1})
    with pytest.raises(UserError) as error:
        bj.pretrain(other, workdir=finished)
    assert "config.seed" in str(error.value) and "config.optim.learning_rate" in str(error.value)
    with pytest.raises(UserError, match="holds no run"):
        bj.open_run("/tmp")
    with pytest.raises(UserError, match="learning_rate"):
        bj.open_run(finished, {"optim.lerning_rate": 0.1})
