"""Names of result files: results for other data or another encoder do not replace those of the run."""

import json

from barlow_jax.config import overrides
from barlow_jax.io import files
from barlow_jax.workdir import results
from barlow_jax.workdir.results import results_file

OWN = {"name": "images", "data_dir": "/a", "train_split": "train", "eval_split": "val"}


def _run(workdir, **data):
    config = overrides.default_config()
    config.data.update({**OWN, **data})
    files.write_json(workdir / "config.json", config.to_dict())


def _name(workdir, command="knn", encoder=None, **data):
    result = {"data": {**OWN, **data, "eval_images": 5}} | ({"encoder": encoder} if encoder else {})
    path = results_file(workdir, command, result)
    files.write_json(path, result)
    return path.stem


def test_only_the_runs_own_data_and_encoder_have_the_plain_name(tmp_path):
    _run(tmp_path)
    assert _name(tmp_path, data_dir="/b").startswith("knn@images-")  # whichever comes first
    assert _name(tmp_path) == "knn"
    others = [{"data_dir": "/b"}, {"data_dir": "/c"}, {"eval_split": "train"}, {"train_split": "val"}]
    others += [{"encoder": "/other"}, {"name": "voc/2007"}, {"labels": "/a.csv"}, {"label_column": "kind"}]
    names = [_name(tmp_path, **other) for other in others]
    assert len(set(names)) == len(names) and all(name.startswith("knn@") for name in names)
    assert names == [_name(tmp_path, **other) for other in others], "a repeat replaces its own file"
    assert _name(tmp_path, "knn-pixels") == "knn-pixels"


def test_a_relative_folder_is_that_of_the_working_directory(tmp_path, monkeypatch):
    _run(tmp_path, data_dir=str(tmp_path / "pets"))
    monkeypatch.chdir(tmp_path)
    assert _name(tmp_path, data_dir="pets") == "knn"


def test_without_a_run_the_first_result_has_the_plain_name(tmp_path):
    assert _name(tmp_path, encoder="/weights") == "knn"
    assert _name(tmp_path, encoder="/weights", data_dir="/b").startswith("knn@images-")
    assert _name(tmp_path, encoder="/weights") == "knn"


def test_transfers_to_other_folders_and_results_without_data(tmp_path):
    _run(tmp_path)
    first, other = ({"transfer": {"voc07": {"data": {**OWN, "data_dir": where}}}} for where in ("/v", "/w"))
    path = results_file(tmp_path, "transfer-voc07", first)
    assert path.name == "transfer-voc07.json"
    files.write_json(path, first)
    assert results_file(tmp_path, "transfer-voc07", json.loads(json.dumps(first))) == path
    assert results_file(tmp_path, "transfer-voc07", other).name.startswith("transfer-voc07@images-")
    assert results_file(tmp_path, "embed", {"data": "digits"}).name == "embed.json"


def test_damaged_files_are_named_next_to_the_others(tmp_path):
    (tmp_path / "results").mkdir()
    for name, text in {"knn": '{"a": 1}', "probe": '{"a": ', "list": "[1]"}.items():
        (tmp_path / "results" / f"{name}.json").write_text(text)
    read, damaged = results.read(tmp_path)
    assert read == {"knn": {"a": 1}}
    assert {path.name for path in damaged} == {"probe.json", "list.json"} and all(damaged.values())
    assert results.read(tmp_path / "missing") == ({}, {})
