"""The report command: one run and several, with and without model inspection, during training."""

import json
import shutil

import pytest

from barlow_jax.workdir import lock


def _files(*folders):
    return {
        path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*") if path.is_file()
    }


def test_the_report_of_a_run_is_one_file_and_nothing_else_changes(workdir, run_command, tmp_path):
    before = _files(workdir)
    with lock.acquire(workdir):  # as during training
        results, stderr = run_command("report", "--workdir", workdir, "--out", tmp_path / "new" / "one.html")
    assert _files(workdir) == before
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "one.html"]
    page = (tmp_path / "new" / "one.html").read_text()
    assert results["out"] == str(tmp_path / "new" / "one.html") and results["bytes"] == len(page.encode())
    assert results["runs"] == [workdir.name] and workdir.name in page
    assert results["snapshots"][0] == 0 and results["snapshots"][-1] == 22
    assert page.count("data:image/") > 8 and all(f'id="{anchor}"' in page for anchor in results["sections"])
    assert f"report: {results['out']}" in stderr


def test_several_runs_share_one_report_without_model_inspection(workdir, run_command, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(workdir, tmp_path / name, ignore=shutil.ignore_patterns("checkpoints", "tensorboard"))
    argv = (
        "report",
        "--workdir",
        tmp_path / "one",
        tmp_path / "two",
        "--no-images",
        "--device-hour-price",
        "2.5",
    )
    results, stderr = run_command(*argv)
    assert results["out"] == str(tmp_path / "one" / "report.html")
    assert results["runs"] == ["one", "two"] and results["snapshots"] == []
    assert not (tmp_path / "one" / "results" / "report.json").exists() and "warning" not in stderr
    assert "Left out by --no-images." in (tmp_path / "one" / "report.html").read_text()


@pytest.fixture
def copied(workdir, tmp_path):
    """Return a copy of the run, whose files may be changed."""
    shutil.copytree(workdir, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_without_its_data_set_is_reported_without_model_inspection(copied, run_command):
    path = copied / "config.json"
    tree = json.loads(path.read_text())
    tree["data"] |= {"name": "images", "augment_on": "device", "data_dir": str(copied / "nowhere")}
    path.write_text(json.dumps(tree))
    results, stderr = run_command("report", "--workdir", copied)
    assert results["snapshots"] == [] and results["bytes"] > 10_000
    assert "leaves out the model inspection" in stderr and "--config.data.data_dir=" in stderr
    assert "Not available: " in (copied / "report.html").read_text()


def test_a_run_without_checkpoint_and_one_with_a_damaged_config_are_reported(copied, run_command):
    shutil.rmtree(copied / "checkpoints")
    results, stderr = run_command("report", "--workdir", copied)
    assert results["snapshots"] == [] and "holds no checkpoint yet" in stderr
    (copied / "config.json").write_text("{")
    results, stderr = run_command("report", "--workdir", copied)
    assert results["snapshots"] == [] and "config.json is damaged" in stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "report.png"), "--out: needs a file that ends in .html, got report.png"),
        (("--config", "configs/digits.py"), "--config is no argument"),
        (("--config.data.dir=x",), "config.data.dir does not exist"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(copied, run_command, arguments, message):
    before = _files(copied)
    assert message in run_command("report", "--workdir", copied, *arguments, code=2)[1]
    assert _files(copied) == before


def test_every_folder_without_a_run_is_named(workdir, run_command, tmp_path):
    assert "--workdir is missing" in run_command("report", code=2)[1]
    stderr = run_command("report", "--workdir", workdir, tmp_path, tmp_path / "nowhere", code=2)[1]
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert f"--workdir {folder} holds no run (it has neither status.json nor config.json)" in stderr
