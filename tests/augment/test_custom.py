"""A user's own op: its random numbers, a resumed run, and errors that name the file."""

import dataclasses
from functools import partial
import json
import shutil

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits

from barlow_jax.augment import custom, views
from barlow_jax.config import recipe
from barlow_jax.config.schema import Config, Data
from barlow_jax.data.padded_images import CANVAS, POSITION, SHAPE

CODE = """
import jax
import jax.numpy as jnp

def level(image, key):
    return jnp.full(image.shape, jax.random.uniform(key))

def shift(image, key):
    return jnp.roll(image, jax.random.randint(key, (), 0, 8), axis=0)

def double(image, key):
    return 2 * image

def gray(image, key):
    return image.mean(axis=-1)

def whole(image, key):
    return (255 * image).astype("uint8")

def branch(image, key):
    return image if image.mean() > 0 else 1 - image
"""
ORDER = "crop,rotate,flip,custom,jitter,grayscale,blur,solarize,normalize"
ARGV = (
    "--config.data.name=images",
    "--config.data.augment_on=device",
    "--config.data.canvas=8",
    "--config.train.batch_size=64",
    "--config.train.log_every_steps=1",
    "--config.monitor.every_epochs=0",
    f"--config.recipe.views.a.order={ORDER}",
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(CODE)
    return path


def _view(function, **crop):
    view = recipe.without(recipe.View(crop=recipe.Crop(**crop)), (*recipe.COLOR, "flip"))
    op = recipe.Custom(function=function)
    return dataclasses.replace(view, order=tuple(ORDER.split(",")), custom=op)


def _augment(function, canvas, positions, seed=0):
    decoded = {CANVAS: canvas, SHAPE: np.full((len(canvas), 2), 8, np.int32), POSITION: positions}
    rows = recipe.Recipe(dict.fromkeys("ab", _view(function, min_area=1.0, min_aspect=1.0, max_aspect=1.0)))
    return jax.device_get(jax.jit(partial(views.augment, recipe=rows, size=8, seed=seed))(decoded))


def test_the_key_is_that_of_seed_view_and_position(file):
    canvas, positions = np.zeros((6, 8, 8, 5), np.float32), np.arange(10, 16, dtype=np.uint32)
    first = {name: rows[:, 0, 0, 0] for name, rows in _augment(f"{file}:level", canvas, positions).items()}
    assert len({*first["a"], *first["b"]}) == 12
    again = _augment(f"{file}:level", canvas[:2], positions[3:5])
    np.testing.assert_array_equal(again["a"][:, 0, 0, 0], first["a"][3:5])
    other = _augment(f"{file}:level", canvas[:2], positions[3:5], seed=1)
    assert np.all(other["a"][:, 0, 0, 0] != first["a"][3:5])


def test_the_result_is_clipped_and_rounded_like_the_image(file):
    canvas = np.full((1, 8, 8, 3), 100, np.uint8)
    canvas[:, 4:] = 200
    (result,) = _augment(f"{file}:double", canvas, np.zeros(1, np.uint32))["a"]
    assert (
        result.dtype == np.uint8 and result[0, 0].tolist() == [200] * 3 and result[7, 7].tolist() == [255] * 3
    )


def test_a_function_may_be_one_of_a_module():
    image = np.full((2, 2, 1), 0.25, np.float32)
    result = custom.apply(image, 0.5, recipe.Custom(function="jax.numpy:power"))
    np.testing.assert_array_equal(result, np.full((2, 2, 1), 0.5))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("{file}:missing", ("has no function 'missing'",)),
        ("{file}x.py:shift", ("FileNotFoundError",)),
        ("no_such_module:shift", ("ModuleNotFoundError",)),
        ("{file}:gray", ("returned float32 [16, 16]", "float32 [16, 16, 5]")),
        ("{file}:whole", ("returned uint8 [16, 16, 5]",)),
        ("{file}:branch", (", line 21: TracerBoolConversionError",)),
    ],
)
def test_what_is_wrong_with_a_function_is_reported_with_its_file(file, function, words):
    function = function.format(file=file)
    data = Data(name="images", channels=5, pixel_dtype="float32", augment_on="device", image_size=16)
    config = Config(data=data, recipe=recipe.Recipe({"a": _view(function), "b": recipe.View()}))
    (problem,) = custom.problems(config)
    assert problem.startswith(f"config.recipe.views.a.custom.function: {function}")
    assert all(word in problem for word in words)


@pytest.fixture
def argv(config_file, tmp_path):
    digits = load_digits()
    for split, rows in (("train", slice(0, 256)), ("test", slice(256, 320))):
        pixels = (digits.images[rows] * 15).astype(np.uint8)
        np.savez(tmp_path / f"{split}.npz", images=pixels, labels=digits.target[rows])
    where = (f"--config.data.data_dir={tmp_path}", "--workdir", tmp_path / "run")
    return ("pretrain", "--config", config_file, *ARGV, *where)


def test_a_wrong_function_is_refused_before_anything_is_written(file, run_command, argv, tmp_path):
    own = f"--config.recipe.views.a.custom.function={file}:gray"
    assert "config.recipe.views.a.custom.function" in run_command(*argv, own, code=2)[1]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_resumes_bit_for_bit(file, run_command, argv, tmp_path, monkeypatch):
    monkeypatch.chdir(file.parent)
    workdir = tmp_path / "run"
    own = ("--config.recipe.views.a.custom.function=own.py:shift", "--config.train.max_steps=4")

    def train():
        run_command(*argv, *own)
        rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
        return [row["loss"] for row in rows if "loss" in row]

    losses = train()
    saved = json.loads((workdir / "config.json").read_text())
    assert saved["recipe"]["views"]["a"]["custom"]["function"] == f"{file}:shift"
    shutil.rmtree(workdir / "checkpoints" / "4")
    assert train() == losses and len(losses) == 4
