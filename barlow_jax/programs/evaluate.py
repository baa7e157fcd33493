"""Probe and k-NN of the newest checkpoint beside the untrained encoder and raw pixels, in one table."""

import argparse
import pathlib
import sys
from typing import Any

from barlow_jax.config import Config
from barlow_jax.programs.experiment import PIXELS, PRETRAINED, UNTRAINED, Experiment
from barlow_jax.programs.knn import knn
from barlow_jax.programs.probe import probe


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    del args
    experiment = Experiment.of(config)
    results: dict[str, Any] = {}
    for kind in (PIXELS, UNTRAINED, PRETRAINED):
        encode, step = experiment.encoder(workdir, kind)
        train, test = experiment.tables(encode)
        results[kind] = {"step": step, **probe(experiment, encode, train, test), **knn(config, train, test)}
    print(format_table(results), file=sys.stderr)
    return results


def format_table(results: dict[str, Any]) -> str:
    """Top-1 in percent: a row a classifier and label fraction, a column a kind of features."""
    kinds = list(results)
    lines = [f"{'top-1, %':<22}" + "".join(f"{kind:>12}" for kind in kinds)]
    for group, title, keys in (("linear", "linear", ("top1",)), ("knn", "k-NN", None)):
        for fraction, scores in results[kinds[0]][group].items():
            for key in keys or [key for key in scores if key.startswith("k")]:
                name = f"{title}{'' if keys else ' ' + key[1:]}, {float(fraction):.0%} of labels"
                row = (results[kind][group][fraction][key] for kind in kinds)
                lines.append(f"{name:<22}" + "".join(f"{score:>12.1f}" for score in row))
    return "\n".join(lines)
