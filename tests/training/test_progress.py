import io
import re
import sys

import pytest

from barlow_jax.training import progress as watched_lib
from barlow_jax.training.progress import watched


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Moves on by four seconds a look."""
    times = iter(range(0, 1000, 4))
    monkeypatch.setattr(watched_lib.time, "monotonic", lambda: float(next(times)))


def test_a_plain_line_comes_every_ten_seconds_and_at_the_end(clock, capsys):
    assert list(watched("abcdefg", num_images=70, batch_size=11)) == list("abcdefg")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["33/70", "66/70", "70/70"]
    assert lines[0] == "33/70 images  3 images/s  00:13 left" and lines[-1].endswith("00:00 left")


def test_on_a_terminal_a_bar_counts_images(monkeypatch):
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    list(watched("abc", num_images=25, batch_size=10))
    assert re.search(r"100%.*25/25 .*image", terminal.getvalue())


def test_only_process_0_says_anything(monkeypatch, capsys):
    monkeypatch.setattr(watched_lib.jax, "process_index", lambda: 1)
    assert list(watched("abc", num_images=3, batch_size=1)) == list("abc")
    assert capsys.readouterr().err == ""
