"""Weighted k-NN on the newest checkpoint's encoder, frozen."""

import argparse
import pathlib
from typing import Any

import numpy as np

from barlow_jax.config import Config
from barlow_jax.evals.knn import knn_accuracy
from barlow_jax.evals.subsets import label_subset
from barlow_jax.programs.experiment import Experiment
from barlow_jax.types import FeatureTable


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    experiment = Experiment.of(config)
    encode, step = experiment.encoder(workdir, args.features)
    train = experiment.table(encode, config.data.train_split)
    test = experiment.table(encode, config.data.eval_split)
    return {"features": args.features, "step": step, **knn(config, train, test)}


def knn(config: Config, train: FeatureTable, test: FeatureTable) -> dict[str, Any]:
    """Top-1 accuracies in percent by k, by the fraction of the training labels that vote."""
    results = {}
    for fraction in config.knn.label_fractions:
        draws = []
        for draw in range(config.knn.subset_draws if fraction < 1 else 1):
            rows = label_subset(train.labels, fraction, seed=draw)
            chosen = FeatureTable(train.features[rows], train.labels[rows])
            draws.append(knn_accuracy(chosen, test, ks=config.knn.k, temperature=config.knn.temperature))
        results[f"{fraction:g}"] = {
            f"k{k}": round(100 * float(np.mean([draw[k] for draw in draws])), 2) for k in config.knn.k
        }
    return {"knn": results}
