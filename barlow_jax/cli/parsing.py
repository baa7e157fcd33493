"""Parsing of the command line, with a suggestion for every name that does not exist."""

import argparse
from collections.abc import Sequence
import difflib
import importlib
import pathlib
import sys
from types import ModuleType

from barlow_jax.cli import flags
from barlow_jax.cli.results import stdout_to_stderr
from barlow_jax.config import reference
from barlow_jax.version import __version__

_PROG = "python -m barlow_jax"
_NOTES = """\
notes:
  --config.KEY=VALUE overrides one key of the config. The command `config` describes all keys;
  `pretrain --dry-run --verbose` prints their values.
  The last line on standard output is one JSON object with the results, which are also written to
  WORKDIR/results/COMMAND.json. Everything else is printed to standard error.

exit codes:
  0    success
  1    failure (verify: a checkpoint is damaged or cannot be verified)
  2    the command line or the config is wrong
  3    plan: the program does not fit into the memory of the chips
  4    adapt: no encoder was better than the original, which is the result
  130  interrupted (Ctrl-C)
  134  another process of the run died or was not found: run the command again on all hosts
  143  stopped by SIGTERM: pretrain or adapt has saved a checkpoint; run the same command again to resume
"""


def parse(
    package: ModuleType, argv: Sequence[str] | None = None
) -> tuple[ModuleType, argparse.Namespace, list[str]]:
    """Parse a command line, by default that of this process, for the package of the commands.

    Returns:
      The module of the command, its arguments, and what is wrong with them, one sentence per problem.
      `args.overrides` holds the pairs of key and value of `--config.KEY=VALUE`.

    Raises:
      SystemExit: after --help or --version (0); for a missing or unknown command or a wrong value (2).
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    known_commands = summaries(package)
    name = next((token for token in argv if not token.startswith("-")), None)
    parser = argparse.ArgumentParser(
        prog=_PROG,
        description="Self-supervised image encoders by redundancy reduction, in JAX.",
        epilog=f"{_PROG} COMMAND --help describes a command.\n\n{_NOTES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, title="commands", metavar="COMMAND")
    module, chosen = None, None
    for known, summary in known_commands.items():
        if known == name:
            with stdout_to_stderr():
                module = load(package, name)
            chosen = _add_command(commands, name, summary, module)
        else:
            commands.add_parser(known, help=_uncapitalized(summary))
    if not argv:
        parser.print_help(sys.stderr)
        parser.exit(2)
    if name is not None and module is None:
        parser.error(f"there is no command {name!r}.{_suggest(name, known_commands)}")
    args, rest = parser.parse_known_args(argv)
    if args.workdirs is None:
        args.workdirs = [args.workdir] if getattr(args, "workdir", None) else []
    args.workdir = args.workdirs[0] if args.workdirs else None
    known_flags = [*chosen._option_string_actions, "--config"]
    args.overrides, problems = split_overrides(rest, known_flags)
    return module, args, problems


def split_overrides(
    tokens: Sequence[str], flags: Sequence[str] = ()
) -> tuple[list[tuple[str, str]], list[str]]:
    """Split `--config.KEY=VALUE` and `--config.KEY VALUE` into pairs.

    Also return a sentence for each other token, which suggests one of the command's `flags`.
    """
    pairs, problems, rest = [], [], list(tokens)
    while rest:
        token = rest.pop(0)
        if not token.startswith("--config."):
            head, dot, key = token.partition("=")[0].partition(".")
            hint = _suggest(head, flags, suffix=dot + key) if token.startswith("-") else ""
            problems.append(f"{token} is no argument of this command.{hint or ' See --help.'}")
            continue
        key, equals, value = token.removeprefix("--config.").partition("=")
        if equals:
            pairs.append((key, value))
        elif rest and not rest[0].startswith("--"):
            pairs.append((key, rest.pop(0)))
        else:
            problems.append(f"{token} needs a value: {token}=VALUE")
    return pairs, problems


def _add_command(
    commands: argparse._SubParsersAction, name: str, summary: str, module: ModuleType
) -> argparse.ArgumentParser:
    examples = [f"  {_PROG} {example}" for example in module.COMMAND.examples]
    keys = [line for group in module.COMMAND.config_groups for line in reference.format_group(group)]
    if keys:
        keys = ["config keys (--config.KEY=VALUE), with defaults and allowed values:", *keys, ""]
    parser = commands.add_parser(
        name,
        help=_uncapitalized(summary),
        description=summary,
        epilog="\n".join(["examples:", *examples, "", *keys, _NOTES]),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(workdirs=None)
    parser.add_argument(
        "--import",
        action="append",
        default=[],
        dest="imports",
        metavar="MODULE",
        help="module or .py file to import first, which registers parts of your own (docs/extending.md)",
    )
    flags.add_shared(parser, module.COMMAND)
    if hasattr(module, "add_flags"):
        module.add_flags(parser)
    return parser


def _uncapitalized(summary: str) -> str:
    return summary[:1].lower() + summary[1:].removesuffix(".")


def _suggest(name: str, names: Sequence[str], suffix: str = "") -> str:
    near = difflib.get_close_matches(name, names, 1)
    return f" Did you mean {near[0]}{suffix}?" if near else ""


def summaries(package: ModuleType) -> dict[str, str]:
    """Return the summary of every command by its name, without importing the commands.

    A file's name is the command's, with dashes: `show_views.py` is `show-views`, `import_.py` is `import`.
    """
    # Not `ast.parse`: in Python 3.11 it fails at random while another thread parses.
    first_lines = {name: path.read_text("utf-8").partition("\n")[0] for name, path in _files(package).items()}
    return {name: line.strip('"') for name, line in first_lines.items()}


def load(package: ModuleType, name: str) -> ModuleType:
    """Import the module of a command."""
    return importlib.import_module(f"{package.__name__}.{_files(package)[name].stem}")


def _files(package: ModuleType) -> dict[str, pathlib.Path]:
    (folder,) = package.__path__
    files = (path for path in sorted(pathlib.Path(folder).glob("*.py")) if path.stem != "__init__")
    return {path.stem.rstrip("_").replace("_", "-"): path for path in files}
