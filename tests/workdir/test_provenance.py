"""Provenance entries of starts."""

import hashlib
import json
import pathlib

from barlow_jax.config import parts
from barlow_jax.workdir import provenance

ONE, EIGHT = ({"kind": "cpu", "count": n, "processes": 1} for n in (1, 8))


def test_equal_starts_are_one_entry(tmp_path):
    for devices in (ONE, ONE, EIGHT, ONE):
        provenance.record(tmp_path, ["pretrain"], devices)
    entries = provenance.read(tmp_path)
    assert [entry["starts"] for entry in entries] == [2, 1, 1]
    assert [entry["devices"]["count"] for entry in entries] == [1, 8, 1]
    assert entries[0]["first"] <= entries[0]["last"] <= entries[1]["first"]


def test_extensions_are_recorded_with_their_changes(tmp_path):
    first = {
        "step": 22,
        "epoch": 2.0,
        "changed": {"train.batch_size": [128, 64], "train.num_epochs": [2.0, 4.0]},
    }
    second = {"step": 40, "epoch": 2.5, "changed": {"optim.learning_rate": [0.2, 0.1]}}
    for segment in (None, first, first, second):
        provenance.record(tmp_path, ["pretrain"], ONE, segment)
    entries = provenance.read(tmp_path)
    assert [entry["starts"] for entry in entries] == [1, 2, 1]
    assert provenance.extensions(entries) == [
        "from step 22: train.batch_size 128 to 64, train.num_epochs 2.0 to 4.0",
        "from step 40: optim.learning_rate 0.2 to 0.1",
    ]


def test_changed_code_of_a_user_is_noticed_at_the_next_start(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(parts, "_digests", {})
    file = tmp_path / "nets.py"
    for number in (1, 1, 2):
        file.write_text(f"width = {number}\n")
        assert parts.import_source(str(file))["width"] == number
        provenance.record(tmp_path, ["pretrain"], ONE)
        assert (str(file) in capsys.readouterr().err) == (number == 2)
    entries = provenance.read(tmp_path)
    assert [entry["starts"] for entry in entries] == [2, 1]
    digest = hashlib.sha256(b"width = 2\n").hexdigest()
    assert entries[1]["own_code"] == {str(file): digest} != entries[0]["own_code"]


def test_packages_have_the_imported_versions(tmp_path):
    import jax
    import numpy as np

    provenance.record(tmp_path, ["pretrain", "--config", "x.py"], ONE)
    (entry,) = provenance.read(tmp_path)
    assert entry["packages"]["jax"] == jax.__version__ and entry["packages"]["numpy"] == np.__version__
    assert entry["command"] == ["pretrain", "--config", "x.py"]


def test_the_commit_is_marked_if_files_were_changed(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "file").write_text("1")
    assert provenance._commit(package) is None
    author = ["-c", "user.name=x", "-c", "user.email=x@x"]
    provenance._git(tmp_path, "init")
    provenance._git(tmp_path, "add", ".")
    provenance._git(tmp_path, *author, "commit", "-m", "x")
    clean = provenance._commit(package)
    assert len(clean) == 40 and clean == provenance._git(tmp_path, "rev-parse", "HEAD")
    (package / "file").write_text("2")
    assert provenance._commit(package) == clean + "+"


def test_results_name_the_commit_of_this_package():
    root = pathlib.Path(provenance.__file__).parents[2]
    head = provenance._git(root, "rev-parse", "HEAD") if (root / ".git").exists() else ""
    assert (provenance.stamp()["commit"] or "").removesuffix("+") == head


def test_a_damaged_file_has_no_entries(tmp_path):
    for text in ("", "{}", "[1]", '[{"starts": 1}]', "null"):
        (tmp_path / provenance.FILE).write_text(text)
        assert provenance.read(tmp_path) == []
    provenance.record(tmp_path, ["pretrain"], ONE)
    assert json.loads((tmp_path / provenance.FILE).read_text())[0]["starts"] == 1
