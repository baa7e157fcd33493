"""Digests of files: against hashlib's own digest of the bytes, and against every kind of damage."""

import hashlib
import json

import pytest

from barlow_jax.io import checksums


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "data").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "stamp").write_bytes(b"rewritten later")
    checksums.write(tmp_path, but=("stamp",))
    return tmp_path


def test_the_digests_are_those_of_sha256_and_of_all_files_but_those_named(folder):
    data = bytes(range(256)) * 100
    assert json.loads((folder / checksums.FILE).read_text()) == {
        "algorithm": "sha256",
        "files": {
            "deep/er/data": [len(data), hashlib.sha256(data).hexdigest()],
            "empty": [0, hashlib.sha256(b"").hexdigest()],
        },
    }
    assert checksums.exist(folder) and checksums.problems(folder) == []


def test_files_that_came_later_or_were_left_out_are_not_looked_at(folder):
    (folder / "stamp").write_bytes(b"x")
    (folder / "later").write_bytes(b"x")
    assert checksums.problems(folder) == []


@pytest.mark.parametrize("bit", [0, 8 * 12_800 + 3, 8 * 25_600 - 1])
def test_one_flipped_bit_is_noticed_wherever_it_is(folder, bit):
    path = folder / "deep" / "er" / "data"
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    assert checksums.problems(folder) == ["deep/er/data has other bits than were written"]


def test_each_damaged_file_is_named_with_what_is_wrong(folder):
    path = folder / "deep" / "er" / "data"
    path.write_bytes(path.read_bytes()[:-1])
    (folder / "empty").unlink()
    assert checksums.problems(folder) == ["deep/er/data has 25599 bytes of 25600", "empty is missing"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": []}', '{"files": {"empty": 3}}'])
def test_digests_that_are_damaged_themselves_are_named(folder, text):
    (folder / checksums.FILE).write_text(text)
    assert checksums.problems(folder) == ["digests.json is not what was written"]


def test_a_folder_without_digests_is_told_from_a_good_one(tmp_path):
    assert not checksums.exist(tmp_path)
    with pytest.raises(OSError):
        checksums.problems(tmp_path)
