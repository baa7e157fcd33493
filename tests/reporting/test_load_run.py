"""Reading of a workdir: complete, of a run in progress, with damaged files, without a run."""

import json

import pytest

from barlow_jax.config import overrides, records
from barlow_jax.errors import UserError
from barlow_jax.reporting import load_run
from barlow_jax.reporting.load_run import ABSENT, read_run
from barlow_jax.workdir import provenance
from barlow_jax.workdir.status import Status


@pytest.fixture
def workdir(tmp_path, small_config):
    """Return the workdir of a finished run with one result."""
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(small_config.to_dict()))
    with Status(folder, num_steps=22, epoch=lambda step: step / 11) as status:
        status.begin(0)
        status.first_step_done()
        status.log(22, {"loss": 1.5, "images_per_second": 640.0})
    provenance.record(folder, ["pretrain"], {"kind": "cpu", "count": 8, "processes": 1})
    rows = [{"step": 11, "loss": 2.5}, {"step": 11, "knn_top1": 0.5}, {"step": 22, "loss": None}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "results").mkdir()
    (folder / "results" / "knn-untrained.json").write_text('{"step": 0}')
    return folder


def test_all_files_are_read_and_none_is_changed(workdir, capsys):
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    run = read_run(workdir)
    assert run.name == "one" and run.workdir == workdir
    assert run.config["network.encoder"] == "resnet8" and run.config["network.projector"] == (16, 16)
    assert run.status["state"] == "finished" and run.status["step"] == 22 and "marks" not in run.status
    assert run.provenance[0]["devices"]["count"] == 8 and run.provenance[0]["starts"] == 1
    assert [list(row) for row in run.metrics] == [["step", "loss"], ["step", "knn_top1"], ["step", "loss"]]
    assert run.metrics[2]["loss"] is None
    assert run.results == {"knn-untrained": {"step": 0}}
    assert capsys.readouterr().err == ""
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*")} == before


def test_changed_keys_are_those_that_the_config_file_sets(workdir, small_config):
    changed = read_run(workdir).changed
    assert changed["data.name"] == ("imagenet2012", "digits")
    assert changed["network.projector"] == ((8192, 8192, 8192), (16, 16))
    assert changed["recipe.views.a.jitter.probability"] == (0.8, 0.0)
    defaults = records.flatten(overrides.default_config().to_dict())
    set_keys = {k for k, v in records.flatten(small_config.to_dict()).items() if v != defaults[k]}
    assert set(changed) == set_keys


def test_added_views_are_listed_by_key_and_missing_ones_by_group(small_config):
    with small_config.unlocked():
        small_config.recipe.views["c"] = small_config.recipe.views.a.copy_and_resolve_references()
        del small_config.recipe.views["b"]
    changed = load_run.changed(records.flatten(small_config.to_dict()))
    keys = len(records.flatten(small_config.recipe.views.a.to_dict()))
    assert changed["recipe.views.b"] == (f"{keys} keys", ABSENT)
    assert changed["recipe.views.c.crop.min_area"] == (ABSENT, 0.08)
    assert not any(key.startswith("recipe.views.b.") for key in changed)


def test_a_key_that_an_older_run_lacks_has_its_default(workdir):
    path = workdir / "config.json"
    tree = json.loads(path.read_text())
    del tree["optim"]["grad_scale"]
    path.write_text(json.dumps(tree))
    run = read_run(workdir)
    assert run.config["optim.grad_scale"] == 1.0 and "optim.grad_scale" not in run.changed


@pytest.mark.parametrize("damaged", ["", "{", "[1]", "\0\0\0", '"words"', '{"step": 11'])
def test_damaged_files_are_left_out_with_a_warning(workdir, capsys, damaged):
    for name in ("config.json", "provenance.json", "results/knn-untrained.json"):
        (workdir / name).write_text(damaged)
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write(f"{damaged or '{'}\n")
    run = read_run(workdir)
    assert run.status["step"] == 22 and len(run.metrics) == 3
    assert not (run.config or run.changed or run.provenance or run.results)
    stderr = capsys.readouterr().err
    for name in ("config.json", "provenance.json", "results/knn-untrained.json"):
        assert f"warning: {workdir / name} is " in stderr
    assert "metrics.jsonl: 1 line " in stderr


def test_a_damaged_status_is_left_out(workdir, capsys):
    (workdir / "status.json").write_text("{}")
    assert read_run(workdir).status is None
    assert "status.json is damaged" in capsys.readouterr().err


def test_unknown_keys_are_named(workdir, capsys):
    path = workdir / "config.json"
    tree = json.loads(path.read_text())
    tree["optim"] |= {"sharpness": 1, "momentum": "much"}
    path.write_text(json.dumps(tree))
    assert read_run(workdir).config["optim.momentum"] == 0.9
    stderr = capsys.readouterr().err
    assert "config.optim.sharpness does not exist" in stderr and "config.optim.momentum is 'much'" in stderr


def test_a_run_that_has_just_started_is_read_without_warnings(tmp_path, capsys):
    Status(tmp_path, num_steps=22, epoch=lambda step: step / 11).begin(0)
    run = read_run(tmp_path)
    assert run.status["state"] == "starting"
    assert not (run.config or run.changed or run.provenance or run.metrics or run.results)
    assert capsys.readouterr().err == ""


def test_a_folder_without_a_run_is_an_error_with_its_remedy(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"holds no run .*Pass the folder given to `pretrain --workdir`"):
            read_run(folder)
