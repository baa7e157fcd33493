"""A run on image and text through the entry point: pretrain, resume, retrieve, plan and probe."""

import functools
import json

import captioned
import jax
import numpy as np
import pytest
from saved_states import read_state
from score_records import by_fraction

from barlow_jax.__main__ import main
from barlow_jax.augment.views import normalize
from barlow_jax.cli.results import stdout_to_stderr
from barlow_jax.config import overrides
from barlow_jax.data import splits
from barlow_jax.experiment import dry_run, lowering
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.papers import tables
from barlow_jax.papers.scores import parse_evaluations

CONFIG = """
from barlow_jax.config.overrides import load_sibling


def get_config():
    config = load_sibling("{small}", "small_config")
    with config.unlocked():
        del config.recipe.views["b"]
    config.data.name = "captioned_digits"
    config.data.augment_on = "device"
    config.data.canvas = 8
    config.data.caption_words = 12
    config.network.branches = "own"
    config.network.second_encoder = "gru"
    text = config.network.text
    text.vocabulary_size, text.embedding_size, text.hidden_size = 40, 8, 24
    config.monitor.every_epochs = 0.0
    config.train.max_steps = 6
    config.optim.name, config.optim.learning_rate, config.optim.bias_learning_rate = "adamw", 0.01, None
    return config
"""


@pytest.fixture(scope="module")
def config_path(config_file, tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "text.py"
    path.write_text(CONFIG.format(small=config_file))
    return path


@pytest.fixture(scope="module")
def trained(config_path, tmp_path_factory):
    """The workdir of a run of six steps."""
    path = tmp_path_factory.mktemp("trained")
    assert main(["pretrain", "--config", str(config_path), "--workdir", str(path)]) == 0
    return path


def _recalls(results):
    """R@K by feature source, direction and K."""
    return tables.retrieval_rows(parse_evaluations(results), "captioned_digits")


@pytest.mark.slow
def test_an_interrupted_run_resumes_to_the_same_bits(config_path, trained, tmp_path, run_command):
    argv = ("pretrain", "--config", config_path, "--workdir", tmp_path)
    run_command(*argv, "--config.train.max_steps=2")
    results, _ = run_command(*argv)
    assert results["first_step"] == 2 and results["step"] == 6
    jax.tree.map(np.testing.assert_array_equal, read_state(tmp_path, 6), read_state(trained, 6))


def test_results_include_chance_and_the_untrained_network(trained, run_command):
    results, log = run_command("retrieve", "--workdir", trained)
    assert (results["images"], results["captions"], results["similarity"]) == (360, 1800, "cosine")
    recalls = _recalls(results)
    assert recalls["chance"]["text_to_image"] == pytest.approx({1: 100 / 360, 5: 500 / 360, 10: 1000 / 360})
    steps = {record["feature_source"]: record["step"] for record in results["evaluations"]}
    assert steps == {"chance": -1, "untrained": 0, "pretrained": 6}
    for source, directions in recalls.items():
        for recall in directions.values():
            assert 0 <= recall[1] <= recall[5] <= recall[10] <= 100
        assert source in log
    assert "published" not in log
    assert json.loads((trained / "results" / "retrieve.json").read_text()) == results


def test_embeddings_are_those_of_the_frozen_network_one_row_per_caption(trained, run_command):
    """Computed from the checkpoint's arrays, row by row, with an independent ranking."""
    state = read_state(trained, 6)
    config = overrides.from_tree(json.loads((trained / "config.json").read_text()))[0]
    experiment = Experiment.from_config(config)
    source = splits.open_split(config.data, "test")
    captions, batch = source.read_captions(config.data), source.decode_all(config.data)
    frozen = jax.jit(
        functools.partial(experiment.network.apply_frozen, state.params, state.batch_stats), static_argnums=0
    )
    images = frozen("a", normalize(batch.views["canvas"], config.recipe.views["a"].normalize)).embedding
    similarities = np.float64(frozen("b", captions.words).embedding) @ np.float64(images).T
    own = similarities[np.arange(1800), captions.example][:, np.newaxis]
    ranks = np.sum(similarities > own, axis=1)  # no two images are equal
    flags = (
        "--config.retrieval.similarity=dot",
        "--config.retrieval.captions_per_image=none",
        "--config.retrieval.k=1,7",
    )
    results, _ = run_command("retrieve", "--workdir", trained, *flags)
    assert results["similarity"] == "dot" and set(_recalls(results)["chance"]["image_to_text"]) == {1, 7}
    for k in (1, 7):
        # Rounding may swap neighbors of a network that has hardly learned.
        recall = _recalls(results)["pretrained"]["text_to_image"][k]
        assert recall == pytest.approx(100 * np.mean(ranks < k), abs=0.12)


@pytest.mark.parametrize("command", ["knn", pytest.param("probe", marks=pytest.mark.slow)])
def test_the_image_branch_is_an_encoder_like_any_other(trained, run_command, command):
    flags = (
        "--config.probe.augment=true",
        "--config.probe.num_epochs=20",
        "--config.probe.label_fractions=1",
        "--config.knn.k=20",
    )
    results, _ = run_command(command, "--workdir", trained, *flags)
    assert by_fraction(results)[1.0] > 10, "chance"


def test_views_are_shown_without_the_captions(config_path, tmp_path, run_command):
    results, _ = run_command(
        "show-views", "--config", config_path, "--out", tmp_path / "views.png", "--rows", 3
    )
    assert results["columns"] == ["original", "view a, device", "view a, host"]


def test_a_dry_run_counts_both_branches(config_path):
    config = overrides.from_tree(overrides.load_config_file(str(config_path))[0].to_dict())[0]
    parameters = dry_run.describe(config, 1437)["parameters"]
    assert set(parameters) == {"encoder", "projector", "second"}
    gru = 40 * 8 + 3 * 24 * (8 + 24 + 1)
    assert parameters["second"] == gru + 24 * 16 + 2 * 16 + 16 * 16


def test_a_run_without_captions_is_refused(config_file, tmp_path, run_command):
    _, log = run_command("retrieve", "--config", config_file, "--workdir", tmp_path, code=2)
    assert "config.network.second_encoder" in log and "--config captioned_digits" in log


def test_a_missing_checkpoint_is_an_error(config_path, tmp_path, run_command):
    _, log = run_command("retrieve", "--config", config_path, "--workdir", tmp_path, code=2)
    assert "holds no checkpoint; run `pretrain" in log


@pytest.mark.parametrize("part", ["step", "head"])
def test_lowered_parts_take_captions(config_path, typed, part):
    config = typed(overrides.load_config_file(str(config_path))[0])
    experiment = Experiment.from_config(config)
    lowered, state = lowering.lower(experiment, experiment.sampler(1437), part)
    (_, batch), _ = lowered.in_avals
    shapes = {name: view.shape for name, view in batch.views.items()}
    if part == "step":
        assert shapes == {"canvas": (128, 8, 8, 3), "shape": (128, 2), "position": (128,), "b": (128, 12)}
    else:
        assert shapes == {"a": (128, 16), "b": (128, 24)}
    assert "second" in state.params


@pytest.mark.slow
def test_captions_of_tfds_are_learned_and_retrieved_on_the_host(config_path, tmp_path, run_command):
    with stdout_to_stderr():
        captioned.TinyCaptions(data_dir=str(tmp_path / "data")).download_and_prepare(
            file_format="array_record"
        )
    flags = (
        "--config.data.name=tiny_captions",
        f"--config.data.data_dir={tmp_path / 'data'}",
        "--config.data.train_split=train+restval",
        "--config.data.augment_on=host",
        "--config.objective.name=vicreg",
        "--config.train.batch_size=16",
        "--config.train.max_steps=2",
        "--config.eval_batch_size=16",
        "--config.network.projector_biases=hidden",
        "--config.data.cache=encoded",
    )
    workdir = tmp_path / "run"
    run_command("pretrain", "--config", config_path, "--workdir", workdir, *flags)
    results, _ = run_command("retrieve", "--workdir", workdir)
    assert (results["images"], results["captions"]) == (24, 24 * 5 - 8)  # a third of the images has four
