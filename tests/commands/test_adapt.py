"""`adapt`: what a run starts from, what it freezes, what it writes, and its exit code."""

import json

import jax
import numpy as np
import pytest

from barlow_jax.__main__ import main
from barlow_jax.checkpoints.restore import open_checkpoints
from barlow_jax.config.overrides import from_tree
from barlow_jax.experiment import adapting
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.experiment.pretrained import load

# 11 steps: the encoder is frozen until step 6, and a checkpoint is saved then.
LENGTH = ("--config.adapt.freeze=0.49", "--config.train.num_epochs=1", "--config.adapt.layer_decay=0.5")


def _adapt(source, config_file, workdir, *more):
    argv = ("adapt", "--weights", source, "--config", config_file, "--workdir", workdir, *LENGTH, *more)
    return main([str(word) for word in argv])


def _results(workdir):
    return json.loads((workdir / "results" / "adapt.json").read_text())


@pytest.fixture(scope="module")
def adapted(finished, config_file, tmp_path_factory):
    """Workdir and exit code of an adaptation."""
    workdir = tmp_path_factory.mktemp("adapt") / "run"
    return workdir, _adapt(finished, config_file, workdir)


def _config(workdir):
    return from_tree(json.loads((workdir / "config.json").read_text()))[0]


def _arrays(workdir, step, average=False):
    experiment = Experiment.from_config(_config(workdir))
    shapes = experiment.network.shapes()
    with open_checkpoints(workdir, read_only=True) as checkpoints:
        trees = checkpoints.restore_part(*shapes, experiment.layout, step, average=average)
    return jax.device_get(trees)


def _equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_run_starts_from_the_encoder_and_keeps_it(adapted, finished):
    source = _arrays(finished, 22)
    for average in (False, True):
        start = _arrays(adapted[0], 0, average)
        _equal([tree["encoder"] for tree in start], [tree["encoder"] for tree in source])


def test_weights_are_frozen_at_first_and_statistics_move(adapted):
    (start, stats), (params, new_stats) = _arrays(adapted[0], 0), _arrays(adapted[0], 6)
    _equal(params["encoder"], start["encoder"])
    assert not np.array_equal(stats["encoder"]["norm"]["mean"], new_stats["encoder"]["norm"]["mean"])
    assert not np.array_equal(*(tree["projector"]["layers"][0]["kernel"] for tree in (start, params)))
    params, _ = _arrays(adapted[0], 11)
    assert not np.array_equal(start["encoder"]["conv"]["kernel"], params["encoder"]["conv"]["kernel"])


def test_exit_code_and_results_say_which_encoder_it_is(adapted, finished):
    workdir, code = adapted
    results, best = _results(workdir), _results(workdir)["best"]
    assert results["adapted"] == (best["adapt_gain_lower"] > 0) == (code == 0) != (code == 4)
    assert best["step"] == 11 and best["adapt_gain_lower"] <= best["adapt_gain"]
    encoder, original = load(results["folder"]), load(finished)
    assert encoder.config.adapt.weights is None and encoder.config.train.average_decay == 0
    assert encoder.config.network == _config(workdir).network
    if not results["adapted"]:
        _equal(jax.device_get(encoder.params), jax.device_get(original.params))


@pytest.mark.parametrize("averaged", [None, 0.0, 1.0])
def test_the_folder_holds_the_candidate_or_the_original(adapted, averaged, tmp_path):
    """None: the original."""
    best = {"step": 11, "adapt_averaged": averaged, "adapt_alpha": 0.5} if averaged is not None else None
    adapting._write(_config(adapted[0]), adapted[0], tmp_path, best)
    encoder, expected = load(tmp_path), _arrays(adapted[0], 0)
    if best:
        end = _arrays(adapted[0], 11, average=bool(averaged))
        expected = jax.tree.map(lambda x, y: 0.5 * x + 0.5 * y, expected, end)
    assert encoder.step == (11 if best else 0)
    found = {"encoder": jax.device_get(encoder.params)}, {"encoder": jax.device_get(encoder.batch_stats)}
    jax.tree.map(
        np.testing.assert_array_equal, found, tuple({"encoder": tree["encoder"]} for tree in expected)
    )


@pytest.mark.slow
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(adapted, finished, config_file, tmp_path):
    half = ("--config.train.max_steps=6", "--config.monitor.every_epochs=0")
    assert _adapt(finished, config_file, tmp_path, *half) == 4
    code = _adapt(finished, config_file, tmp_path)
    for average in (False, True):
        _equal(_arrays(tmp_path, 11, average), _arrays(adapted[0], 11, average))
    assert code == adapted[1] and _results(tmp_path)["best"] == _results(adapted[0])["best"]


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ((), "--weights"),
        (("--weights", "{finished}/none"), "--weights"),
        (("--weights", "{finished}", "--config.network.branches=own"), "config.network.branches"),
        (
            ("--weights", "{finished}", "--config.adapt.anchor=features", "--config.objective.name=byol"),
            "config.adapt.anchor",
        ),
    ],
)
def test_bad_input(words, key, finished, config_file, tmp_path, capsys):
    words = [word.format(finished=finished) for word in words]
    assert main(["adapt", *words, "--config", config_file, "--workdir", str(tmp_path / "run")]) == 2
    assert key in capsys.readouterr().err and not (tmp_path / "run").exists()
