"""Append-only files on a full disk and in a folder that disappears, with real errors of the kernel."""

import subprocess
import sys

from barlow_jax.io import jsonl
from barlow_jax.io.jsonl import AppendOnlyFile

FULL = """
import pathlib, resource, sys
from barlow_jax.io.jsonl import AppendOnlyFile

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

file = AppendOnlyFile(pathlib.Path(sys.argv[1]))
file.append("a" * 9)
limit(15)
for letter in "bcd":
    file.append(letter * 9)
if sys.argv[2] == "again":
    limit(resource.RLIM_INFINITY)
    file.append("e" * 9)
file.close()
"""


def _append_to_full_disk(path, how):
    return subprocess.run(
        [sys.executable, "-c", FULL, str(path), how], capture_output=True, text=True, check=True
    ).stderr


def test_lines_that_did_not_fit_are_written_when_the_disk_has_space_again(tmp_path):
    logged = _append_to_full_disk(tmp_path / "lines", "again")
    assert (tmp_path / "lines").read_text() == "".join(f"{letter * 9}\n" for letter in "abcde")
    assert logged.count("warning") == 1 and "lines cannot be written (File too large)" in logged
    assert "can be written again; wrote 4 pending lines" in logged


def test_lines_that_never_fit_are_reported_as_lost(tmp_path):
    logged = _append_to_full_disk(tmp_path / "lines", "never")
    assert "warning: 3 lines of" in logged and "are lost (File too large)" in logged
    assert (tmp_path / "lines").read_text().splitlines()[0] == "a" * 9


def test_lines_for_a_missing_folder_are_written_when_it_is_back(tmp_path, capsys):
    folder, away = tmp_path / "here", tmp_path / "away"
    folder.mkdir()
    file = AppendOnlyFile(folder / "lines")
    file.append("1")
    folder.rename(away)
    file.append("2")
    file.append("3")
    away.rename(folder)
    file.close()
    assert (folder / "lines").read_text() == "1\n2\n3\n"
    assert capsys.readouterr().err.count("warning") == 1


def test_appending_continues_after_a_file_was_replaced_by_a_shorter_one(tmp_path):
    file = AppendOnlyFile(tmp_path / "lines")
    file.append("a line that is long")
    (tmp_path / "lines").write_text("new\n")
    file.append("next")
    file.close()
    assert (tmp_path / "lines").read_text() == "new\nnext\n"


def test_reading_changes_nothing_and_counts_lines_that_are_not_rows(tmp_path):
    path = tmp_path / "lines"
    assert jsonl.read(path) == ([], 0)
    path.write_bytes(b'{"step": 1}\n[2]\n\xff\xfe\n{"step": 3}\n{"st')
    before = path.read_bytes()
    assert jsonl.read(path) == ([{"step": 1}, {"step": 3}], 3)
    assert path.read_bytes() == before


def test_reopening_drops_lines_that_are_not_rows(tmp_path):
    path = tmp_path / "lines"
    path.write_text('{"step": 1}\n{"step": 1}\n\0\0}\n{"step": 2}\n{"step": 9}\n{"st')
    rows = jsonl.reopen(path, lambda row: row["step"] < 9)
    assert rows == [{"step": 1}, {"step": 1}, {"step": 2}]
    assert path.read_text() == '{"step": 1}\n{"step": 1}\n{"step": 2}\n'
