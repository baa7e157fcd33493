"""The README names what is there."""

import pathlib
import re

from barlow_jax import commands
from barlow_jax.cli import registry

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_every_program_is_in_the_table():
    table = README.split("| program | does |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == set(registry.summaries(commands))


def test_every_file_that_is_named_is_there():
    to_write = set(re.findall(r"as `(configs/\w+\.py)`:", README))  # a method of one's own
    named = set(re.findall(r"(?:configs|launch)/\w+\.(?:py|sh)", README)) - to_write
    assert named and all((ROOT / name).is_file() for name in named)


def test_the_top_of_the_tree_holds_the_four_folders_alone():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    ignored = {"runs", "build", "barlow_jax.egg-info", "__pycache__"}
    assert folders - ignored == {"barlow_jax", "configs", "launch", "tests"}
