"""Train all methods on equal terms, with several seeds, and compare them in one table.

Each method has its own config file next to the base config, which takes the base's name as argument:
`vicreg:digits` is the row of VICReg in a comparison on `digits`, and `vicreg:cifar100` in one on
`cifar10:cifar100`. `--grid` trains any
number of runs, and compares their metrics without labels with their accuracy.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import dataclasses
import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config import overrides, shipped
from barlow_jax.config.method_facts import METHODS
from barlow_jax.config.schema import Config
from barlow_jax.config.validation import Facts, validate
from barlow_jax.errors import RunError, UserError
from barlow_jax.io import files, jsonl, log
from barlow_jax.io.paths import Path
from barlow_jax.papers.scores import PRETRAINED, UNTRAINED
from barlow_jax.workdir import selection

if TYPE_CHECKING:
    from barlow_jax.experiment.experiment import Experiment
    from barlow_jax.types import FeatureTable

COMMAND = Command(
    examples=(
        "compare --config digits --workdir runs/methods --objectives barlow_twins,vicreg",
        "compare --config digits --workdir runs/rates --seeds 1 --grid "
        """'{"objective.name": ["vicreg", "simclr"], "optim.learning_rate": [0.004, 0.008]}'""",
    ),
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the methods, the number of seeds and the grid."""
    parser.add_argument(
        "--objectives",
        metavar="NAMES",
        help=f"methods, separated by commas: {', '.join(METHODS)}, or any other with a config file "
        "next to that of --config; default: those named here",
    )
    parser.add_argument(
        "--seeds",
        type=flags.number(int, min=1),
        default=3,
        metavar="N",
        help="runs per method, with seeds from config.seed on; default: %(default)s",
    )
    parser.add_argument(
        "--grid",
        metavar="GRID",
        help="instead of --objectives: JSON, or a file with it. An object has config keys with a value or a "
        "list of values each, all combinations of which are trained; a list of objects is possible too. "
        "objective.name selects the method's config file. WORKDIR/study.md states how well metrics without "
        "labels predict the accuracy",
    )
    parser.add_argument(
        "--checkpoint",
        choices=("newest", "best"),
        default="newest",
        help="evaluated checkpoint of each run; best: by config.monitor.select_by; default: %(default)s",
    )


def run(config: Config, workdir: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Train and evaluate every method with every seed; finished runs are read, an unfinished run resumes."""
    if args.checkpoint == "best" and not config.monitor.every_epochs:
        raise UserError(
            "--checkpoint best: config.monitor.every_epochs is 0, so nothing is measured. Set it."
        )
    if args.grid:
        return _study(config, workdir, args)
    import jax

    from barlow_jax.experiment import pretraining
    from barlow_jax.reporting import comparison

    methods = {UNTRAINED: config}
    names = args.objectives.split(",") if args.objectives else METHODS
    methods |= {name: method_config(name, config, args) for name in names}
    cases = [
        (name, workdir / f"{name}-{seed}", dataclasses.replace(method, seed=seed))
        for seed in range(config.seed, config.seed + args.seeds)
        for name, method in methods.items()
    ]
    for _, run_dir, case in cases:
        pretraining.check_config(case, run_dir)
    evaluate = functools.partial(_evaluate, source=PRETRAINED, best=args.checkpoint == "best", costs=True)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in methods}
    for name, run_dir, case in cases:
        log.info(run_dir.name)
        rows[name].append(
            _measure_untrained(case, run_dir)
            if name == UNTRAINED
            else pretraining.train_and_evaluate(case, run_dir, _results_name(args), evaluate)
        )
    log.info(comparison.table(rows))
    if jax.process_index() == 0:
        comparison.draw(rows, workdir / "compare.png", config.data.name)
    return {"rows": rows}


def _study(config: Config, workdir: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Train and evaluate the runs of --grid, and write study.md; a run that fails is recorded as such."""
    import jax

    from barlow_jax.experiment import pretraining
    from barlow_jax.reporting import study

    if args.objectives:
        raise UserError('--objectives has no effect with --grid. Use "objective.name" in the grid.')

    cases: dict[str, tuple[str, dict[str, str], Config]] = {}
    for changes in study.read_grid(args.grid):
        method = changes.pop("objective.name", config.objective.name)
        case = method_config(method, config, args, list(changes.items()))
        digest = hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:8]
        for seed in range(case.seed, case.seed + args.seeds):
            cases[f"{method}-{digest}-{seed}"] = method, changes, dataclasses.replace(case, seed=seed)
    for name, (_, _, case) in cases.items():
        pretraining.check_config(case, workdir / name)

    evaluate = functools.partial(_evaluate, source=PRETRAINED, best=args.checkpoint == "best")
    runs: list[dict[str, Any]] = []
    for name, (method, changes, case) in cases.items():
        log.info(f"run {len(runs) + 1} of {len(cases)}, {name}: {changes}")
        row = {"run": name, "method": method, "changes": changes, "scores": [], "checkpoints": []}
        try:
            row |= pretraining.train_and_evaluate(case, workdir / name, _results_name(args), evaluate)
            row["checkpoints"] = study.checkpoints(workdir / name)
        except RunError as error:
            log.warning(f"{name} failed: {error}")
            row["failed"] = str(error)
        runs.append(row)
        jax.clear_caches()  # hundreds of compiled programs would fill the memory
    tables = study.statistics(runs)
    if jax.process_index() == 0:
        files.write_text(workdir / "study.md", study.markdown(runs, tables))
    log.info(f"{len(runs)} runs, {sum('failed' in row for row in runs)} failed: {workdir / 'study.md'}")
    return {"runs": runs, "statistics": tables}


def method_config(
    name: str, base: Config, args: argparse.Namespace, changes: Sequence[tuple[str, str]] = ()
) -> Config:
    """Return a method's config for the base's data set, with the overrides of the command line and `changes`.

    Raises:
      UserError: the config file is missing, or its config cannot run.
    """
    import jax

    tree, problems = overrides.to_config_dict(base).to_dict(), []
    if name != base.objective.name:
        tree, problems = _method_file(name, base, args)
    problems += overrides.apply_overrides(tree, [*args.overrides, *changes])
    config, more = overrides.from_tree(tree)
    if problems := [*problems, *more, *validate(config, Facts(jax.device_count(), {}))]:
        raise UserError(f"--{'grid' if args.grid else 'objectives'} {name}: {problems[0]}")
    return config


def _method_file(name: str, base: Config, args: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Return the config of a method's file next to the base's, and the problems with it."""
    if not args.config:
        raise UserError("--config is missing. Pass the base config, next to the config files of the methods.")
    config, argument = shipped.split_argument(args.config)
    base_file = shipped.config_path(config)
    file = base_file.with_name(f"{name}.py")
    if not file.is_file():
        known = [base.objective.name, *(n for n in METHODS if base_file.with_name(f"{n}.py").is_file())]
        raise UserError(
            f"--objectives {name}: the method's config file {file} is missing. Choose from "
            f"{', '.join(dict.fromkeys(known))}."
        )
    config_dict, problems = overrides.load_config_file(f"{file}:{argument or base_file.stem}")
    return config_dict.to_dict(), problems


def _results_name(args: argparse.Namespace) -> str:
    return "compare-best" if args.checkpoint == "best" else "compare"


def _measure_untrained(config: Config, run_dir: Path) -> dict[str, Any]:
    import jax

    from barlow_jax.experiment import pretraining
    from barlow_jax.experiment.experiment import Experiment

    def measure() -> dict[str, Any]:
        results = _evaluate(Experiment.from_config(config), run_dir, UNTRAINED)
        if jax.process_index() == 0:
            files.write_json(run_dir / "config.json", overrides.to_config_dict(config).to_dict())
        return results

    return pretraining.cached(run_dir, "compare", measure, config)


def _evaluate(
    experiment: Experiment, run_dir: Path, source: str, *, best: bool = False, costs: bool = False
) -> dict[str, Any]:
    """Return the scores and the rank of an encoder's features; with `costs`, also those of the train step."""
    from barlow_jax.evals.evaluation_data import EvaluationData
    from barlow_jax.evals.spectrum import spectrum
    from barlow_jax.experiment import evaluations

    path = selection.best_checkpoint(run_dir, experiment.config.monitor.select_by) if best else run_dir
    data = EvaluationData.open(experiment.config.data).check_labels()
    evaluator = evaluations.Evaluator(experiment, path, source, data)
    results = evaluator.results(run_dir, ["probe", "knn"], evaluator.frozen(["probe", "knn"]))
    test = evaluator.tables[1]
    results["representation_rank"] = spectrum(test.features).effective_rank
    if costs:
        results |= _embedding(experiment, run_dir, test, results["step"])
        results["step_seconds"] = _step_seconds(experiment.config, run_dir)
        results["step_bytes"] = _step_bytes(experiment, results["data"]["train_images"])
    return results


def _embedding(experiment: Experiment, run_dir: Path, test: FeatureTable, step: int) -> dict[str, float]:
    """Return the rank of the test images' embeddings at a checkpoint, and their mean standard deviation.

    The standard deviation is that of the features of unit-length embeddings, times sqrt(D): 1 at best, 0 if
    all embeddings are equal (figure 2 of SimSiam).
    """
    import jax

    from barlow_jax.checkpoints.restore import open_checkpoints
    from barlow_jax.evals.spectrum import spectrum

    if not experiment.config.network.projector:
        return {}
    network = experiment.network.target_network
    abstract = network.shapes()
    with open_checkpoints(run_dir, read_only=True) as checkpoints:
        params, stats = checkpoints.restore_part(*abstract, experiment.layout, step)
    z = np.asarray(jax.jit(network.embed)(params, stats, test.features), np.float32)
    unit = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    return {
        "embedding_rank": spectrum(z).effective_rank,
        "embedding_std": float(unit.std(0).mean() * z.shape[1] ** 0.5),
    }


def _step_seconds(config: Config, run_dir: Path) -> float | None:
    """Return the median seconds per step over the rows of the metrics."""
    rows, _ = jsonl.read(run_dir / "metrics.jsonl")
    rates = [row["images_per_second"] for row in rows if row.get("images_per_second")]
    return config.train.batch_size / float(np.median(rates)) if rates else None


def _step_bytes(experiment: Experiment, num_images: int) -> int:
    """Return the bytes per device of the state, a batch and the compiled step's temporaries."""
    from barlow_jax.experiment import lowering

    lowered, _ = lowering.lower(experiment, experiment.sampler(num_images), "step")
    memory = lowered.compile().memory_analysis()
    return memory.argument_size_in_bytes + memory.temp_size_in_bytes
