"""Weighted k-NN on the newest checkpoint's encoder, frozen."""

import argparse
import pathlib
from typing import Any

import numpy as np

from barlow_jax.config.schema import Config
from barlow_jax.evals.knn import euclidean_accuracy, knn_accuracy
from barlow_jax.evals.subsets import accuracy_by_fraction
from barlow_jax.experiment import encoders
from barlow_jax.experiment.experiment import Experiment, decode_failure_counts
from barlow_jax.types import FeatureTable


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    experiment = Experiment.of(config)
    encode, step = experiment.encoder(encoders.place(workdir, args), args.features)
    train, test = experiment.tables(encode)
    return {"features": args.features, "step": step, **knn(config, train, test)}


def knn(config: Config, train: FeatureTable, test: FeatureTable) -> dict[str, Any]:
    """Top-1 accuracies in percent, by the fraction of the training labels that vote.

    Keys: k20, k200 of the weighted vote; with all labels also euclidean5 of the uniform one, as in W-MSE's table:
    of a few labels, fewer than k to a class, it would count ties. The numbers are the config's. Broken images are
    said beside them.
    """
    settings = config.knn

    def measure(rows: np.ndarray, draw: int) -> dict[str, float]:
        del draw  # only the rows depend on it
        chosen = FeatureTable(train.features[rows], train.labels[rows])
        weighted = knn_accuracy(chosen, test, ks=settings.k, temperature=settings.temperature)
        uniform = {}
        if settings.euclidean_k and len(rows) == len(train.labels):
            uniform = euclidean_accuracy(chosen, test, ks=settings.euclidean_k)
        return {f"k{k}": v for k, v in weighted.items()} | {f"euclidean{k}": v for k, v in uniform.items()}

    return {
        "knn": accuracy_by_fraction(train.labels, settings.label_fractions, settings.subset_repeats, measure),
        **decode_failure_counts(train.decode_failures, test.decode_failures),
    }
