"""Checksums, against hashlib's digest of the bytes and against every kind of damage."""

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
    checksums.write(tmp_path, exclude=("stamp",))
    return tmp_path


def test_checksums_are_sha256_of_all_files_that_are_not_excluded(folder):
    data = bytes(range(256)) * 100
    assert json.loads((folder / checksums.FILE).read_text()) == {
        "algorithm": "sha256",
        "files": {
            "deep/er/data": [len(data), hashlib.sha256(data).hexdigest()],
            "empty": [0, hashlib.sha256(b"").hexdigest()],
        },
    }
    assert checksums.exist(folder) and checksums.verify(folder) == []


def test_later_and_excluded_files_are_ignored(folder):
    (folder / "stamp").write_bytes(b"x")
    (folder / "later").write_bytes(b"x")
    assert checksums.verify(folder) == []


@pytest.mark.parametrize("bit", [0, 8 * 12_800 + 3, 8 * 25_600 - 1])
def test_one_flipped_bit_is_detected_at_any_position(folder, bit):
    path = folder / "deep" / "er" / "data"
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    assert checksums.verify(folder) == ["deep/er/data has another SHA-256 than when it was written"]


def test_each_damaged_file_is_named_with_its_damage(folder):
    path = folder / "deep" / "er" / "data"
    path.write_bytes(path.read_bytes()[:-1])
    (folder / "empty").unlink()
    assert checksums.verify(folder) == ["deep/er/data has 25599 bytes instead of 25600", "empty is missing"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": []}', '{"files": {"empty": 3}}'])
def test_a_damaged_checksum_file_is_named(folder, text):
    (folder / checksums.FILE).write_text(text)
    assert checksums.verify(folder) == ["digests.json is damaged"]


def test_a_folder_without_checksums_is_not_taken_for_an_intact_one(tmp_path):
    assert not checksums.exist(tmp_path)
    with pytest.raises(OSError):
        checksums.verify(tmp_path)
