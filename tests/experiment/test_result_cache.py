"""Cached results of runs: they count for the data and the settings that they were measured with."""

import dataclasses

from barlow_jax.config.schema import Config, Data, Knn
from barlow_jax.experiment import evaluations, pretraining


def test_results_of_other_data_or_settings_are_measured_again(tmp_path):
    config, calls = Config(data=Data("images", "/a")), []

    def cached(config):
        def compute():
            calls.append(config)
            return {
                "data": dataclasses.asdict(config.data),
                "settings": evaluations.settings(config, ["knn"]),
            }

        return pretraining.cached(tmp_path, "compare", compute, config)

    assert cached(config)["settings"] == cached(config)["settings"] or len(calls) == 1
    assert len(calls) == 1
    for other in (
        dataclasses.replace(config, knn=Knn(k=(7,))),
        dataclasses.replace(config, data=Data("images", "/b")),
        config,
    ):
        cached(other), cached(other)
    assert len(calls) == 4
