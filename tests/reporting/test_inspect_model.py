"""Model inspection, compared with numpy, scikit-learn and the run's own training step."""

from functools import partial
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
from barlow_jax.evals.correlation import EDGES
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.experiment.fixed_views import FrozenNetwork, make_views
from barlow_jax.reporting import inspect_model, snapshots


def _config(workdir):
    return overrides.from_tree(json.loads((workdir / "config.json").read_text()))[0]


@pytest.fixture(scope="module")
def experiment(workdir):
    return Experiment.from_config(_config(workdir))


@pytest.fixture(scope="module")
def train(experiment):
    return splits.open_split(experiment.config.data, "train")


@pytest.fixture(scope="module")
def inspection(experiment, workdir):
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    result = inspect_model.inspect_model(experiment, workdir, images=200)
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*")} == before
    return result


def _views(experiment, source, images):
    return make_views(experiment, source, images, snapshots.view_pair(experiment.config))


def _states(experiment, workdir, steps):
    """Return the states of pretraining by step, restored as a whole."""
    init = experiment.init(experiment.sampler(1437))
    states = {0: init(jax.random.key(experiment.config.seed))}
    with open_checkpoints(workdir, read_only=True) as checkpoints:
        for step in steps:
            states[step] = checkpoints.restore(abstract_state(init), experiment.layout, step)
    return states


def test_snapshots_are_those_of_the_initial_state_and_the_checkpoints_bit_for_bit(
    experiment, workdir, train, inspection
):
    steps = [snapshot.step for snapshot in inspection.snapshots]
    assert steps[0] == 0 and steps[-1] == 22 and steps == sorted(steps)
    assert steps[1:] == sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())
    views = _views(experiment, train, 200)
    recorder = partial(snapshots.take, FrozenNetwork(experiment))
    for snapshot, (step, state) in zip(
        inspection.snapshots, _states(experiment, workdir, steps[1:]).items(), strict=True
    ):
        again = recorder(step, state.params, state.batch_stats, views)
        jax.tree.map(np.testing.assert_array_equal, tuple(snapshot), tuple(again))


def test_a_snapshot_is_numpys_correlation_and_spectrum_of_the_runs_first_images(
    experiment, workdir, train, inspection
):
    config = experiment.config
    sample_range = SampleRange(EpochSampler(config.seed, train.num_examples, 200), 0, 1)
    batch = next(train.train_batches(config.data, config.recipe.views, sample_range))
    state = _states(experiment, workdir, [22])[22]

    frozen = jax.jit(experiment.network.apply_frozen, static_argnums=2)

    def outputs(name):
        images = normalize(batch.views[name], config.recipe.views[name].normalize)
        result = frozen(state.params, state.batch_stats, name, images)
        return np.float64(result.representation), np.float64(result.embedding)

    (representation, a), (_, b) = outputs("a"), outputs("b")
    snapshot = inspection.snapshots[-1]
    expected = np.corrcoef(a, b, rowvar=False)[:16, 16:]
    assert snapshot.correlation.features_per_cell == 1
    np.testing.assert_allclose(snapshot.correlation.cells, expected, atol=1e-5)
    diagonal, middles = snapshot.correlation.diagonal, (EDGES[1:] + EDGES[:-1]) / 2
    assert diagonal.sum() == 16 and snapshot.correlation.off_diagonal.sum() == 16 * 15
    assert diagonal @ middles / 16 == pytest.approx(np.diag(expected).mean(), abs=0.005)
    for rows, fractions in (
        (a, snapshot.embedding.variance_fractions),
        (representation, snapshot.representation.variance_fractions),
    ):
        eigenvalues = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
        np.testing.assert_allclose(fractions, eigenvalues / eigenvalues.sum(), rtol=1e-4, atol=1e-8)
    assert 1 <= snapshot.embedding.effective_rank <= 16
    assert 1 <= snapshot.representation.effective_rank <= 16


@pytest.fixture(scope="module")
def tables(experiment, workdir):
    """Return the feature tables of both splits, as `knn` computes them."""
    return experiment.feature_tables(experiment.encoder(workdir, "pretrained")[0])[:2]


def test_neighbors_are_those_of_scikit_learn(experiment, tables, inspection):
    train, test = tables
    images = {
        split: next(
            splits.open_split(experiment.config.data, split).eval_batches(
                experiment.config.data, batch_size=1500, shard=experiment.shard
            )
        ).views["eval"]
        for split in ("train", "test")
    }
    chosen = np.sort(np.random.default_rng(0).permutation(360)[:8])
    neighbors = inspection.neighbors
    np.testing.assert_array_equal(neighbors.queries, images["test"][chosen])
    np.testing.assert_array_equal(neighbors.query_labels, test.labels[chosen])
    index = NearestNeighbors(n_neighbors=5, metric="cosine").fit(train.features)
    distances, rows = index.kneighbors(test.features[chosen])
    np.testing.assert_allclose(neighbors.cosines, 1 - distances, atol=1e-5)
    clear = np.diff(distances, axis=1, append=2).min(axis=1) > 1e-6  # no ties
    assert clear.any()
    np.testing.assert_array_equal(neighbors.labels[clear], train.labels[rows][clear])
    np.testing.assert_array_equal(neighbors.images[clear], images["train"][rows][clear])
    assert neighbors.images.shape == (8, 5, 8, 8, 3) and neighbors.images.dtype == np.uint8


def test_the_projection_is_scikit_learns_pca_with_its_explained_variance(tables, inspection):
    _, test = tables
    pca = PCA(2, svd_solver="full").fit(np.float64(test.features))
    projection = inspection.projections[0]
    assert projection.method == f"PCA, {pca.explained_variance_ratio_.sum():.0%} of the variance"
    np.testing.assert_allclose(projection.points, pca.transform(np.float64(test.features)), atol=1e-5)
    np.testing.assert_array_equal(projection.labels, test.labels)
    assert projection.thumbnails.shape == (360, 8, 8, 3)


def test_views_are_the_columns_of_the_contact_sheet(inspection):
    assert list(inspection.views) == ["original", "view a, host", "view b, host"]
    assert all(column.shape == (6, 8, 8, 3) for column in inspection.views.values())


def test_damaged_checkpoints_are_skipped_with_a_warning(experiment, workdir, train, tmp_path, capsys):
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    newest = max(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    victim = max((tmp_path / "checkpoints" / str(newest)).rglob("d/*"), key=lambda path: path.stat().st_size)
    bits = bytearray(victim.read_bytes())
    bits[len(bits) // 2] ^= 1
    victim.write_bytes(bits)
    steps = [s.step for s in snapshots.take_snapshots(experiment, tmp_path, train, 64)]
    assert newest not in steps and steps[0] == 0 and len(steps) > 1
    assert f"checkpoint of step {newest} is skipped: " in capsys.readouterr().err


class _FakeCheckpoints:
    """Checkpoints of which some are damaged."""

    def __init__(self, steps, damaged):
        self.steps, self._damaged, self.examined = steps, damaged, []

    def examine(self, step, abstract, *, part):
        self.examined.append(step)
        return Verdict(("is missing",) if step in self._damaged else (), True)


def test_five_evenly_spaced_checkpoints_are_read_with_the_newest_intact_one():
    many = _FakeCheckpoints(list(range(0, 1010, 10)), damaged=())
    assert snapshots.select_checkpoints(many, {}) == many.examined == [0, 250, 500, 750, 1000]
    damaged = _FakeCheckpoints(list(range(10, 1010, 10)), damaged=(1000, 990))
    chosen = snapshots.select_checkpoints(damaged, {})
    assert len(chosen) == 5 and chosen[0] == 10 and chosen[-1] == 980
    assert len(damaged.examined) == len(set(damaged.examined)) < 20
    assert snapshots.select_checkpoints(_FakeCheckpoints([5, 9], damaged=(5, 9)), {}) == []
    assert snapshots.select_checkpoints(_FakeCheckpoints([], damaged=()), {}) == []


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
def test_text_multi_crop_and_one_view_runs_have_snapshots(small_config, typed, change):
    """The views are augmented on the device; 27 images do not divide evenly over the eight devices."""
    small_config.data.name, small_config.data.augment_on, small_config.data.canvas = (
        "captioned_digits",
        "device",
        8,
    )
    with small_config.unlocked():
        change(small_config)
    experiment = Experiment.from_config(typed(small_config))
    views = _views(experiment, splits.open_split(experiment.config.data, "train"), 27)
    assert {name: rows.shape[:2] for name, rows in views.items()} == {
        "a": (27, 8),
        "b": (27, 12 if change is _text else 8),
    }
    assert change is _text or np.any(views["a"] != views["b"])
    params, stats = experiment.jit_once(experiment.network.init)(jax.random.key(0))
    snapshot = snapshots.take(FrozenNetwork(experiment), 0, params, stats, views)
    recipe = experiment.config.recipe.views
    embeddings = {}
    for name, rows in views.items():
        op = recipe.get(name, recipe["a"]).normalize
        rows = rows if rows.ndim == 2 else normalize(rows, op)
        embeddings[name] = np.float64(
            jax.jit(experiment.network.apply_frozen, static_argnums=2)(params, stats, name, rows).embedding
        )
    expected = np.corrcoef(embeddings["a"], embeddings["b"], rowvar=False)[:16, 16:]
    np.testing.assert_allclose(snapshot.correlation.cells, expected, atol=1e-4)


@pytest.mark.slow
def test_a_network_without_a_projector_has_only_representations(small_config, typed):
    small_config.network.projector, small_config.network.num_classes = (), 10
    small_config.data.name, small_config.data.augment_on, small_config.data.canvas = (
        "captioned_digits",
        "device",
        8,
    )
    experiment = Experiment.from_config(typed(small_config))
    views = _views(experiment, splits.open_split(experiment.config.data, "train"), 27)
    params, stats = experiment.jit_once(experiment.network.init)(jax.random.key(0))
    snapshot = snapshots.take(FrozenNetwork(experiment), 0, params, stats, views)
    images = normalize(views["a"], experiment.config.recipe.views["a"].normalize)
    rows = np.float64(
        experiment.encoder_network.encode(
            {"encoder": params["encoder"]}, {"encoder": stats["encoder"]}, images
        )
    )
    eigenvalues = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    np.testing.assert_allclose(
        snapshot.representation.variance_fractions, eigenvalues / eigenvalues.sum(), rtol=1e-3, atol=1e-7
    )
    assert snapshot.correlation is snapshot.embedding is None


def test_a_run_without_checkpoints_has_no_inspection(experiment, tmp_path, capsys):
    assert inspect_model.inspect_model(experiment, tmp_path) is None
    assert "holds no checkpoint yet" in capsys.readouterr().err


def test_t_sne_separates_clusters_that_pca_does_not_and_umap_is_added_if_installed(monkeypatch):
    """Six clusters on the corners of an octahedron: two of them meet in any plane of two axes."""
    rng, corners = np.random.default_rng(0), np.concatenate([np.eye(3), -np.eye(3)])
    labels = np.repeat(np.arange(6), 15)
    rows = (corners[labels] + rng.normal(0, 0.05, (90, 3))).astype(np.float32)
    images = np.zeros((90, 2, 2, 3), np.uint8)
    monkeypatch.setitem(sys.modules, "umap", None)
    pca, tsne = inspect_model.project(rows, labels, images)
    assert (pca.method[:3], tsne.method) == ("PCA", "t-SNE, perplexity 30")
    distances = np.linalg.norm(tsne.points[:, None] - tsne.points, axis=-1) + 1e9 * np.eye(90)
    assert np.mean(labels[distances.argmin(1)] == labels) == 1.0

    class Umap:
        def __init__(self, *, n_neighbors, metric, random_state, n_jobs):
            assert (n_neighbors, metric, random_state, n_jobs) == (15, "cosine", 0, 1)

        def fit_transform(self, features):
            return features[:, 1:]

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Umap))
    *_, umap = inspect_model.project(rows, labels, images)
    assert umap.method == "UMAP" and umap.points.dtype == np.float64
    np.testing.assert_array_equal(umap.points, rows[:, 1:])


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan, np.inf])
def test_representations_that_are_equal_or_not_finite_have_no_projection(value):
    """scikit-learn's t-SNE ends the process on them."""
    rows = np.full((40, 8), value, np.float32)
    assert inspect_model.project(rows, np.arange(40), np.zeros((40, 2, 2, 3), np.uint8)) == []


def test_thumbnails_keep_the_aspect_ratio_and_small_images_are_unchanged():
    images = np.arange(2 * 40 * 80 * 3, dtype=np.uint8).reshape(2, 40, 80, 3)
    assert inspect_model.thumbnails(images, 20).shape == (2, 10, 20, 3)
    np.testing.assert_array_equal(inspect_model.thumbnails(images, 80), images)


def test_checkpoints_that_training_removes_meanwhile_are_replaced_by_newer_ones(
    experiment, workdir, train, tmp_path, monkeypatch, capsys
):
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "checkpoints"
    (newest,) = (path for path in folder.iterdir() if path.name == "22")
    newest.rename(tmp_path / "22")
    select_checkpoints = snapshots.select_checkpoints

    def select_and_remove(checkpoints, abstract):
        steps = select_checkpoints(checkpoints, abstract)
        if not newest.exists():
            for step in steps:
                shutil.rmtree(folder / str(step))
            (tmp_path / "22").rename(newest)
        return steps

    monkeypatch.setattr(snapshots, "select_checkpoints", select_and_remove)
    assert [m.step for m in snapshots.take_snapshots(experiment, tmp_path, train, 64)] == [0, 22]
    assert "skipped: cannot be read" in capsys.readouterr().err
