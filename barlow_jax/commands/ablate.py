"""Pretrain and probe the ablations of the Barlow Twins paper on a base config, in one table."""

import argparse
from collections.abc import Iterator
import pathlib
import sys
from typing import Any

import jax

from barlow_jax.cli.command import Command
from barlow_jax.config import overrides
from barlow_jax.config.schema import Config
from barlow_jax.config.validation import Facts, validate
from barlow_jax.data import catalog
from barlow_jax.errors import UserError
from barlow_jax.evals.features import decode_failure_counts
from barlow_jax.evals.linear_probe import probe
from barlow_jax.experiment import run_cache
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.papers.ablations import ABLATIONS, GROUPS, Ablation
from barlow_jax.papers.published import ABLATION_BASELINE
from barlow_jax.papers.scores import PRETRAINED, UNTRAINED, Evaluation, parse_scores

COMMAND = Command(
    examples=("ablate --config configs/digits.py --workdir runs/ablations --only batch_size,loss",)
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add --only."""
    parser.add_argument(
        "--only",
        metavar="GROUPS",
        help=f"groups of ablations, separated by commas: {', '.join(GROUPS)}; default: all",
    )


_BASELINE = Ablation("baseline", "baseline", {}, ABLATION_BASELINE)


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """Pretrains and probes the base and each ablation; finished ones are read, an unfinished one goes on."""
    groups = parse_groups(args.only)
    data = config.data
    num_images, _ = catalog.count_images(data, tuple(dict.fromkeys((data.train_split, data.eval_split))))
    facts = Facts(jax.device_count(), num_images)
    rows = [{"group": "", "name": "untrained", **_untrained(config, workdir)}]
    for ablation in [_BASELINE, *(a for a in ABLATIONS if a.group in groups)]:
        rows.append(row(ablation, config, workdir, facts))
    print(format_table(rows), file=sys.stderr)
    return {"rows": rows}


def parse_groups(only: str | None) -> tuple[str, ...]:
    """The groups of --only, or all of them."""
    groups = tuple(only.split(",")) if only else GROUPS
    if unknown := [group for group in groups if group not in GROUPS]:
        raise UserError(f"--only {only}: there is no group {unknown[0]!r}; there are {', '.join(GROUPS)}")
    return groups


def row(ablation: Ablation, base: Config, workdir: pathlib.Path, facts: Facts) -> dict[str, Any]:
    """One line of the table: what was changed, what came of it, or why it cannot be run here."""
    case = ablation.apply(base)
    changes = _changes(base, case)
    told = {
        "group": ablation.group,
        "name": ablation.name,
        "changes": changes,
        "published": ablation.published._asdict(),
    }
    if ablation is not _BASELINE and not changes:
        return told | {"why_not": "as the base"}
    if problems := validate(case, facts):
        return told | {"why_not": problems[0]}
    place = workdir / (_BASELINE.name if ablation is _BASELINE else f"{ablation.group}-{ablation.name}")
    if jax.process_index() == 0:
        shown = ", ".join(f"{key} = {value}" for key, value in changes.items())
        print(f"{place.name}: {shown or 'the base'}", file=sys.stderr, flush=True)
    return told | run_cache.measured(case, place, "ablate", _judge)


def _judge(experiment: Experiment, place: pathlib.Path) -> dict[str, Any]:
    return _probe(experiment, place, PRETRAINED)


def _untrained(config: Config, workdir: pathlib.Path) -> dict[str, Any]:
    return _probe(Experiment.of(config), workdir, UNTRAINED)


def _probe(experiment: Experiment, workdir: pathlib.Path, feature_source: str) -> dict[str, Any]:
    encode, step = experiment.encoder(workdir, feature_source)
    train, test = experiment.tables(encode)
    scores = probe(experiment.config, experiment.layout, encode, train, test)
    results = Evaluation(feature_source, step, tuple(scores)).to_json()
    return results | decode_failure_counts(train.decode_failures, test.decode_failures)


def _changes(base: Config, case: Config) -> dict[str, Any]:
    before, after = (overrides.flatten(overrides.to_config_dict(c).to_dict()) for c in (base, case))
    return {key: value for key, value in after.items() if value != before[key]}


def format_table(rows: list[dict[str, Any]]) -> str:
    """Linear top-1 in percent, a column a label fraction, the paper's (ImageNet, 300 epochs) last."""
    return "\n".join(_lines(rows))


def _lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    fractions = list(_top1(rows[0]))
    heads = "".join(f"{fraction:>8.0%}" for fraction in fractions)
    yield f"{'linear top-1, %; of the labels':<32}{heads}   paper"
    for row in rows:
        name = f"{row['group']}/{row['name']}" if row["group"] not in ("", "baseline") else row["name"]
        top1 = row.get("published", {}).get("top1")
        paper = f"{top1:>8.1f}" if top1 is not None else f"{'-':>8}"
        if "why_not" in row:
            yield f"{name:<32}{row['why_not']}"
        else:
            top1_by_fraction = _top1(row)
            scores = "".join(f"{top1_by_fraction[fraction]:>8.1f}" for fraction in fractions)
            yield f"{name:<32}{scores}{paper}"


def _top1(row: dict[str, Any]) -> dict[float, float]:
    """Return the row's linear top-1 in percent by label fraction."""
    return {s.label_fraction: s.value for s in parse_scores(row["scores"]) if s.metric == "top1"}
