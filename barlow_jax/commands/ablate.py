"""Pretrain and probe the ablations of the Barlow Twins or VICReg paper on a base config, in one table."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from barlow_jax.cli.command import Command
from barlow_jax.config import overrides, records
from barlow_jax.config.schema import Config
from barlow_jax.config.validation import Facts, validate
from barlow_jax.data import catalog
from barlow_jax.errors import UserError
from barlow_jax.io import log
from barlow_jax.io.paths import Path
from barlow_jax.papers.ablations import TABLES, Ablation
from barlow_jax.papers.scores import PRETRAINED, UNTRAINED, parse_scores

if TYPE_CHECKING:
    from barlow_jax.experiment.experiment import Experiment

_BASELINE = "baseline"  # group and name of the base

COMMAND = Command(
    examples=(
        "ablate --config digits --workdir runs/ablations --only loss",
        "ablate --config vicreg:digits --table vicreg --workdir runs/vicreg_ablations --only coefficients",
    )
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add --table and --only."""
    parser.add_argument(
        "--table",
        choices=TABLES,
        default="barlow_twins",
        help="paper; the config must be one of its method; default: %(default)s",
    )
    groups = "; ".join(f"{name}: {', '.join(table.groups)}" for name, table in TABLES.items())
    parser.add_argument(
        "--only", metavar="GROUPS", help=f"groups of ablations, separated by commas; default: all. {groups}"
    )


def run(config: Config, workdir: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Pretrain and probe the base and each ablation; finished runs are read, an unfinished run resumes."""
    import jax

    from barlow_jax.experiment.experiment import Experiment

    groups, table = parse_groups(args.only, args.table), TABLES[args.table]
    if config.objective.name != args.table:
        raise UserError(
            f"--table {args.table}: config.objective.name is {config.objective.name}. Pass a config of "
            f"{args.table}, or another table."
        )
    data = config.data
    num_images, _ = catalog.count_images(data, tuple(dict.fromkeys((data.train_split, data.eval_split))))
    facts = Facts(jax.device_count(), num_images)
    rows = [{"group": "", "name": "untrained", **_probe(Experiment.from_config(config), workdir, UNTRAINED)}]
    baseline = Ablation(_BASELINE, _BASELINE, {}, table.baseline)
    for ablation in [baseline, *(a for a in table.ablations if a.group in groups)]:
        rows.append(row(ablation, config, workdir, facts))
    log.info(format_table(rows))
    return {"rows": rows}


def parse_groups(only: str | None, table: str) -> tuple[str, ...]:
    """Return the groups of --only, or all groups of the table."""
    known = TABLES[table].groups
    groups = tuple(only.split(",")) if only else known
    if unknown := [group for group in groups if group not in known]:
        raise UserError(f"--only {only}: there is no group {unknown[0]!r}. Choose from {', '.join(known)}.")
    return groups


def row(ablation: Ablation, base: Config, workdir: Path, facts: Facts) -> dict[str, Any]:
    """Run one ablation; return its changed keys, published accuracy, and scores or why it was skipped."""
    from barlow_jax.experiment import pretraining

    case = ablation.apply(base)
    before, after = (records.flatten(overrides.to_config_dict(c).to_dict()) for c in (base, case))
    changes = {key: value for key, value in after.items() if value != before[key]}
    fields = {"group": ablation.group, "name": ablation.name, "changes": changes}
    fields["published"] = ablation.published._asdict()
    is_base = ablation.group == _BASELINE
    if not is_base and not changes:
        return fields | {"skipped": "same as the baseline"}
    if problems := validate(case, facts):
        return fields | {"skipped": problems[0]}
    name = _BASELINE if is_base else f"{ablation.group}-{ablation.name}"
    log.info(f"{name}: {', '.join(f'{key} = {value}' for key, value in changes.items()) or 'base config'}")
    probe = partial(_probe, feature_source=PRETRAINED)
    return fields | pretraining.train_and_evaluate(case, workdir / name, "ablate", probe)


def _probe(experiment: Experiment, workdir: Path, feature_source: str) -> dict[str, Any]:
    from barlow_jax.experiment import evaluations

    return evaluations.measure("probe", experiment.config, workdir, workdir, feature_source)


def format_table(rows: list[dict[str, Any]]) -> str:
    """Format linear top-1 in percent by label fraction; the paper's, on ImageNet, is last."""
    fractions = list(_top1(rows[0]))
    heads = "".join(f"{fraction:>8.0%}" for fraction in fractions)
    lines = [f"{'linear top-1, %; label fraction':<32}{heads}   paper"]
    for row in rows:
        name = f"{row['group']}/{row['name']}" if row["group"] not in ("", "baseline") else row["name"]
        top1 = row.get("published", {}).get("top1")
        paper = f"{top1:>8.1f}" if top1 is not None else f"{'-':>8}"
        if "skipped" in row:
            lines.append(f"{name:<32}{row['skipped']}")
        else:
            top1_by_fraction = _top1(row)
            scores = "".join(f"{top1_by_fraction[fraction]:>8.1f}" for fraction in fractions)
            lines.append(f"{name:<32}{scores}{paper}")
    return "\n".join(lines)


def _top1(row: dict[str, Any]) -> dict[float, float]:
    """Return the row's linear top-1 in percent by label fraction."""
    return {s.label_fraction: s.value for s in parse_scores(row["scores"]) if s.metric == "top1"}
