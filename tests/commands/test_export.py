"""`export` through the entry point with a toy format: checkpoint, folder, and no partial output."""

import json
import shutil
import sys
import types

import jax
import numpy as np
import pytest
from resnet_state_dict import to_torchvision
from safetensors.numpy import save_file

from barlow_jax.config.schema import Network as NetworkConfig
from barlow_jax.errors import UserError
from barlow_jax.interop import formats
from barlow_jax.networks.network import Network
from barlow_jax.workdir import selection

KNN = {18: 0.5, 22: 0.25}  # k-NN accuracy by step in metrics.jsonl


@pytest.fixture
def taken(monkeypatch):
    """Return the list of encoders that the format "orbax" receives; a toy format replaces it."""
    given = []

    def write(trained, out):
        given.append(trained)
        (out / "deep").mkdir()
        (out / "deep" / "a.bin").write_bytes(b"abc")
        (out / "b.txt").write_text("de")
        return {"keys": 2, "load": ["first", 'open("{out}/b.txt")']}

    module = types.ModuleType("barlow_jax.interop.toy_format")
    module.write = write
    monkeypatch.setitem(sys.modules, "barlow_jax.interop.toy_format", module)
    monkeypatch.setitem(formats.FORMATS, "orbax", "toy_format")
    return given


@pytest.fixture
def copy(workdir, tmp_path):
    """Return a run whose k-NN accuracies are KNN."""
    run = shutil.copytree(workdir, tmp_path / "copy")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "knn_top1" not in row]
    rows += [{"step": step, "knn_top1": score} for step, score in KNN.items()] + [
        {"step": 11, "knn_top1": 0.9}
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 22, "knn_')
    return run


def test_the_folder_has_what_the_format_wrote_and_the_results_name_it(workdir, run_command, taken, tmp_path):
    out = tmp_path / "new" / "export"
    results, said = run_command("export", "--workdir", workdir, "--format", "orbax", "--out", out)
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*")) == ["b.txt", "deep", "deep/a.bin"]
    assert results == {
        "format": "orbax",
        "out": str(out),
        "step": 22,
        "files": ["b.txt", "deep/a.bin"],
        "bytes": 5,
        "keys": 2,
        "load": ["first", f'open("{out}/b.txt")'],
    }
    assert f'first\nopen("{out}/b.txt")' in said and str(out) in said
    assert json.loads((workdir / "results" / "export-orbax.json").read_text()) == results
    assert [p.name for p in out.parent.iterdir()] == ["export"], "no draft stays"


def test_the_encoder_is_that_of_the_checkpoint_with_what_the_run_says(workdir, run_command, taken, tmp_path):
    run_command(
        "export", "--workdir", workdir, "--format", "orbax", "--out", tmp_path / "a", "--license", "mit"
    )
    (trained,) = taken
    assert (trained.step, trained.name, trained.num_features, trained.license) == (22, "resnet8", 16, "mit")
    assert (
        trained.results["pretrain"]["step"] == 22
        and trained.provenance[-1]["packages"]["jax"] == jax.__version__
    )
    assert list(trained.params) == list(trained.batch_stats) == ["encoder"]
    leaves = jax.tree.leaves((trained.params, trained.batch_stats))
    assert all(isinstance(leaf, np.ndarray) and leaf.dtype == np.float32 for leaf in leaves)
    kernel = trained.params["encoder"]["conv"]["kernel"]
    assert kernel.shape == (3, 3, 3, 4) and 0.1 < kernel.std() < 1


@pytest.mark.parametrize(("checkpoint", "step"), [("newest", 22), ("best", 18), ("18", 18), ("22", 22)])
def test_the_checkpoint_is_the_one_that_is_asked_for(copy, run_command, taken, tmp_path, checkpoint, step):
    argv = ("--format", "orbax", "--out", tmp_path / "out", "--checkpoint", checkpoint)
    results, _ = run_command("export", "--workdir", copy, *argv)
    assert results["step"] == taken[0].step == step


def test_another_run_or_one_of_its_checkpoints_is_exported_by_its_path(workdir, run_command, taken, tmp_path):
    for path, step in ((workdir, 22), (workdir / "checkpoints" / "18", 18)):
        out = tmp_path / str(step)
        results, _ = run_command("export", "--encoder", path, "--format", "orbax", "--out", out)
        assert results["step"] == step and taken[-1].provenance
    assert not np.array_equal(*(t.params["encoder"]["conv"]["kernel"] for t in taken))


def test_of_equally_good_ones_the_newest_is_best(copy):
    with (copy / "metrics.jsonl").open("a") as file:
        file.write("\n" + json.dumps({"step": 22, "knn_top1": 0.5}) + "\n")
    assert selection.best_checkpoint(copy, "auto").name == "22"


def test_a_damaged_row_is_passed_over(copy):
    file = copy / "metrics.jsonl"
    file.write_text('{"step": 18, "kn}\n' + file.read_text())
    assert selection.best_checkpoint(copy, "auto").name == "18"


def test_without_an_accuracy_the_steps_that_are_there_are_named(copy, run_command, taken, tmp_path):
    (copy / "metrics.jsonl").write_text('{"step": 11, "knn_top1": 0.9}\n{"step": 22, "loss": 1.0}\n')
    argv = ("--format", "orbax", "--out", tmp_path / "out", "--checkpoint")
    _, said = run_command("export", "--workdir", copy, *argv, "best", code=2)
    assert "no knn_top1" in said and "18, 22" in said
    (copy / "metrics.jsonl").unlink()
    assert "18, 22" in run_command("export", "--workdir", copy, *argv, "best", code=2)[1]
    assert "Choose one of 18, 22" in run_command("export", "--workdir", copy, *argv, "7", code=2)[1]
    assert not taken and not (tmp_path / "out").exists()


def test_a_damaged_checkpoint_is_passed_over_or_refused_by_name(copy, run_command, taken, tmp_path):
    path = next((copy / "checkpoints" / "22" / "default" / "d").iterdir())
    path.write_bytes(path.read_bytes()[:-1])
    argv = ("export", "--workdir", copy, "--format", "orbax", "--out", tmp_path / "out")
    assert "22 is damaged" in run_command(*argv, "--checkpoint", "22", code=2)[1]
    results, said = run_command(*argv)
    assert results["step"] == 18 and "skipped damaged checkpoints: step 22" in said


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A ResNet-10 of width 4 in torchvision's layout, of a network that was never trained."""
    config = NetworkConfig(encoder="resnet10", width=4, projector=(8,))
    trees = jax.device_get(Network(config).init(jax.random.key(0)))
    path = tmp_path_factory.mktemp("file") / "encoder.safetensors"
    save_file(to_torchvision(*(tree["encoder"] for tree in trees)), path)
    return path


def test_a_file_needs_no_config_and_images_are_then_as_for_imagenet(file, run_command, taken, tmp_path):
    results, _ = run_command("export", "--encoder", file, "--format", "orbax", "--out", tmp_path / "out")
    (trained,) = taken
    assert results["step"] == trained.step == -1 and not trained.provenance and not trained.results
    assert (trained.name, trained.config.network.width, trained.image_size) == ("resnet10", 4, 224)
    _, said = run_command(
        "export",
        "--encoder",
        file,
        "--format",
        "orbax",
        "--out",
        tmp_path / "b",
        "--checkpoint",
        "best",
        code=2,
    )
    assert "omit --checkpoint" in said


def test_neither_the_data_nor_the_mesh_of_the_run_is_needed(copy, run_command, taken, tmp_path):
    config = json.loads((copy / "config.json").read_text())
    config["data"] |= {"name": "images", "data_dir": "/nowhere"}
    config["mesh"] |= {"slices": 256, "projector": "sharded"}
    (copy / "config.json").write_text(json.dumps(config))
    assert (
        run_command("export", "--workdir", copy, "--format", "orbax", "--out", tmp_path / "o")[0]["step"]
        == 22
    )


@pytest.mark.parametrize(
    "error", [UserError("no such form; use another"), OSError(28, "No space left"), KeyError("x")]
)
def test_a_format_that_fails_leaves_nothing(workdir, taken, run_command, tmp_path, monkeypatch, error):
    def write(trained, out):
        (out / "half.bin").write_bytes(b"x")
        raise error

    monkeypatch.setattr(sys.modules["barlow_jax.interop.toy_format"], "write", write)
    argv = ("export", "--workdir", workdir, "--format", "orbax", "--out", tmp_path / "out")
    if isinstance(error, KeyError):
        with pytest.raises(KeyError):
            run_command(*argv)
    else:
        said = run_command(*argv, code=2 if isinstance(error, UserError) else 1)[1]
        assert str(error.args[-1]) in said
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_filled_and_a_full_one_is_refused_untouched(workdir, run_command, taken, tmp_path):
    argv = ("export", "--workdir", workdir, "--format", "orbax", "--out", tmp_path / "out")
    (tmp_path / "out").mkdir()
    run_command(*argv)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    assert f"--out {tmp_path / 'out'} is not empty" in run_command(*argv, code=2)[1]
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_results_that_are_torn_are_named(copy, run_command, taken, tmp_path):
    (copy / "results" / "probe.json").write_text('{"scores": [')
    _, said = run_command("export", "--workdir", copy, "--format", "orbax", "--out", tmp_path / "out", code=2)
    assert "probe.json is damaged" in said


def test_a_resnet50_of_noise_goes_in_and_comes_out_bit_for_bit(run_command, tmp_path):
    rng = np.random.default_rng(0)
    shapes = [tree["encoder"] for tree in Network(NetworkConfig(projector=(8,))).shapes()]
    noise = jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32), shapes)
    tensors = to_torchvision(*noise)
    given, out = tmp_path / "given.safetensors", tmp_path / "out"
    save_file(tensors, given, metadata={"format": "pt"})
    results, said = run_command("export", "--encoder", given, "--format", "torchvision", "--out", out)
    assert results["keys"] == 318 and {"encoder.safetensors", "README.md"} <= set(results["files"])
    assert (out / "encoder.safetensors").read_bytes() == given.read_bytes()
    assert len({path.stat().st_mode for path in out.iterdir()}) == 1, "who may read one may read all"
    assert (
        "torchvision.models.resnet50()" in said and f"Detectron2: the commands are in {out}/README.md" in said
    )
    card = (out / "README.md").read_text()
    assert "convert-torchvision-to-d2.py FOLDER/encoder.pth encoder.pkl" in card
    assert "voc_c4.yaml" in card and "coco_c4.yaml" in card and "PIXEL_MEAN" not in card
