"""Evaluations, features, export, report and plan as functions return what the commands write."""

import json

import numpy as np
import pytest

import barlow_jax as bj
from barlow_jax.errors import UserError


@pytest.fixture(scope="module")
def run(workdir):
    changes = {"knn.label_fractions": [1.0], "knn.subset_repeats": 1, "probe.label_fractions": [1.0]}
    return bj.open_run(workdir, changes | {"probe.subset_repeats": 1})


def test_knn_is_that_of_the_command(run, run_command):
    result = run.knn()
    assert isinstance(result, bj.Evaluation) and result.step == 22
    written = json.loads((run.workdir / "results" / "knn.json").read_text())
    flags = ("--config.knn.label_fractions=1", "--config.knn.subset_repeats=1")
    command, _ = run_command("knn", "--workdir", run.workdir, *flags)
    assert [score.to_json() for score in result.scores] == command["scores"] == written["scores"]
    assert written["settings"] == command["settings"] and written["data"] == command["data"]
    value = result.value("top1", k=20, distance="cosine")
    assert 0 < value <= 100 and f"{value:.4g}" in repr(result)
    assert (
        result.table.query("metric == 'top1' and k == 20 and distance == 'cosine'")["value"].item() == value
    )
    with pytest.raises(KeyError, match="k=200"):
        result.value("top1")


@pytest.mark.slow
def test_sources_and_checkpoints(run):
    """A function on a path, and a method; each feature source has its file."""
    pixels = bj.knn(run.workdir, feature_source="pixels")
    assert (pixels.feature_source, pixels.step) == ("pixels", -1)
    assert (run.workdir / "results" / "knn-pixels.json").is_file()
    assert run.knn(checkpoint=18).step == 18 and run.knn(checkpoint="best").step == 22


def test_features_are_those_of_the_loaded_encoder(run, tmp_path):
    table = run.features("test")
    assert table.features.shape == (360, 16) and len(table) == len(table.names) == len(table.labels) == 360
    pixels = table.images(np.arange(4))
    np.testing.assert_allclose(bj.load(run)(pixels), table.features[:4], rtol=1e-5, atol=1e-6)
    written = bj.embed(run, split="test", out=tmp_path / "t.npz", nearest=3)
    np.testing.assert_array_equal(np.load(tmp_path / "t.npz")["features"], written.features)
    assert (tmp_path / "t.nearest.png").is_file() and "360 images" in repr(written)
    np.save(tmp_path / "images.npy", pixels)
    other = bj.embed(run.workdir, tmp_path / "images.npy")
    np.testing.assert_allclose(other.features, written.features[:4], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_export_report_and_import(run, tmp_path):
    folder = run.export(tmp_path / "exported", format="torchvision")
    exported = bj.open_run(run.export(tmp_path / "orbax"))
    images = np.zeros([2, 8, 8, 3], np.uint8)
    np.testing.assert_array_equal(bj.load(exported)(images), bj.load(run)(images))
    (weights,) = folder.glob("*.safetensors")
    imported = bj.import_weights(
        weights, tmp_path / "new", run.config.replace({"network.encoder": "resnet18"})
    )
    assert imported.config.network == run.config.network  # the encoder is that of the file
    np.testing.assert_allclose(bj.load(imported)(images), bj.load(run)(images), rtol=1e-6)
    page = bj.report([run, run.workdir], tmp_path / "report.html", images=False)
    assert page.read_text().startswith("<!")


@pytest.mark.parametrize(
    ("function", "options", "word"),
    [
        ("knn", {"feature_source": "pixel"}, "feature_source"),
        ("probe", {"checkpoint": "last"}, "checkpoint"),
        ("knn", {"checkpoint": 5}, "step 5"),
        ("finetune", {"feature_source": "pixels"}, "pixels"),
        ("transfer", {"only": ["voc08"]}, "voc08"),
        ("embed", {"split": "tset"}, "tset"),
        ("embed", {"images": "/nowhere"}, "nowhere"),
        ("embed", {"split": "test", "out": "features.csv"}, "csv"),
        ("embed", {"nearest": 5}, "nearest"),
        ("export", {"out": "", "format": "orbax"}, "out"),
        ("export", {"out": "exported", "format": "onyx"}, "onyx"),
        ("report", {"out": "report.pdf"}, "pdf"),
        ("report", {"device_hour_price": -1.0}, "device_hour_price"),
    ],
)
def test_bad_input_writes_nothing(run, function, options, word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in run.workdir.rglob("*")}
    with pytest.raises(UserError, match=word):
        getattr(run, function)(**options)
    assert not [*tmp_path.iterdir()]
    assert {path: path.stat().st_mtime_ns for path in run.workdir.rglob("*")} == before


def test_bad_input_of_plan():
    config = bj.configs.imagenet()
    for options, word in (({"part": "all"}, "part"), ({"images_per_chip": 0}, "batch_size")):
        with pytest.raises(UserError, match=word):
            bj.plan(config, "v5e:2x2", **options)
    with pytest.raises(UserError, match="v9"):
        bj.plan(config, "v9:2x2")


@pytest.mark.slow
def test_all_evaluations(run):
    results = run.evaluate()
    assert list(results) == ["pixels", "untrained", "pretrained"]
    assert results["pretrained"].value("top1", command="probe") == run.probe().value("top1")
    assert {score.command for score in run.finetune().scores} == {"finetune"}


@pytest.mark.slow
def test_a_cost_estimate_is_readable():
    config = bj.configs.digits().replace({"network.projector": [64], "train.batch_size": 64})
    estimate = bj.plan(config, "v5e:2x2", part="loss", images_per_chip=32)
    assert estimate.fits and estimate.values["batch_size"] == 128 and "128" in repr(estimate)
