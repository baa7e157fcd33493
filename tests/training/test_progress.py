import io
import re
import sys
import types

import pytest

from barlow_jax.io import log
from barlow_jax.training import progress
from barlow_jax.training.progress import show_progress


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Advance by four seconds per reading."""
    times = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(times)))


def test_a_line_is_logged_every_ten_seconds_and_at_the_end(clock, capsys):
    assert list(show_progress("abcdefg", num_images=70, batch_size=11)) == list("abcdefg")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["33/70", "66/70", "70/70"]
    assert lines[0] == "33/70 images  3 images/s  00:13 left" and lines[-1].endswith("00:00 left")


def test_on_a_terminal_a_bar_counts_images(monkeypatch):
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    list(show_progress("abc", num_images=25, batch_size=10))
    assert re.search(r"100%.*25/25 .*image", terminal.getvalue())


def test_in_a_notebook_a_bar_counts_images(monkeypatch, capsys, recwarn):
    """Without ipywidgets the bar is text; nothing is logged, and standard output stays empty."""
    kernel = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: kernel))
    list(show_progress("abc", num_images=25, batch_size=10))
    out, err = capsys.readouterr()
    assert re.search(r"100%.*25/25 .*image", err) and "images/s" not in err and not out and not recwarn.list


def test_only_process_0_shows_progress(monkeypatch, capsys):
    monkeypatch.setattr(progress.jax, "process_index", lambda: 1)
    monkeypatch.setattr(log, "_process_index", 1)
    assert list(show_progress("abc", num_images=3, batch_size=1)) == list("abc")
    assert capsys.readouterr().err == ""
