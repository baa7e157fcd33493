"""Resolution of a command line: a config that can run, or every reason why it cannot."""

import argparse
from types import ModuleType
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config import overrides, parts, records, shipped
from barlow_jax.config.schema import Config
from barlow_jax.config.validation import Facts, validate
from barlow_jax.data import catalog
from barlow_jax.distributed import cluster, exchange
from barlow_jax.errors import UserError
from barlow_jax.experiment import preflight
from barlow_jax.io import log, paths
from barlow_jax.workdir import saved_run

_IMAGES_CONFIG = shipped.FOLDER / "images.py"


def resolve(module: ModuleType, args: argparse.Namespace) -> tuple[Config, Facts, list[str]]:
    """Load the config, apply the overrides, and check all that the command asks for.

    Processes of a run find each other here, once everything else is right: that is slow.

    Returns:
      The config, facts about the machine and the data set, and the problems, one sentence each.
    """
    for source in args.imports:
        parts.import_source(source)
    command: Command = module.COMMAND
    check = getattr(module, "check", lambda args, config: [])
    if command.checks == "runs":
        return Config(), Facts(), [*_missing_runs(args, command), *check(args, None)]
    required = command.workdir == "required" and not args.dry_run
    wrong = preflight.workdir_problems(args.workdir, required=required)
    if wrong and args.workdir and paths.is_url(args.workdir):  # its config cannot be read
        return Config(), Facts(), wrong
    tree, unread = _load(args, command)
    problems = [*unread, *overrides.apply_overrides(tree, args.overrides)]
    config, more = preflight.build(tree, args.workdir)
    problems += [*more, *wrong, *check(args, None if unread else config), *_contradictions(args)]
    address, more = (None, []) if command.single_process else cluster.parse_flags(args)
    problems += more
    # If the config was not read, `config` holds the defaults, and their problems are not the user's.
    if unread or command.checks == "types":
        return config, Facts(), problems
    facts, joined = Facts(), False
    if command.checks == "data":
        chooses = args.own_images and not (args.workdir and saved_run.saved_config(args.workdir))
        # Settings of the user may fit the choices, not the config file.
        problems_now = problems or (not chooses and validate(config, facts))
        valid = not (command.single_process or problems_now)
        if command.splits and valid:
            # The first line on the screen: jax, TensorFlow and large folders take seconds.
            known = f"{catalog.describe(config.data)}; {config.network.encoder}"
            log.info(f"{args.command}: {args.own_images if chooses else known}")
        # Problems with this host's data do not keep it from joining: the other processes must learn of them.
        joined = valid and not args.dry_run
        if joined:
            cluster.join(config.distributed, address)
        if not problems and chooses:
            config, problems = _choose(args, config, command)
        elif not problems:
            config, problems = preflight.sample_images(config, command.splits)
        known_splits = () if chooses and problems else command.splits
        splits = tuple(dict.fromkeys(getattr(config.data, key) for key in known_splits))
        num_images, more = catalog.count_images(config.data, splits) if splits else ({}, [])
        problems = list(dict.fromkeys([*problems, *more]))
        num_devices = None if command.single_process else _count_devices(joined=joined or args.dry_run)
        facts = Facts(num_devices, num_images, trains=not command.encoder)
    problems += validate(config, facts)
    if command.trains and not problems:
        problems += preflight.training_problems(config)
    if joined:
        problems = exchange.all_problems(problems)
    return config, facts, problems


def _contradictions(args: argparse.Namespace) -> list[str]:
    given = [name for name in ("labels", "hours") if getattr(args, name) and not args.own_images]
    problems = [f"--{name} needs --images. Use both, or neither." for name in given]
    if args.encoder and args.feature_source == "pixels":
        problems.append("--encoder has no effect with --pixels. Pass one of them.")
    return problems


def _load(args: argparse.Namespace, command: Command) -> tuple[dict[str, Any], list[str]]:
    """Load the config as a nested dict: from --config, else from the workdir, else from the encoder."""
    if not (args.encoder or args.weights or args.start):
        return _load_base(args, command)
    from barlow_jax.experiment import encoders

    try:
        if args.weights:
            source = encoders.describe_weights(args.weights)
        else:
            flag = "--encoder" if args.encoder else "--weights"
            source = encoders.describe(args.encoder or args.start, flag)
    except UserError as error:
        return overrides.default_config().to_dict(), [str(error)]
    problems, saved = [], args.workdir and saved_run.saved_config(args.workdir)
    if "data" in source:  # a run; a file of weights has `network` only
        source, problems = saved_run.with_defaults(source)
        if not (args.config or args.start or saved):
            return source, problems
    tree, more = _load_base(args, command)
    if problems := [*problems, *more]:
        return tree, problems
    if args.start:
        args.start_settings = encoders.start_settings(args.start, source)
        if args.config or not saved:
            tree["train"]["average_decay"] = tree["train"]["average_decay"] or encoders.AVERAGE_DECAY
    return tree, encoders.adopt(tree, source, args.start)


def _load_base(args: argparse.Namespace, command: Command) -> tuple[dict[str, Any], list[str]]:
    if args.own_images:
        return _load_images(args)
    if args.config:
        config_dict, problems = overrides.load_config_file(args.config)
        return config_dict.to_dict(), problems
    if command.default_config(args):
        return overrides.default_config().to_dict(), []
    if args.workdir:
        saved = saved_run.saved_config(args.workdir)
        if saved is not None:
            return saved_run.with_defaults(saved)
        problem = (
            f"--workdir {args.workdir} holds no run (config.json is missing). Pass --config to start one."
        )
    else:
        problem = "--config is missing. Pass a shipped config, such as digits, or a file."
    return overrides.default_config().to_dict(), [problem]


def _load_images(args: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Load the config of a run on the images at --images: its saved one, --config, or `images`."""
    path, saved = args.own_images, args.workdir and saved_run.saved_config(args.workdir)
    if ".py:" in path or not parts.is_own("source", path):
        path = paths.absolute(path)
    if saved and not args.config:
        tree, problems = saved_run.with_defaults(saved)
    else:
        config_dict, problems = overrides.load_config_file(args.config or str(_IMAGES_CONFIG))
        tree = config_dict.to_dict()
    name, data_dir = tree["data"]["name"], tree["data"]["data_dir"]
    if not problems and name != "images":
        source = args.config or args.workdir
        problems.append(f"--images: {source} reads {name}. Use --config images, or leave out --images.")
    elif saved and not args.config and data_dir != path:
        problems.append(
            f"--images is {path}, but {args.workdir} holds a run on {data_dir}. Use another workdir; if the "
            f"images have moved, pass --config.data.data_dir={path} instead of --images."
        )
    tree["data"]["data_dir"] = path
    tree["data"]["labels"] = args.labels or tree["data"]["labels"]
    return tree, problems


def _choose(args: argparse.Namespace, config: Config, command: Command) -> tuple[Config, list[str]]:
    """Choose the settings of a new run on the user's own images."""
    from barlow_jax.experiment import own_images

    fixed, preset = {*args.start_settings, *(key for key, _ in args.overrides)}, None
    if args.start:
        fixed |= {f"recipe.views.{view}.normalize.{key}" for view in "ab" for key in ("mean", "std")}
    if args.config:
        name, preset = shipped.split_argument(args.config)
        if not shipped.config_path(name).samefile(_IMAGES_CONFIG):
            preset = None
            # What this file sets stays.
            trees = (overrides.load_config_file(path)[0] for path in (args.config, str(_IMAGES_CONFIG)))
            own, base = (records.flatten(tree.to_dict()) for tree in trees)
            fixed |= {key for key in own if own[key] != base.get(key)}
    try:
        tree, args.choices = own_images.choose(
            config, fixed, preset=preset, hours=args.hours, trains=command.trains
        )
    except UserError as error:
        return config, [str(error)]
    return overrides.from_tree(tree)


def _missing_runs(args: argparse.Namespace, command: Command) -> list[str]:
    problems = []
    for workdir in [] if command.workdir == "none" else args.workdirs or [None]:
        wrong = preflight.workdir_problems(workdir)
        if not wrong and not saved_run.is_run(workdir):
            wrong = [f"--workdir {workdir} holds no run (it has neither {' nor '.join(saved_run.FILES)})."]
        problems += wrong
    return problems


def _count_devices(*, joined: bool) -> int | None:
    """Return the number of devices of all processes; None if counting would wait for other processes."""
    import jax

    # libtpu waits for all hosts of its slice.
    waits = not joined and "tpu" in (jax.config.jax_platforms or "")
    return None if waits else jax.device_count()
