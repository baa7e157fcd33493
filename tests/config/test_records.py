"""Copies of a config with other values."""

import numpy as np
import pytest

from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError


def test_replace_returns_a_copy_with_values_of_the_right_types():
    config = Config()
    replaced = config.replace(
        {
            "optim.learning_rate": np.float32(0.5),
            "train.num_epochs": 20,
            "network.projector": [16, np.int64(8)],
            "recipe.views.b.blur.probability": 0.25,
            "optim.bias_learning_rate": None,
        }
    )
    assert (replaced.optim.learning_rate, replaced.train.num_epochs) == (0.5, 20.0)
    assert type(replaced.optim.learning_rate) is type(replaced.train.num_epochs) is float
    assert replaced.recipe.views["b"].blur.probability == 0.25 and replaced.optim.bias_learning_rate is None
    assert replaced.network.projector == (16, 8) and config == Config() != replaced
    assert config.replace({}) == config and type(replaced) is Config


def test_replace_names_every_wrong_key_and_value():
    wrong = {
        "optim.lr": 0.1,
        "optim": {"learning_rate": 1.0},
        "optim.learning_rate": "0.3",
        "optim.momentum": True,
        "train.batch_size": 0,
        "network.stem": "cifar100",
        "train.num_epochs": float("nan"),
        "knn.k": [0.5],
    }
    with pytest.raises(UserError) as error:
        Config().replace(wrong)
    header, *lines = str(error.value).splitlines()
    assert len(lines) == len(wrong) and header.startswith("8 ")
    assert {line.split()[0].removeprefix("config.") for line in lines} == set(wrong)
    assert "config.optim.learning_rate?" in lines[0]
