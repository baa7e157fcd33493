"""Entry point: `python -m barlow_jax COMMAND ...` parses the command line, checks it and runs the command."""

import argparse
from collections.abc import Sequence
import sys
from types import ModuleType
from typing import Any

from barlow_jax import commands
from barlow_jax.cli import parsing, resolve
from barlow_jax.cli.results import publish, stdout_to_stderr, without_codec_notes
from barlow_jax.distributed import shutdown
from barlow_jax.errors import RunError, UserError, format_problems
from barlow_jax.io import log
from barlow_jax.io.paths import Path
from barlow_jax.planning import tpu
from barlow_jax.training import preemption


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; `argv` are the arguments, by default those of this process."""
    return shutdown.run_to_exit(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    try:
        with preemption.watch():
            module, args, problems = parsing.parse(commands, argv)
            return _run(module, args, problems)
    except preemption.Preempted as error:
        log.info(str(error), every_process=True)
        return preemption.EXIT_CODE
    except KeyboardInterrupt:
        log.info(
            "interrupted; run the same command again (pretrain resumes from its newest checkpoint, evaluate "
            "after its last result)",
            every_process=True,
        )
        return 130
    except UserError as error:
        log.error(str(error), every_process=True)
        return 2
    except RunError as error:
        log.error(str(error), every_process=True)
        return 1
    except (AssertionError, RuntimeError):  # jax's own, where JAX_PLATFORMS names devices that are missing
        if not (problem := tpu.missing_devices()):
            raise
        log.error(problem, every_process=True)
        return 2
    except OSError as error:  # a disk or a network failed: a traceback would not explain it
        log.error(f"{type(error).__name__}: {error}", every_process=True)
        return 1


def _run(module: ModuleType, args: argparse.Namespace, problems: list[str]) -> int:
    with stdout_to_stderr(), without_codec_notes():
        tpu.hide_libtpu()
        config, facts, more = resolve.resolve(module, args)
        if problems := [*problems, *more]:
            log.error(format_problems(problems), every_process=True)
            return 2
        workdir = args.workdir and Path(args.workdir)
        args.num_images = facts.num_images.get(config.data.train_split)
        if args.dry_run:
            from barlow_jax.experiment.dry_run import dry_run

            name, compiles = "", module.COMMAND.trains
            results = dry_run(config, args.num_images, workdir, compiles=compiles, verbose=args.verbose)
            results |= {"choices": args.choices} if args.choices else {}
        else:
            name = _results_name(module.COMMAND, args)
            results = module.run(config, workdir, args)
    publish(results, args.workdir, name)
    field, code = module.COMMAND.failure or ("", 0)
    return code if results.get(field) is False else 0


def _results_name(command: Any, args: argparse.Namespace) -> str:
    """Return the name of the results file; "" if the command only reads a run."""
    if command.checks == "runs":
        return ""
    variants = [getattr(args, name) for name in command.variants]
    return "-".join([args.command, *(v.replace(",", "+") for v in variants if v not in (None, "pretrained"))])


if __name__ == "__main__":
    sys.exit(main())
