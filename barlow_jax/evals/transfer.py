"""Transfer: classifiers on other data sets, with the encoder frozen; SVMs where images are multi-label."""

import dataclasses
from typing import Any

from barlow_jax.config.schema import Config, Transfer
from barlow_jax.data import catalog
from barlow_jax.distributed.mesh import Layout
from barlow_jax.evals import svm
from barlow_jax.evals.features import Encode
from barlow_jax.evals.linear_probe import probe
from barlow_jax.papers.scores import Score
from barlow_jax.types import FeatureTable


def transfer_config(config: Config, settings: Transfer) -> Config:
    """Return the config with a transfer's data set and probe instead of its own."""
    return dataclasses.replace(config, data=settings.data, probe=settings.probe)


def transfer(
    name: str, config: Config, layout: Layout, encode: Encode, train: FeatureTable, test: FeatureTable
) -> tuple[list[Score], dict[str, Any]]:
    """Train and test the classifier of `config.transfer[name]` on the features of that data set's splits.

    Returns:
      The scores: top1, top5, best_top1 and best_top5 of the linear probe, or map of the SVMs. And the details
      of `svm.mean_average_precision`: "per_class" in percent, "costs" and "left_out"; {} for the probe.
    """
    settings = config.transfer[name]
    if settings.classifier == "svm":
        details = svm.mean_average_precision(train, test, config=settings.svm, seed=config.seed)
        value = round(100 * details.pop("map"), 2)
        details["per_class"] = [p if p is None else round(100 * p, 2) for p in details["per_class"]]
        measured_on = (name, settings.data.eval_split, len(test.labels))
        return [Score("transfer", "svm", "map", value, *measured_on)], details
    scores = probe(transfer_config(config, settings), layout, encode, train, test)
    return [dataclasses.replace(score, command="transfer", data_set=name) for score in scores], {}


def missing_data(name: str, settings: Transfer) -> str | None:
    """Return why the data set of `config.transfer[name]` cannot be read, or None if it can."""
    reason = catalog.unavailable_reason(settings.data)
    return reason and reason.replace("config.data.", f"config.transfer.{name}.data.")
