"""Codecs' notes are dropped from standard error, and nothing else, not even the last words of a crash."""

import re
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from barlow_jax.cli.results import without_codec_notes
with without_codec_notes():
    os.write(2, b"Corrupt JPEG data: 19 extraneous bytes before marker 0xd9\\nkept \\xff 1\\n")
    sys.stderr.write("kept 2\\r")
    os.write(2, b"kept 3\\n")
    {end}
os.write(2, b"kept 4\\n")
"""


@pytest.mark.parametrize(("end", "code", "kept"), [("pass", 0, b"1234"), ("os.abort()", -6, b"123")])
def test_notes_of_codecs_are_dropped(end, code, kept):
    result = subprocess.run([sys.executable, "-c", PROGRAM.format(end=end)], capture_output=True, check=False)
    assert result.returncode == code
    assert b"JPEG" not in result.stderr
    for digit in kept:
        assert re.search(rb"kept (\xff )?%c" % digit, result.stderr)
