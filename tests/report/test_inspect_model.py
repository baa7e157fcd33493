"""What a run's network makes of images, against numpy, scikit-learn and the run's own step."""

import json
import shutil
import sys
import types

import jax
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from barlow_jax.augment.views import normalize
from barlow_jax.checkpoints.restore import abstract_state, open_checkpoints
from barlow_jax.checkpoints.verify import Verdict
from barlow_jax.config import overrides
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler, SampleRange
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.report import inspect_model as look_lib, snapshots as moments_lib


def _config(workdir):
    return overrides.from_tree(json.loads((workdir / "config.json").read_text()))[0]


@pytest.fixture(scope="module")
def experiment(workdir):
    return Experiment.of(_config(workdir))


@pytest.fixture(scope="module")
def train(experiment):
    return splits.open_split(experiment.config.data, "train")


@pytest.fixture(scope="module")
def seen(experiment, workdir):
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    made = look_lib.inspect_model(experiment, workdir, images=200)
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*")} == before
    return made


def _states(experiment, workdir, steps):
    """As pretrain has them, from whole states."""
    init = experiment.init(experiment.order(1437))
    states = {0: init(jax.random.key(experiment.config.seed))}
    with open_checkpoints(workdir, read_only=True) as checkpoints:
        for step in steps:
            states[step] = checkpoints.restore(abstract_state(init), experiment.layout, step)
    return states


def test_moments_are_those_of_the_first_state_and_of_the_checkpoints_to_the_bit_every_time(
    experiment, workdir, train, seen
):
    steps = [moment.step for moment in seen.snapshots]
    assert steps[0] == 0 and steps[-1] == 22 and steps == sorted(steps)
    assert steps[1:] == sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())
    views = moments_lib.make_views(experiment, train, 200)
    measure = moments_lib.Measure(experiment)
    for moment, (step, state) in zip(
        seen.snapshots, _states(experiment, workdir, steps[1:]).items(), strict=True
    ):
        again = measure(step, state.params, state.batch_stats, views)
        jax.tree.map(np.testing.assert_array_equal, tuple(moment), tuple(again))


def test_a_moment_is_what_numpy_says_of_the_embeddings_of_the_runs_first_images(
    experiment, workdir, train, seen
):
    config = experiment.config
    sample_range = SampleRange(EpochSampler(config.seed, train.num_examples, 200), 0, 1)
    batch = next(train.train_batches(config.data, config.recipe.views, sample_range))
    state = _states(experiment, workdir, [22])[22]

    frozen = jax.jit(experiment.network.apply_frozen, static_argnums=2)

    def outputs(name):
        images = normalize(batch.views[name], config.recipe.views[name].normalize)
        made = frozen(state.params, state.batch_stats, name, images)
        return np.float64(made.representation), np.float64(made.embedding)

    (representation, a), (_, b) = outputs("a"), outputs("b")
    moment = seen.snapshots[-1]
    expected = np.corrcoef(a, b, rowvar=False)[:16, 16:]
    assert moment.features_per_cell == 1
    np.testing.assert_allclose(moment.correlation, expected, atol=1e-5)
    assert moment.diagonal.counts.sum() == 16 and moment.off_diagonal.counts.sum() == 16 * 15
    middles = (moment.diagonal.edges[1:] + moment.diagonal.edges[:-1]) / 2
    assert moment.diagonal.counts @ middles / 16 == pytest.approx(np.diag(expected).mean(), abs=0.005)
    for rows, shares in (
        (a, moment.embedding_spectrum),
        (representation, moment.representation_spectrum),
    ):
        eigenvalues = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
        np.testing.assert_allclose(shares, eigenvalues / eigenvalues.sum(), rtol=1e-4, atol=1e-8)
    assert 1 <= moment.embedding_rank <= 16 and 1 <= moment.representation_rank <= 16


@pytest.fixture(scope="module")
def tables(experiment, workdir):
    """Features of both splits, as `knn` has them."""
    return experiment.tables(experiment.encoder(workdir, "pretrained")[0])


def test_neighbours_are_those_that_scikit_learn_finds(experiment, tables, seen):
    train, test = tables
    levels = {
        split: next(
            splits.open_split(experiment.config.data, split).eval_batches(
                experiment.config.data, batch_size=1500, shard=experiment.shard
            )
        ).views["eval"]
        for split in ("train", "test")
    }
    chosen = np.sort(np.random.default_rng(0).permutation(360)[:8])
    found = seen.neighbours
    np.testing.assert_array_equal(found.queries, levels["test"][chosen])
    np.testing.assert_array_equal(found.query_labels, test.labels[chosen])
    index = NearestNeighbors(n_neighbors=5, metric="cosine").fit(train.features)
    distances, places = index.kneighbors(test.features[chosen])
    np.testing.assert_allclose(found.cosines, 1 - distances, atol=1e-5)
    clear = np.diff(distances, axis=1, append=2).min(axis=1) > 1e-6  # no two are equally near
    assert clear.any()
    np.testing.assert_array_equal(found.found_labels[clear], train.labels[places][clear])
    np.testing.assert_array_equal(found.found[clear], levels["train"][places][clear])
    assert found.found.shape == (8, 5, 8, 8, 3) and found.found.dtype == np.uint8


def test_the_map_is_that_of_scikit_learn_and_says_how_much_it_shows(tables, seen):
    _, test = tables
    pca = PCA(2, svd_solver="full").fit(np.float64(test.features))
    plane = seen.maps[0]
    assert plane.method == f"PCA, {pca.explained_variance_ratio_.sum():.0%} of the variance"
    np.testing.assert_allclose(plane.points, pca.transform(np.float64(test.features)), atol=1e-5)
    np.testing.assert_array_equal(plane.labels, test.labels)
    assert plane.thumbnails.shape == (360, 8, 8, 3)


def test_views_are_those_of_the_contact_sheet(seen):
    assert list(seen.views) == ["original", "view a, host", "view b, host"]
    assert all(column.shape == (6, 8, 8, 3) for column in seen.views.values())


def test_damaged_checkpoints_are_passed_over_with_a_word(experiment, workdir, train, tmp_path, capsys):
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    newest = max(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    victim = max((tmp_path / "checkpoints" / str(newest)).rglob("d/*"), key=lambda path: path.stat().st_size)
    bits = bytearray(victim.read_bytes())
    bits[len(bits) // 2] ^= 1
    victim.write_bytes(bits)
    made = moments_lib.snapshots(experiment, tmp_path, train, 64)
    steps = [moment.step for moment in made]
    assert newest not in steps and steps[0] == 0 and len(steps) > 1
    assert f"checkpoint of step {newest} is passed over: " in capsys.readouterr().err


class _Fake:
    """Checkpoints of which some are damaged."""

    def __init__(self, steps, bad):
        self.steps, self._bad, self.examined = steps, bad, []

    def examine(self, step, abstract, *, part):
        self.examined.append(step)
        return Verdict(("is missing",) if step in self._bad else (), True)


def test_of_many_checkpoints_five_are_read_evenly_spread_with_the_newest_good_one():
    many = _Fake(list(range(0, 1010, 10)), bad=())
    assert moments_lib.usable(many, {}) == many.examined == [0, 250, 500, 750, 1000]
    damaged = _Fake(list(range(10, 1010, 10)), bad=(1000, 990))
    chosen = moments_lib.usable(damaged, {})
    assert len(chosen) == 5 and chosen[0] == 10 and chosen[-1] == 980
    assert len(damaged.examined) == len(set(damaged.examined)) < 20
    assert moments_lib.usable(_Fake([5, 9], bad=(5, 9)), {}) == []
    assert moments_lib.usable(_Fake([], bad=()), {}) == []


def _text(config):
    del config.recipe.views["b"]
    config.data.caption_words = 12
    config.network.branches, config.network.second_encoder = "own", "gru"
    (
        config.network.text.vocabulary_size,
        config.network.text.embedding_size,
        config.network.text.hidden_size,
    ) = 40, 8, 24


def _multi_crop(config):
    config.recipe.views["c"] = config.recipe.views.a.copy_and_resolve_references()
    config.recipe.views.c.crop.size = 4
    config.recipe.views.b.normalize.mean = (0.1, 0.1, 0.1)


def _one_view(config):
    del config.recipe.views["b"]


@pytest.mark.parametrize("change", [_text, _multi_crop, _one_view])
def test_two_views_of_every_kind_of_run_make_a_moment(small_config, typed, change):
    """Arrays whose views the accelerator makes; 27 images do not divide over the eight devices."""
    small_config.data.name, small_config.data.augment_on, small_config.data.canvas = (
        "captioned_digits",
        "device",
        8,
    )
    with small_config.unlocked():
        change(small_config)
    experiment = Experiment.of(typed(small_config))
    views = moments_lib.make_views(experiment, splits.open_split(experiment.config.data, "train"), 27)
    assert {name: rows.shape[:2] for name, rows in views.items()} == {
        "a": (27, 8),
        "b": (27, 12 if change is _text else 8),
    }
    assert change is _text or np.any(views["a"] != views["b"])
    params, stats = experiment.run_once(experiment.network.init)(jax.random.key(0))
    moment = moments_lib.Measure(experiment)(0, params, stats, views)
    recipe = experiment.config.recipe.views
    made = {}
    for name, rows in views.items():
        op = recipe.get(name, recipe["a"]).normalize
        rows = rows if rows.ndim == 2 else normalize(rows, op)
        made[name] = np.float64(
            jax.jit(experiment.network.apply_frozen, static_argnums=2)(params, stats, name, rows).embedding
        )
    expected = np.corrcoef(made["a"], made["b"], rowvar=False)[:16, 16:]
    np.testing.assert_allclose(moment.correlation, expected, atol=1e-4)


def test_a_network_without_projector_has_representations_alone(small_config, typed):
    small_config.network.projector, small_config.network.num_classes = (), 10
    small_config.data.name, small_config.data.augment_on, small_config.data.canvas = (
        "captioned_digits",
        "device",
        8,
    )
    experiment = Experiment.of(typed(small_config))
    views = moments_lib.make_views(experiment, splits.open_split(experiment.config.data, "train"), 27)
    params, stats = experiment.run_once(experiment.network.init)(jax.random.key(0))
    moment = moments_lib.Measure(experiment)(0, params, stats, views)
    images = normalize(views["a"], experiment.config.recipe.views["a"].normalize)
    rows = np.float64(
        experiment.headless.encode({"encoder": params["encoder"]}, {"encoder": stats["encoder"]}, images)
    )
    eigenvalues = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    np.testing.assert_allclose(
        moment.representation_spectrum, eigenvalues / eigenvalues.sum(), rtol=1e-3, atol=1e-7
    )
    assert moment.correlation is moment.diagonal is moment.embedding_spectrum is moment.embedding_rank is None


def test_a_run_without_checkpoint_has_no_look_and_that_is_said(experiment, tmp_path, capsys):
    assert look_lib.inspect_model(experiment, tmp_path) is None
    assert "holds no checkpoint yet" in capsys.readouterr().err


def test_umap_is_drawn_where_it_is_installed(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    labels, small = np.arange(9), np.zeros((9, 2, 2, 3), np.uint8)
    monkeypatch.setitem(sys.modules, "umap", None)
    assert [plane.method[:3] for plane in look_lib.maps(rows, labels, small)] == ["PCA"]

    class Umap:
        def __init__(self, *, n_neighbors, metric, random_state, n_jobs):
            assert (n_neighbors, metric, random_state, n_jobs) == (8, "cosine", 0, 1)

        def fit_transform(self, features):
            return features[:, 2:]

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Umap))
    _, plane = look_lib.maps(rows, labels, small)
    assert plane.method == "UMAP" and plane.points.dtype == np.float64
    np.testing.assert_array_equal(plane.points, rows[:, 2:])


def test_thumbnails_keep_their_shape_and_small_images_stay():
    images = np.arange(2 * 40 * 80 * 3, dtype=np.uint8).reshape(2, 40, 80, 3)
    assert look_lib.thumbnails(images, 20).shape == (2, 10, 20, 3)
    np.testing.assert_array_equal(look_lib.thumbnails(images, 80), images)


def test_checkpoints_that_a_run_removes_meanwhile_are_passed_over_for_newer_ones(
    experiment, workdir, train, tmp_path, monkeypatch, capsys
):
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "checkpoints"
    (newest,) = (path for path in folder.iterdir() if path.name == "22")
    newest.rename(tmp_path / "22")
    usable = moments_lib.usable

    def and_then_they_are_gone(checkpoints, abstract):
        steps = usable(checkpoints, abstract)
        if not newest.exists():
            for step in steps:
                shutil.rmtree(folder / str(step))
            (tmp_path / "22").rename(newest)
        return steps

    monkeypatch.setattr(moments_lib, "usable", and_then_they_are_gone)
    assert [m.step for m in moments_lib.snapshots(experiment, tmp_path, train, 64)] == [0, 22]
    assert "passed over: cannot be read" in capsys.readouterr().err
