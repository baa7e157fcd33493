"""The documentation is true about the code: commands, flags, config keys, files, links and imports."""

import argparse
import ast
import contextlib
import functools
import importlib
import importlib.util
import io
import pathlib
import re
import shlex

import pytest

from barlow_jax import commands
from barlow_jax.cli import parsing
from barlow_jax.config import overrides, reference
from barlow_jax.config.schema import Config
from barlow_jax.config.validation import Facts, validate

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "configs/README.md", "tests/README.md")),
        ROOT / "launch" / "README.md",
        *(ROOT / "docs").glob("*.md"),
    ]
)
# The example of docs/methods.md, which the reader writes.
TO_WRITE = {"configs/uniformity.py"}
# Lines that run a command of this package; `babysit`, `run` and `apply` of the launch scripts pass it on.
_COMMAND = re.compile(
    r"(?:python -m barlow_jax|launch/tpu\.sh(?: --dry-run)? (?:babysit|run)|launch/gke/gke\.sh apply) +(.*)"
)
_KEY_GROUPS = "|".join(sorted({key.partition(".")[0] for key in reference.keys_of(Config())}))

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@functools.cache
def _text(page):
    return page.read_text("utf-8")


def _code_blocks(page, language=""):
    """Return the fenced code blocks with this language."""
    blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```", _text(page), re.DOTALL | re.MULTILINE)
    return [text for name, text in blocks if name == language]


def _code(page):
    """Return the lines of the code blocks, with continued lines joined, and the inline code."""
    lines = [line for text in _code_blocks(page) for line in text.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^ *```.*?^ *```", "", _text(page), flags=re.DOTALL | re.MULTILINE)
    return lines, re.findall(r"`([^`\n]+)`", prose)


def _command_lines(page):
    """Return the arguments of every command line, as lists of words."""
    lines, inline = _code(page)
    found = [match[1] for text in [*lines, *inline] if (match := _COMMAND.search(text))]
    # "..." and a pipe end what is written out; "COMMAND" stands for any command.
    words = [shlex.split(re.split(r" \.\.\.| \| | && ", text)[0], comments=True) for text in found]
    return [line for line in words if line and line[0] != "COMMAND"]


def _problems(words):
    """Return what is wrong with a command line, as the program reports it, without running it."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            _, args, problems = parsing.parse(commands, words)
    except SystemExit as end:
        return [] if end.code == 0 else [errors.getvalue()]
    config, unread = _config(args)
    tree = config.to_dict()
    problems = [*problems, *unread, *overrides.apply_overrides(tree, args.overrides)]
    return problems or validate(overrides.from_tree(tree)[0], Facts())


def _config(args: argparse.Namespace):
    if not args.config or any(args.config.startswith(name) for name in TO_WRITE):
        return overrides.default_config(), []
    return overrides.load_config_file(args.config)


def test_the_readme_is_short_and_its_first_python_comes_early():
    lines = README.splitlines()
    assert len(lines) <= 200
    assert lines.index("```python") < 60


def test_every_command_is_in_the_readme_with_its_purpose():
    table = README.split("| command | purpose |\n|---|---|\n")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.+) \|$", table, re.MULTILINE))
    purposes = {
        name: summary[:1].lower() + summary[1:].removesuffix(".")
        for name, summary in parsing.summaries(commands).items()
    }
    assert rows == purposes


@by_page
def test_every_command_line_parses_and_its_config_keys_exist(page):
    assert not {" ".join(words): wrong for words in _command_lines(page) if (wrong := _problems(words))}


def test_command_lines_are_found():
    assert sum(len(_command_lines(page)) for page in PAGES) > 40
    assert ["probe", "--workdir", "runs/mine"] in _command_lines(ROOT / "README.md")
    assert any(words[0] == "pretrain" for words in _command_lines(ROOT / "launch" / "README.md"))


def test_a_wrong_command_line_is_noticed():
    assert _problems(["pretrian"])
    assert _problems(["pretrain", "--dry_run"])
    assert _problems(["pretrain", "--resume", "perhaps"])
    assert _problems(["pretrain", "--config", "configs/missing.py"])
    assert _problems(["pretrain", "--config.optim.lr=1"])
    assert _problems(["pretrain", "--config.train.batch_size=many"])
    assert _problems(["pretrain", "--config.data.cache=decoded"])  # which needs augment_on=device


@by_page
def test_every_config_key_in_the_text_exists(page):
    if page.name == "config.md":  # generated, with <name> in place of a view's name
        return
    known = reference.keys_of(Config())
    groups = {key.rpartition(".")[0] for key in known}
    for code in _code(page)[1]:
        pattern = rf"(?:--)?(?:config\.)?((?:{_KEY_GROUPS})(?:\.[a-z0-9_]+)+)(?:=(\S+))?"
        if not (match := re.fullmatch(pattern, code)) or code.endswith((".py", ".json", ".npz", ".sh")):
            continue
        key, value = match.groups()
        assert key in known or key in groups, code
        if value and value not in ("M", "..."):
            assert not overrides.apply_overrides(overrides.default_config().to_dict(), [(key, value)]), code


@by_page
def test_every_file_that_is_named_exists(page):
    pattern = r"(?<![\w./])(?:barlow_jax|configs|docs|launch|tests)/[\w./-]*\w\.(?:py|sh|md|yaml|yml)(?![\w])"
    named = {name.removesuffix(".") for name in re.findall(pattern, _text(page))} - TO_WRITE
    assert not {name for name in named if not (ROOT / name).is_file()}


@by_page
def test_relative_links_exist(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", _text(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", _text(path), re.MULTILINE)
            assert anchor in [_anchor(heading) for heading in headings], target


def _anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@by_page
def test_imports_in_python_examples_exist(page):
    for text in _code_blocks(page, "python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    assert hasattr(module, alias.name) or importlib.util.find_spec(name), name


@by_page
def test_the_rows_of_a_table_have_the_same_number_of_cells(page):
    for table in re.findall(r"(?:^ *\|.*\n)+", _text(page), re.MULTILINE):
        cells = {len(re.split(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", row))) for row in table.splitlines()}
        assert len(cells) == 1, table


def test_every_page_is_linked_from_the_readme():
    linked = {(ROOT / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)\)", README)}
    assert not {page for page in PAGES if page != ROOT / "README.md"} - linked


def test_every_config_is_in_the_table_of_configs():
    text = _text(ROOT / "configs" / "README.md")
    named = set(re.findall(r"^\| `(\w+\.py)` \|", text, re.MULTILINE))
    assert named == {path.name for path in (ROOT / "configs").glob("*.py")}


def test_the_top_of_the_tree_holds_only_these_folders():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    ignored = {"runs", "build", "barlow_jax.egg-info", "__pycache__"}
    assert folders - ignored == {"barlow_jax", "configs", "docs", "launch", "tests"}
