import json

import numpy as np
from pyarrow import parquet
import pytest

from barlow_jax.errors import UserError
from barlow_jax.evals import table_files
from barlow_jax.types import FeatureTable


def _table(labels):
    features = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    return FeatureTable(features, np.array(labels, np.int32), np.array([0, 1, 3, 4, 5], np.int32))


def test_multi_labels_are_a_row_per_image(tmp_path):
    labels = [[1, 0], [0, -1], [0, 0], [1, 1], [-1, -1]]
    for suffix in table_files.SUFFIXES:
        table_files.write(tmp_path / f"t{suffix}", _table(labels), list("abcde"), {"step": 3})
    with np.load(tmp_path / "t.npz", allow_pickle=False) as arrays:
        assert arrays["labels"].tolist() == labels and arrays["labels"].dtype == np.int32
        assert json.loads(str(arrays["about"])) == {"step": 3}
    assert parquet.read_table(tmp_path / "t.parquet")["labels"].to_pylist() == labels


def test_labels_are_left_out_if_there_are_none(tmp_path):
    for suffix in table_files.SUFFIXES:
        table_files.write(tmp_path / f"t{suffix}", _table([-1] * 5), list("abcde"), {})
    with np.load(tmp_path / "t.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"features", "names", "index", "about"}
    assert parquet.read_table(tmp_path / "t.parquet").column_names == ["features", "names", "index"]


def test_a_large_table_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(table_files, "_GROUP_BYTES", 24)
    table_files.write(tmp_path / "t.parquet", _table(range(5)), list("abcde"), {})
    file = parquet.ParquetFile(tmp_path / "t.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [2, 2, 1]


def test_a_write_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        table_files.write(tmp_path / "t.npz", _table(range(5)), list("abcde"), {"step": object()})
    assert not list(tmp_path.iterdir())


def test_paths_that_cannot_be_written_are_refused_with_the_remedy(tmp_path):
    for name, words in (("t.csv", "must end in .npz or .parquet"), ("t.npz", "is a folder")):
        (tmp_path / "t.npz").mkdir(exist_ok=True)
        with pytest.raises(UserError, match=words):
            table_files.check(tmp_path / name)
