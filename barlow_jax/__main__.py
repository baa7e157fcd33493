"""`python -m barlow_jax <program> ...`: parse, resolve, dispatch."""

import argparse
from collections.abc import Iterator, Sequence
import contextlib
import importlib
import json
import os
import pathlib
import sys
from typing import Any

from barlow_jax.cli import flags, resolve
from barlow_jax.cli.registry import PROGRAMS
from barlow_jax.distributed import shutdown
from barlow_jax.errors import RunError, UserError
from barlow_jax.io import files
from barlow_jax.planning import tpu
from barlow_jax.training import preemption
from barlow_jax.version import __version__

EPILOG = """\
--config.KEY=VALUE overrides any key of the config, --dry-run prints them all with their values.
The last line on standard output is one JSON object with the results, which also lands in
WORKDIR/results/PROGRAM.json; everything else goes to standard error.
Exit codes: 0 done, 1 failed (verify: a checkpoint is not good), 2 the config or the command line is wrong,
3 the plan does not fit, 130 interrupted, 134 another process of the run died, or the processes did not find each
other: run all of them again; 143 told to stop (SIGTERM): pretrain has saved its step, run the same command again.
"""


def main(argv: Sequence[str] | None = None) -> int:
    return shutdown.run_to_exit(lambda: _watched(argv))


def _watched(argv: Sequence[str] | None) -> int:
    try:
        with preemption.watched():
            return _main(argv)
    except preemption.Preempted as told:
        print(told, file=sys.stderr)
        return preemption.EXIT_CODE


def _main(argv: Sequence[str] | None) -> int:
    args, overrides, problems = parse(argv)
    try:
        with everything_to_stderr():
            tpu.hide_libtpu()
            args.overrides = overrides  # compare has several configs to change
            config, facts, more = resolve.resolve(args, overrides)
            problems += more
            if problems:
                print(resolve.format_problems(problems), file=sys.stderr)
                return 2
            if args.dry_run:
                name, results = "", resolve.dry_run(config, facts)
            else:
                program = PROGRAMS[args.program]
                kind = getattr(args, program.results)
                name = args.program + ("" if kind == "pretrained" else f"-{kind}")
                if program.checks == "files":  # leaves no results behind
                    name = ""
                module = importlib.import_module(f"barlow_jax.commands.{program.module or args.program}")
                results = module.run(config, args.workdir and pathlib.Path(args.workdir), args)
        finish(results, args.workdir, name)
        if results.get("fits") is False:
            return 3
        if results.get("good") is False:
            return 1
    except KeyboardInterrupt:
        print(
            "interrupted; run the same command again (pretrain goes on from its newest checkpoint)",
            file=sys.stderr,
        )
        return 130
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a disk, a network: no traceback of ours explains it
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[tuple[str, str]], list[str]]:
    """The flags, the `--config.x=y` pairs, and what was wrong with them."""
    parser = argparse.ArgumentParser(
        prog="python -m barlow_jax",
        description="Self-supervised image encoders by redundancy reduction, in JAX.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    programs = parser.add_subparsers(dest="program", required=True, metavar="PROGRAM")
    for name, program in PROGRAMS.items():
        sub = programs.add_parser(
            name,
            help=program.summary,
            description=program.summary,
            epilog=EPILOG,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        flags.add(sub, name)
    args, rest = parser.parse_known_args(argv)
    return args, *resolve.split_overrides(rest)


@contextlib.contextmanager
def everything_to_stderr() -> Iterator[None]:
    """Whatever a library prints, from Python or from C++, standard output is left to the results."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def finish(results: dict[str, Any], workdir: str | None, name: str) -> None:
    """Writes the results of process 0 where they belong, then prints them."""
    jax = sys.modules.get("jax")  # status does without
    if jax is None or jax.process_index() == 0:
        if name and workdir:
            files.write_json(pathlib.Path(workdir) / "results" / f"{name}.json", results)
        print(json.dumps(results), flush=True)


if __name__ == "__main__":
    sys.exit(main())
