"""Train all methods on equal terms, with several seeds, and compare them in one table.

Each method is its own config file beside the base, asked for the base's data: `configs/vicreg.py:digits` is the
row of VICReg in a comparison on `configs/digits.py`.
"""

import argparse
import dataclasses
import pathlib
import sys
from typing import Any

import jax
import numpy as np

from barlow_jax.checkpoints.restore import open_checkpoints
from barlow_jax.cli.command import Command
from barlow_jax.config import overrides
from barlow_jax.config.methods import REQUIREMENTS
from barlow_jax.config.schema import Config
from barlow_jax.config.validation import Facts, validate
from barlow_jax.errors import UserError
from barlow_jax.evals.features import Encode, decode_failure_counts
from barlow_jax.evals.knn import knn
from barlow_jax.evals.linear_probe import probe
from barlow_jax.evals.spectrum import effective_rank
from barlow_jax.experiment import lowering, run_cache
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import files, jsonl
from barlow_jax.papers.scores import PRETRAINED, UNTRAINED, Evaluation
from barlow_jax.report import comparison
from barlow_jax.types import FeatureTable

COMMAND = Command(
    examples=("compare --config configs/digits.py --workdir runs/methods --objectives barlow_twins,vicreg",),
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the methods and the number of seeds."""
    parser.add_argument(
        "--objectives",
        metavar="NAMES",
        help=f"methods, separated by commas: {', '.join(REQUIREMENTS)}, or any other with a config file next to --config; "
        "default: those named here",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        metavar="N",
        help="runs per method, with seeds from config.seed on; default: %(default)s",
    )


UNTRAINED_ROW = "untrained"


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """Every method with every seed; finished runs are read, an unfinished one goes on."""
    methods = {UNTRAINED_ROW: config}
    methods |= {name: method_config(name, config, args) for name in parse_names(args.objectives)}
    seeds = range(config.seed, config.seed + args.seeds)
    plan = [
        (name, workdir / f"{name}-{seed}", dataclasses.replace(method, seed=seed))
        for seed in seeds
        for name, method in methods.items()
    ]
    for _, place, case in plan:
        run_cache.refuse_another(case, place)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in methods}
    for name, place, case in plan:
        if jax.process_index() == 0:
            print(place.name, file=sys.stderr, flush=True)
        measured = _untrained if name == UNTRAINED_ROW else _trained
        rows[name].append(measured(case, place))
    print(comparison.table(rows), file=sys.stderr)
    if jax.process_index() == 0:
        comparison.draw(rows, workdir / "compare.png", config.data.name)
    return {"rows": rows}


def parse_names(objectives: str | None) -> tuple[str, ...]:
    """The methods of --objectives, or all of them."""
    names = tuple(objectives.split(",")) if objectives else tuple(REQUIREMENTS)
    return tuple(dict.fromkeys(names))


def method_config(name: str, base: Config, args: argparse.Namespace) -> Config:
    """The method's config on the base's data, with what the command line changes.

    Raises:
      UserError: there is none, or it cannot run.
    """
    if name == base.objective.name:
        return base
    if not args.config:
        raise UserError("--config: is missing; compare needs the base's file, beside which the methods' are")
    base_file = pathlib.Path(args.config)
    file = base_file.with_name(f"{name}.py")
    if not file.is_file():
        there = [base.objective.name, *(n for n in REQUIREMENTS if base_file.with_name(f"{n}.py").is_file())]
        raise UserError(
            f"--objectives {name}: there is no {file}, where the method's config would be; there are "
            + ", ".join(dict.fromkeys(there))
        )
    config_dict, problems = overrides.load_config_file(f"{file}:{base_file.stem}")
    tree = config_dict.to_dict()
    problems += overrides.apply_overrides(tree, args.overrides)
    config, more = overrides.from_tree(tree)
    facts = Facts(jax.device_count(), {})
    if problems := [*problems, *more, *validate(config, facts)]:
        raise UserError(f"--objectives {name}: {problems[0]}")
    return config


def _trained(config: Config, place: pathlib.Path) -> dict[str, Any]:
    return run_cache.measured(config, place, "compare", _judge)


def _untrained(config: Config, place: pathlib.Path) -> dict[str, Any]:
    def measure() -> dict[str, Any]:
        experiment = Experiment.of(config)
        encode, step = experiment.encoder(place, UNTRAINED)
        if jax.process_index() == 0:
            files.write_json(place / "config.json", overrides.to_config_dict(config).to_dict())
        return _worth(experiment, UNTRAINED, step, encode, *experiment.tables(encode))

    return run_cache.stored(place, "compare", measure)


def _worth(
    experiment: Experiment,
    feature_source: str,
    step: int,
    encode: Encode,
    train: FeatureTable,
    test: FeatureTable,
) -> dict[str, Any]:
    """Return the scores and the rank of an encoder's features."""
    config = experiment.config
    scores = probe(config, experiment.layout, encode, train, test) + knn(config, train, test)
    return {
        **Evaluation(feature_source, step, tuple(scores)).to_json(),
        **decode_failure_counts(train.decode_failures, test.decode_failures),
        "representation_rank": effective_rank(test.features),
    }


def _judge(experiment: Experiment, place: pathlib.Path) -> dict[str, Any]:
    encode, step = experiment.encoder(place, PRETRAINED)
    train, test = experiment.tables(encode)
    return {
        **_worth(experiment, PRETRAINED, step, encode, train, test),
        **_embedding(experiment, place, test),
        "step_seconds": _step_seconds(experiment.config, place),
        "step_bytes": _step_bytes(experiment, len(train.labels)),
    }


def _embedding(experiment: Experiment, place: pathlib.Path, test: FeatureTable) -> dict[str, float]:
    """Rank of the test images' embeddings, and the mean deviation of their features on the unit sphere, times
    sqrt(D): 1 at best, 0 where all are one vector (figure 2 of SimSiam).
    """
    if not experiment.config.network.projector:
        return {}
    network = experiment.network.target
    abstract = network.shapes()
    with open_checkpoints(place, read_only=True) as checkpoints:
        params, stats, _ = checkpoints.restore_newest_part(*abstract, experiment.layout)
    z = np.asarray(jax.jit(network.embed)(params, stats, test.features), np.float32)
    unit = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    return {
        "embedding_rank": effective_rank(z),
        "embedding_std": float(unit.std(0).mean() * z.shape[1] ** 0.5),
    }


def _step_seconds(config: Config, place: pathlib.Path) -> float | None:
    """The median over the rows of the metrics."""
    rows, _ = jsonl.read(place / "metrics.jsonl")
    rates = [row["images_per_second"] for row in rows if row.get("images_per_second")]
    return config.train.batch_size / float(np.median(rates)) if rates else None


def _step_bytes(experiment: Experiment, num_images: int) -> int:
    """Of a device: the state, a batch, and what the compiled step needs in between."""
    lowered, _ = lowering.lower(experiment, experiment.sampler(num_images), "step")
    memory = lowered.compile().memory_analysis()
    return memory.argument_size_in_bytes + memory.temp_size_in_bytes
