"""From a command line to a config that can run, or to every reason why it cannot."""

import argparse
from collections.abc import Sequence
import pathlib
import sys
from typing import Any

from barlow_jax.cli.registry import PROGRAMS
from barlow_jax.config import overrides
from barlow_jax.config.schema import Config
from barlow_jax.config.validation import Facts, validate
from barlow_jax.data import catalog
from barlow_jax.distributed import cluster, process_flags
from barlow_jax.errors import UserError
from barlow_jax.interop import FORMATS
from barlow_jax.planning.tpu import Topology
from barlow_jax.workdir import saved_run


def split_overrides(tokens: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """`--config.x=y` and `--config.x y` as pairs; anything else is a problem."""
    pairs, problems, rest = [], [], list(tokens)
    while rest:
        token = rest.pop(0)
        if not token.startswith("--config."):
            problems.append(f"{token}: unknown argument; see --help")
            continue
        key, equals, value = token.removeprefix("--config.").partition("=")
        if equals:
            pairs.append((key, value))
        elif rest and not rest[0].startswith("--"):
            pairs.append((key, rest.pop(0)))
        else:
            problems.append(f"{token}: needs a value, as in {token}=...")
    return pairs, problems


def resolve(args: argparse.Namespace, changes: list[tuple[str, str]]) -> tuple[Config, Facts, list[str]]:
    """Config file or workdir, overrides, types, then what the data set and the devices say."""
    program = PROGRAMS[args.program]
    if program.checks == "files":  # at once
        return Config(), Facts(), _not_runs(args, changes)
    tree, unread = _load(args)
    problems = [*unread, *overrides.apply_overrides(tree, changes)]
    config, more = overrides.from_tree(tree)
    problems += more + _workdir_problems(args.workdir, needed=_needs_workdir(args))
    problems += _OWN[args.program](args) if args.program in _OWN else []
    place, more = (None, []) if program.alone else process_flags.parse(args)
    problems += more
    # Of a config that was not read these are the defaults, and whether they fit this machine is nobody's question.
    if unread or program.checks == "types":
        return config, Facts(), problems
    facts = Facts()
    if program.checks == "data":
        if args.program == "pretrain" and args.workdir:
            problems += saved_run.differences(args.workdir, config) + saved_run.resume_problems(
                args.workdir, args.resume
            )
        num_images, more = _count_images(args, config)
        problems += more
        devices, more = _devices(args, config, place, num_images, ready=not problems)
        problems += more
        facts = Facts(devices, num_images)
    problems += validate(config, facts)
    if args.program in ("pretrain", "import") and not problems:
        problems += _method_problems(config)
    return config, facts, problems


def _devices(
    args: argparse.Namespace, config: Config, place: Any, num_images: dict[str, int], *, ready: bool
) -> tuple[int | None, list[str]]:
    """How many there are, of all processes, which find each other first where all else is `ready`."""
    if PROGRAMS[args.program].alone:
        return _devices_on_paper(args)
    # Joining is slow, and waits until the rest is right.
    joins = ready and not args.dry_run and not validate(config, Facts(None, num_images))
    if joins:
        cluster.join(config.distributed, place)
    return _count_devices(joined=joins or args.dry_run), []


def format_problems(problems: Sequence[str]) -> str:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n".join([f"error: {count}", *(f"  {problem}" for problem in dict.fromkeys(problems))])


def dry_run(config: Config, facts: Facts) -> dict[str, Any]:
    """Prints the resolved config, the parameter table and the plan of the run; returns them."""
    from clu import parameter_overview

    from barlow_jax.commands import pretrain

    resolved = overrides.to_config_dict(config).to_dict()
    described = pretrain.describe(config, facts.num_images.get(config.data.train_split))
    for key, value in overrides.flatten(resolved).items():
        print(f"config.{key} = {value}", file=sys.stderr)
    table = parameter_overview.get_parameter_overview(described["params"], include_stats=False)
    print(table, file=sys.stderr)
    print("\n".join(f"{key}: {value}" for key, value in described["plan"].items()), file=sys.stderr)
    return {"config": resolved, "plan": described["plan"]}


def _load(args: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """The nested dict that the run starts from: of --config, else of the workdir, else of the encoder."""
    if not (args.encoder or args.weights):
        return _load_base(args)
    from barlow_jax.experiment import encoders

    describe = encoders.describe if args.encoder else encoders.describe_weights
    try:
        brought = describe(args.encoder or args.weights)
    except UserError as error:
        return overrides.default_config().to_dict(), [str(error)]
    unread = []
    if "data" in brought:  # a run, not a file
        brought, unread = saved_run.with_defaults(brought)
        if not args.config and (not args.workdir or saved_run.saved_config(args.workdir) is None):
            return brought, unread
    tree, problems = _load_base(args)
    problems = [*unread, *problems]
    tree["network"] |= brought["network"]
    if "recipe" in brought and not problems:  # images are normalised as they were in pretraining
        for view in tree["recipe"]["views"].values():
            view["normalize"] = brought["recipe"]["views"]["a"]["normalize"]
    return tree, problems


def _load_base(args: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    if args.config:
        config_dict, problems = overrides.load_config_file(args.config)
        return config_dict.to_dict(), problems
    # Of a file, the defaults say how images are made: as for ImageNet.
    file_alone = args.program in ("export", "embed") and args.encoder and not args.workdir
    if file_alone or (args.program == "bench" and args.what != "input"):
        return overrides.default_config().to_dict(), []
    if args.workdir:
        saved = saved_run.saved_config(args.workdir)
        if saved is not None:
            return saved_run.with_defaults(saved)
        problem = (
            f"--workdir: {args.workdir} holds no run (there is no config.json); pass --config to start one"
        )
    else:
        problem = "--config: is missing; pass a config file, such as configs/digits.py"
    return overrides.default_config().to_dict(), [problem]


def _method_problems(config: Config) -> list[str]:
    """What the method itself says of its settings."""
    from barlow_jax import objectives
    from barlow_jax.experiment.experiment import run_info

    try:
        objectives.make(config.objective, run_info(config))
        return []
    except UserError as error:
        return [str(error)]


def _not_runs(args: argparse.Namespace, changes: list[tuple[str, str]]) -> list[str]:
    """What is wrong with the command line of a program that reads runs."""
    problems = []
    if args.program == "status":
        problems = [f"--config.{key}: status reads no config" for key, _ in changes]
    elif args.config:
        problems = ["--config: report takes the config of each run; leave it out"]
    for workdir in getattr(args, "workdirs", [args.workdir]):
        wrong = _workdir_problems(workdir, needed=True)
        if not wrong and not saved_run.is_run(workdir):
            wrong = [f"--workdir: {workdir} holds no run (there is neither {' nor '.join(saved_run.FILES)})"]
        problems += wrong
    return problems


def _export_problems(args: argparse.Namespace) -> list[str]:
    out = args.out and pathlib.Path(args.out)
    problems = []
    if not args.format:
        problems.append(f"--format: is missing; one of {', '.join(FORMATS)}")
    if not out:
        problems.append("--out: is missing; say which folder to write")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "is not empty" if out.is_dir() else "is not a folder"
        problems.append(f"--out: {out} {what}; pass a new or an empty one")
    if args.checkpoint not in ("newest", "best") and not args.checkpoint.isdecimal():
        problems.append(f"--checkpoint: must be newest, best or a step, got {args.checkpoint!r}")
    return problems


def _import_problems(args: argparse.Namespace) -> list[str]:
    return [] if args.weights else ["--weights: is missing; say what to import"]


# Of a command line alone.
_OWN = {"export": _export_problems, "import": _import_problems}


def _needs_workdir(args: argparse.Namespace) -> bool:
    if args.program == "embed" and args.encoder:  # what it writes is at --out
        return False
    return PROGRAMS[args.program].workdir and not args.dry_run


def _count_images(args: argparse.Namespace, config: Config) -> tuple[dict[str, int], list[str]]:
    """Of the splits that must be there; embed reads one, which may be of any size, or another folder."""
    data = config.data
    if args.program != "embed":
        return catalog.count_images(data, tuple(dict.fromkeys((data.train_split, data.eval_split))))
    return {}, [] if args.images else catalog.count_images(data, (args.split or data.eval_split,))[1]


def _workdir_problems(workdir: str | None, *, needed: bool) -> list[str]:
    if not workdir:
        return ["--workdir: is missing; say where checkpoints and results go"] if needed else []
    if "://" in workdir:
        return [f"--workdir: {workdir} is not a path; mount the bucket (gcsfuse) and pass the mounted folder"]
    if pathlib.Path(workdir).exists() and not pathlib.Path(workdir).is_dir():
        return [f"--workdir: {workdir} is not a folder"]
    return []


def _devices_on_paper(args: argparse.Namespace) -> tuple[int | None, list[str]]:
    """Devices of the --topology; None where the program checks each of its cases itself."""
    if args.program != "plan" or args.sweep or (args.topology and args.images_per_chip):
        return None, []
    if not args.topology:
        return None, ["--topology: is missing; say what to compile for, such as v5e:8x8"]
    return Topology.parse(args.topology).num_chips, []


def _count_devices(*, joined: bool) -> int | None:
    """Devices of all processes; None where that would mean to wait for them without having joined them."""
    import jax

    waits = not joined and "tpu" in (jax.config.jax_platforms or "")  # libtpu, for the hosts of its slice
    return None if waits else jax.device_count()
