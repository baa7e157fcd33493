"""Atomic files and folders: complete or missing, whatever interrupts the writer."""

import os

import pytest

from barlow_jax.io import files


def test_json_replaces_an_older_file(tmp_path):
    path = tmp_path / "results" / "probe.json"
    files.write_json(path, {"top1": 1})
    files.write_json(path, {"top1": 2})
    assert files.read_json(path) == {"top1": 2}
    assert [p.name for p in path.parent.iterdir()] == ["probe.json"]


def test_names_that_are_not_utf8_can_be_written(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    files.write_text(tmp_path / "report.html", name)
    files.write_json(tmp_path / "results.json", {"data_dir": name})
    assert (tmp_path / "report.html").read_text() == r"caf\udce9.png"
    assert os.fsencode(files.read_json(tmp_path / "results.json")["data_dir"]) == b"caf\xe9.png"


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch):
    path = tmp_path / "probe.json"
    files.write_text(path, "old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write_text(path, "new")
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_folder_gets_its_name_when_it_is_complete(tmp_path):
    path = tmp_path / "a" / "export"
    with files.new_folder(path) as draft:
        (draft / "weights").write_text("1")
        assert not path.exists()
    assert [p.name for p in path.iterdir()] == ["weights"] and [p.name for p in path.parent.iterdir()] == [
        "export"
    ]
    with pytest.raises(FileExistsError), files.new_folder(path):
        raise AssertionError("never filled")
    (path / "weights").unlink()
    with files.new_folder(path) as draft:  # an empty folder may be replaced
        (draft / "b").touch()
    assert [p.name for p in path.iterdir()] == ["b"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_unfinished_folder_is_removed(tmp_path, error):
    with pytest.raises(error), files.new_folder(tmp_path / "export") as draft:
        (draft / "weights").write_text("1")
        raise error
    assert not list(tmp_path.iterdir())


def test_only_drafts_of_killed_processes_are_removed(tmp_path):
    for name in (".a.json.12", ".b.json.7", ".hidden.json", "a.json.12", ".12"):
        (tmp_path / name).touch()
    files.remove_drafts(tmp_path, "a.json")
    assert {path.name for path in tmp_path.iterdir()} == {".b.json.7", ".hidden.json", "a.json.12", ".12"}
    files.remove_drafts(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".hidden.json", "a.json.12", ".12"}
    files.remove_drafts(tmp_path / "missing")
