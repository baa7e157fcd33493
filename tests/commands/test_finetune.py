"""finetune on one small run through the entry point; its learning rates and its lists of ImageNet."""

import dataclasses

import jax
import numpy as np
import pytest
from score_records import by_fraction

from barlow_jax.config import schema as config_lib
from barlow_jax.data import splits
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.experiment.finetuning import finetune
from barlow_jax.optim import optimizers

SHORT = ("--config.finetune.num_epochs=4", "--config.finetune.label_fractions=0.1,1")


def test_fine_tuning_beats_chance_for_every_fraction(workdir, run_command):
    rates = ("--config.finetune.encoder_learning_rate=0.1", "--config.finetune.batch_size=64")
    repeats = "--config.finetune.subset_repeats=2"
    results, _ = run_command("finetune", "--workdir", workdir, *SHORT, *rates, repeats)
    assert {r["label_fraction"]: r["repeats"] for r in results["scores"]} == {0.1: 2, 1.0: 1}
    assert results["feature_source"] == "pretrained" and results["step"] == 22
    top1, top5 = by_fraction(results), by_fraction(results, "top5")
    assert set(top1) == set(top5) == set(by_fraction(results, "balanced_accuracy")) == {0.1, 1.0}
    assert results["data"]["eval_images"] == 360 and results["settings"]["finetune"]["num_epochs"] == 4
    assert all(0 < top1[fraction] <= top5[fraction] <= 100 for fraction in top1)
    assert top1[1.0] > 30, "ten classes, and four epochs of all labels"
    assert all(record["num_images"] == 360 for record in results["scores"])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [(1 + np.cos(np.pi * e / 20)) / 2 for e in range(20)]),
        ({"schedule": "steps"}, [1] * 12 + [0.2] * 4 + [0.04] * 4),
        ({"schedule": "steps", "milestones": (0.5,), "decay": 0.3}, [1] * 10 + [0.3] * 10),
    ],
)
def test_both_rates_follow_the_schedule(settings, expected):
    """Unit gradients, no momentum, and weights of one with a decay of 0.25: each update is -1.25 rates."""
    config = config_lib.Finetune(momentum=0.0, head_learning_rate=0.2, weight_decay=0.25, **settings)
    optimizer = optimizers.make_finetune_optimizer(config, steps_per_epoch=3)
    params = {"encoder": {"w": np.ones(2, np.float32)}, "classifier": {"w": np.ones(2, np.float32)}}
    state, seen = optimizer.init(params), []
    for _ in range(60):
        updates, state = optimizer.update(jax.tree.map(np.ones_like, params), state, params)
        seen.append((-updates["encoder"]["w"][0], -updates["classifier"]["w"][0]))
    by_epoch = np.array(seen).reshape(20, 3, 2)
    np.testing.assert_allclose(by_epoch[:, 0, 0], 1.25 * 0.005 * np.array(expected), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(by_epoch[:, 2, 1], 1.25 * 0.2 * np.array(expected), rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_imagenet_is_tuned_on_the_official_lists(workdir, small_config, typed, monkeypatch):
    config, opened, real = typed(small_config), [], splits.open_split

    def open_digits_instead(data, split):
        opened.append((data.name, split))
        return real(dataclasses.replace(data, name="digits"), split)

    monkeypatch.setattr(splits, "open_split", open_digits_instead)
    settings = dataclasses.replace(config.finetune, label_fractions=(0.01, 0.1, 0.5), num_epochs=1)
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, name="imagenet2012"), finetune=settings
    )
    encoder = Experiment.from_config(config).encoder_state(workdir, "pretrained")
    scores, _ = finetune(config, encoder, settings.label_fractions)
    assert [score.label_fraction for score in scores] == [0.01] * 3 + [0.1] * 3 + [0.5] * 3
    assert opened == [
        ("imagenet2012", "test"),
        ("imagenet2012_subset/1pct", "train"),
        ("imagenet2012_subset/10pct", "train"),
        ("imagenet2012", "train"),
    ]
