"""Lines on a disk that is full, and in a folder that goes away, by the kernel's own errors."""

import subprocess
import sys

from barlow_jax.io import jsonl
from barlow_jax.io.jsonl import Journal

FULL = """
import pathlib, resource, sys
from barlow_jax.io.jsonl import Journal

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

journal = Journal(pathlib.Path(sys.argv[1]))
journal.append("a" * 9)
limit(15)
for letter in "bcd":
    journal.append(letter * 9)
if sys.argv[2] == "again":
    limit(resource.RLIM_INFINITY)
    journal.append("e" * 9)
journal.close()
"""


def _full(path, how):
    return subprocess.run(
        [sys.executable, "-c", FULL, str(path), how], capture_output=True, text=True, check=True
    ).stderr


def test_what_did_not_fit_is_written_once_there_is_room_again_and_no_line_is_cut(tmp_path):
    said = _full(tmp_path / "lines", "again")
    assert (tmp_path / "lines").read_text() == "".join(f"{letter * 9}\n" for letter in "abcde")
    assert said.count("WARNING") == 1 and "lines cannot be written (File too large)" in said
    assert "can be written again: 4 lines that waited are in it" in said


def test_what_never_fits_is_said_to_be_lost(tmp_path):
    said = _full(tmp_path / "lines", "never")
    assert "WARNING: 3 lines of" in said and "are lost (File too large)" in said
    assert (tmp_path / "lines").read_text().splitlines()[0] == "a" * 9


def test_a_folder_that_was_away_gets_the_lines_when_it_is_back(tmp_path, capsys):
    folder, away = tmp_path / "here", tmp_path / "away"
    folder.mkdir()
    journal = Journal(folder / "lines")
    journal.append("1")
    folder.rename(away)
    journal.append("2")
    journal.append("3")
    away.rename(folder)
    journal.close()
    assert (folder / "lines").read_text() == "1\n2\n3\n"
    assert capsys.readouterr().err.count("WARNING") == 1


def test_a_file_that_was_replaced_by_a_shorter_one_is_appended_to(tmp_path):
    journal = Journal(tmp_path / "lines")
    journal.append("a line that is long")
    (tmp_path / "lines").write_text("new\n")
    journal.append("next")
    journal.close()
    assert (tmp_path / "lines").read_text() == "new\nnext\n"


def test_reading_leaves_the_file_as_it_is_and_counts_what_is_no_row(tmp_path):
    path = tmp_path / "lines"
    assert jsonl.read(path) == ([], 0)
    path.write_bytes(b'{"step": 1}\n[2]\n\xff\xfe\n{"step": 3}\n{"st')
    before = path.read_bytes()
    assert jsonl.read(path) == ([{"step": 1}, {"step": 3}], 3)
    assert path.read_bytes() == before


def test_reopening_drops_lines_that_are_no_rows(tmp_path):
    path = tmp_path / "lines"
    path.write_text('{"step": 1}\n{"step": 1}\n\0\0}\n{"step": 2}\n{"step": 9}\n{"st')
    rows = jsonl.reopened(path, lambda row: row["step"] < 9)
    assert rows == [{"step": 1}, {"step": 1}, {"step": 2}]
    assert path.read_text() == '{"step": 1}\n{"step": 1}\n{"step": 2}\n'
