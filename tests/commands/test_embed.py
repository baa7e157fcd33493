"""`embed` through the entry point: its files, from every kind of data, against the evaluations."""

import json
import os
import re
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from pyarrow import parquet
import pytest
import run_processes
from score_records import by_fraction
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from barlow_jax.__main__ import main
from barlow_jax.config.overrides import from_tree
from barlow_jax.experiment import exporting
from barlow_jax.interop import export_state_dict


def _read(path):
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def of_test(workdir, tmp_path_factory):
    """The arrays of the evaluation split."""
    path = tmp_path_factory.mktemp("test") / "features.npz"
    assert main(["embed", "--workdir", str(workdir), "--out", str(path)]) == 0
    return _read(path)


@pytest.fixture
def embed(workdir, run_command, tmp_path):
    """Run `embed` on the shared run; return its arrays, its results and standard error."""

    def run(*argv, out="features.npz"):
        results, said = run_command("embed", "--workdir", workdir, "--out", tmp_path / out, *argv)
        return _read(tmp_path / out), results, said

    return run


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Return a folder of images of two classes, some in subfolders, and of other files."""
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for name in ("val/ant/1.png", "val/ant/2.JPG", "val/bee/3.jpeg", "val/bee/4.jpg", "val/bee/5.png"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(rng.integers(0, 256, (11 + len(name), 14, 3), dtype=np.uint8))
        image.save(path, "PNG" if path.suffix == ".png" else "JPEG")
    (root / "val/bee/4.jpg").write_bytes(b"404 not found")
    (root / "val/ant/notes.txt").write_text("no image")
    return root


def test_tables_of_both_splits_give_the_accuracy_of_knn(embed, of_test, workdir, run_command):
    """The reference is scikit-learn's k-NN, weighted by the same function of the cosine."""
    train, results, said = embed("--split", "train")
    test = of_test
    assert train["features"].shape == (1437, 16) and test["features"].shape == (360, 16)
    assert (results["split"], results["step"], results["width"]) == ("train", 22, 16)
    assert (results["images"], results["decode_failures"]) == (1437, 0)
    assert "1437/1437 images" in said and "1437 rows of 16 features" in said
    assert json.loads((workdir / "results" / "embed.json").read_text()) == results
    judge = KNeighborsClassifier(20, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07))
    judge.fit(train["features"], train["labels"])
    expected, _ = run_command(
        "knn", "--workdir", workdir, "--config.knn.label_fractions=1", "--config.knn.k=20"
    )
    accuracy = 100 * judge.score(test["features"], test["labels"])
    assert accuracy == pytest.approx(by_fraction(expected, k=20)[1.0], abs=0.01)


def test_an_npz_holds_labels_names_places_and_what_it_is_of(of_test):
    found = of_test
    assert found["features"].dtype == np.float32
    np.testing.assert_array_equal(np.bincount(found["labels"]), [36, 36, 35, 37, 36, 37, 36, 36, 35, 36])
    np.testing.assert_array_equal(found["index"], np.arange(360))
    assert re.fullmatch(r"test/\d+", found["names"][5])
    assert json.loads(str(found["about"])) == {
        "feature_source": "pretrained",
        "step": 22,
        "encoder": "resnet8",
        "data": "digits",
        "data_dir": None,
        "split": "test",
    }


def test_parquet_holds_the_same(of_test, run_command, workdir, tmp_path):
    expected = of_test
    run_command("embed", "--workdir", workdir, "--out", tmp_path / "features.parquet")
    found = parquet.read_table(tmp_path / "features.parquet")
    assert found.column_names == ["features", "labels", "names", "index"]
    assert str(found.schema.field("features").type) == "fixed_size_list<element: float>[16]"
    features = found["features"].combine_chunks().values.to_numpy().reshape(-1, 16)
    np.testing.assert_array_equal(features, expected["features"])
    for name in ("labels", "names", "index"):
        assert found[name].to_pylist() == expected[name].tolist()
    assert found.schema.metadata[b"about"].decode() == str(expected["about"])
    assert [path.name for path in tmp_path.iterdir()] == ["features.parquet"]


def test_any_folder_gives_the_features_of_the_data_set_of_the_same_files(embed, photographs):
    """Bit for bit; a file that is no image is not taken, one that is broken is named and left out."""
    flags = ("--config.data.name=images", "--config.data.labels=folders", "--split", "train+held_out")
    flags += (f"--config.data.data_dir={photographs / 'val'}", "--config.data.augment_on=device")
    expected, results, _ = embed(*flags)
    found, others, said = embed("--images", photographs / "val", out="others.npz")
    assert results["decode_failures"] == others["decode_failures"] == 1
    assert "bee/4.jpg is not an image: it begins with b'404 not found'" in said
    assert found["names"].tolist() == ["ant/1.png", "ant/2.JPG", "bee/3.jpeg", "bee/5.png"]
    assert found["index"].tolist() == [0, 1, 2, 4] and "labels" not in found
    assert others["images_of"] == str(photographs / "val") and "split" not in others
    order = np.argsort(expected["names"])
    assert expected["names"][order].tolist() == found["names"].tolist()
    assert expected["labels"][order].tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(expected["features"][order], found["features"])


def test_a_folder_that_is_a_split_gives_the_pixels_of_its_images(embed, photographs):
    flags = ("--config.data.name=images", f"--config.data.data_dir={photographs}", "--pixels")
    flags += ("--config.data.train_split=val[:2]", "--config.data.eval_split=val[2:]")
    expected, _, _ = embed(*flags, "--split", "val")
    found, _, _ = embed(*flags, "--images", photographs / "val", out="others.npz")
    order = np.argsort(expected["names"])
    assert expected["names"][order].tolist() == [f"val/{name}" for name in found["names"]]
    np.testing.assert_array_equal(expected["features"][order], found["features"])


def test_tiles_have_their_corners_as_columns(embed, run_command, workdir, photographs, tmp_path):
    flags = ("--config.data.name=images", "--config.data.augment_on=device", "--config.data.tile=16")
    (scan := tmp_path / "scans").mkdir()
    Image.fromarray(np.arange(20 * 40, dtype=np.uint8).reshape(20, 40)).save(scan / "scan.png")
    found, _, _ = embed(*flags, "--images", scan, "--nearest", 2)
    assert found["names"].tolist() == [f"scan.png#{r},{c}" for r in (0, 4) for c in (0, 16, 24)]
    assert list(zip(found["row"], found["column"], strict=True)) == [
        (r, c) for r in (0, 4) for c in (0, 16, 24)
    ]
    table = ("--images", scan, "--out", tmp_path / "tiles.parquet")
    run_command("embed", "--workdir", workdir, *flags, *table)
    columns = parquet.read_table(tmp_path / "tiles.parquet")
    assert columns["column"].to_pylist() == found["column"].tolist()


def test_one_image_is_enough_and_the_runs_data_need_not_be_there(run_command, workdir, photographs, tmp_path):
    """Nor a workdir, beside another run's encoder; which is not written to."""
    before = _files(workdir)
    (tmp_path / "one").mkdir()
    (tmp_path / "one/a.png").write_bytes((photographs / "val/ant/1.png").read_bytes())
    flags = ("--config.data.name=images", "--config.data.data_dir=/nowhere")
    argv = ("embed", "--encoder", workdir, "--images", tmp_path / "one", *flags)
    results, _ = run_command(*argv, "--out", tmp_path / "new/one.npz", "--nearest", 3)
    assert results["images"] == 1 and _read(tmp_path / "new/one.npz")["features"].shape == (1, 16)
    assert (tmp_path / "new/one.nearest.png").is_file()
    assert _files(workdir) == before
    where = ("--encoder", workdir, "--split", "val", "--out", tmp_path / "x.npz")
    _, said = run_command("embed", *where, *flags, code=2)
    assert "/nowhere does not exist" in said and not (tmp_path / "x.npz").exists()


def test_a_file_of_weights_needs_neither_run_nor_config(run_command, workdir, photographs, tmp_path):
    """The defaults say how images are made; here as small as the run's."""
    trained = exporting.read_trained(from_tree(json.loads((workdir / "config.json").read_text()))[0], workdir)
    export_state_dict.write(trained, tmp_path)
    size = ("--config.data.image_size=8", "--config.data.eval_resize=8", "--config.network.dtype=float32")
    argv = ("--encoder", tmp_path / export_state_dict.WEIGHTS, "--images", photographs, *size)
    results, _ = run_command("embed", *argv, "--out", tmp_path / "file.npz")
    run_command("embed", "--workdir", workdir, "--images", photographs, "--out", tmp_path / "run.npz")
    assert results["step"] == -1
    found, expected = (_read(tmp_path / f"{name}.npz")["features"] for name in ("file", "run"))
    assert len(found) == 4
    np.testing.assert_array_equal(found, expected)


def test_captioned_digits_give_the_features_of_the_digits(embed, of_test):
    found, _, _ = embed("--config.data.name=captioned_digits")
    expected = of_test
    np.testing.assert_array_equal(
        found["features"][np.lexsort(found["features"].T)],
        expected["features"][np.lexsort(expected["features"].T)],
    )
    assert sorted(found["names"]) == sorted(expected["names"])


def test_pixels_are_the_images_themselves(embed):
    found, results, _ = embed("--pixels")
    assert (results["feature_source"], results["step"], results["width"]) == ("pixels", -1, 192)
    rows = [int(name.removeprefix("test/")) for name in found["names"]]
    levels = np.round(load_digits().data[rows] * 255 / 16).repeat(3, axis=1) / 255
    np.testing.assert_allclose(found["features"], levels, rtol=1e-6)


def test_before_training_the_features_are_others(embed, of_test):
    found, results, _ = embed("--untrained")
    assert results["step"] == 0 and np.abs(found["features"] - of_test["features"]).max() > 0.01


def test_the_nearest_are_drawn_beside_the_file(embed, tmp_path):
    _, results, said = embed("--nearest", 3, "--queries", 5, out="some.features.npz")
    assert results["nearest"] == str(tmp_path / "some.features.nearest.png") and results["nearest"] in said
    height, width, _ = plt.imread(results["nearest"]).shape
    assert 1.1 < height / width < 1.7 and width > 400


def test_mistakes_are_named_before_anything_is_computed(run_command, workdir, tmp_path):
    (tmp_path / "empty").mkdir()
    argv = ("embed", "--workdir", workdir)
    for more, words in (
        (("--out", tmp_path / "features.csv"), "must end in .npz or .parquet"),
        (("--out", tmp_path / "f.npz", "--split", "dev"), "digits has no split 'dev'; it has"),
        (("--out", tmp_path / "f.npz", "--images", tmp_path / "none"), "none does not exist"),
        (("--out", tmp_path / "f.npz", "--images", tmp_path / "empty"), "empty has 0 images; "),
    ):
        _, said = run_command(*argv, *more, code=2)
        assert words in said and "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_folder_of_broken_images_alone_is_an_error(run_command, workdir, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    argv = ("embed", "--workdir", workdir, "--images", tmp_path, "--out", tmp_path / "f.npz")
    _, said = run_command(*argv, code=2)
    assert "a.png is empty" in said and "none of the 1 images can be decoded" in said
    assert not (tmp_path / "f.npz").exists()


@pytest.mark.slow
def test_two_processes_write_the_file_of_one(workdir, of_test, tmp_path):
    """Batches of 128, of which each has half of the rows; process 1 writes nothing."""
    coordinator = f"127.0.0.1:{run_processes.free_port()}"
    flags = ("--config.eval_batch_size=128", "--num-processes=2", "--coordinator", coordinator)
    both = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "barlow_jax",
                "embed",
                "--workdir",
                workdir,
                *flags,
                f"--process-id={number}",
                "--out",
                tmp_path / f"of{number}.npz",
            ],
            env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    said = [run_processes.finish(process)[0] for process in both]
    assert json.loads(said[0])["images"] == 360 and said[1] == ""
    assert [path.name for path in tmp_path.iterdir()] == ["of0.npz"]
    found = _read(tmp_path / "of0.npz")
    for name in ("index", "labels", "names"):
        np.testing.assert_array_equal(found[name], of_test[name])
    np.testing.assert_allclose(found["features"], of_test["features"], rtol=1e-5, atol=1e-6)
