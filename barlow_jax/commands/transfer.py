"""Classifiers on other data sets, the encoder frozen: linear ones, or SVMs where images have several labels."""

import argparse
import dataclasses
import pathlib
import sys
from typing import Any

from barlow_jax.commands.probe import probe
from barlow_jax.config.schema import Config, Transfer
from barlow_jax.data import catalog
from barlow_jax.errors import UserError
from barlow_jax.evals import features, svm
from barlow_jax.experiment import encoders
from barlow_jax.experiment.experiment import Experiment, decode_failure_counts


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """The data sets of --only, or all that are at hand; TFDS prepares the former where it can."""
    names = (
        args.only.split(",") if args.only else [n for n, t in config.transfer.items() if not why_not(n, t)]
    )
    if unknown := [name for name in names if name not in config.transfer]:
        there = ", ".join(config.transfer)
        raise UserError(f"--only {args.only}: config.transfer has no {unknown[0]!r}; it has {there}")
    if not names:
        reasons = "; ".join(filter(None, (why_not(n, t) for n, t in config.transfer.items())))
        raise UserError(f"no data set of config.transfer is at hand: {reasons}")
    experiment = Experiment.of(config)
    encode, step = experiment.encoder(encoders.place(workdir, args), args.features)
    results = {}
    for name in names:
        results[name] = transfer(experiment, encode, config.transfer[name])
        shown = ", ".join(f"{k} {v}" for k, v in results[name].items() if isinstance(v, float))
        print(f"{name}: {shown}", file=sys.stderr)
    return {"features": args.features, "step": step, "transfer": results}


def transfer(experiment: Experiment, encode: features.Encode, settings: Transfer) -> dict[str, Any]:
    """Scores in percent: top1 and top5, of the last and of the best epoch; or of SVMs map. And broken images."""
    config = dataclasses.replace(experiment.config, data=settings.data, probe=settings.probe)
    there = dataclasses.replace(experiment, config=config)
    train, test = there.tables(encode)
    if settings.classifier == "svm":
        found = svm.mean_average_precision(train, test, config=settings.svm, seed=config.seed)
        percent = [None if score is None else round(100 * score, 2) for score in found["per_class"]]
        scores = found | {"map": round(100 * found["map"], 2), "per_class": percent}
        return scores | decode_failure_counts(train.decode_failures, test.decode_failures)
    (scored,) = probe(there, encode, train, test)["linear"].values()
    return scored | decode_failure_counts(train.decode_failures, test.decode_failures)


def why_not(name: str, settings: Transfer) -> str | None:
    """Why a data set is not at hand; None where it is."""
    reason = catalog.unavailable_reason(settings.data)
    return reason and reason.replace("config.data.", f"config.transfer.{name}.data.")
