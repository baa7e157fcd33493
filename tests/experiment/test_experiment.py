"""Settings of the config reach what an experiment is made of; none of them has its default value."""

import dataclasses
from functools import partial
import types

import pytest

from barlow_jax.config.recipe import Normalize
from barlow_jax.config.schema import Checkpoint
from barlow_jax.data.sampler import EpochSampler
from barlow_jax.evals import features
from barlow_jax.experiment import experiment as experiment_module, run
from barlow_jax.experiment.experiment import Experiment, run_info


@pytest.fixture
def config(small_config, typed):
    small_config.seed = 5
    small_config.data.augment_on = "device"
    small_config.data.image_size = small_config.data.eval_resize = 12
    small_config.train.microbatches = 2
    small_config.train.max_steps = 7
    small_config.network.projector = (16, 24)
    small_config.recipe.views.a.normalize.std = (0.5, 0.5, 0.5)
    return typed(small_config)


def test_the_parts_of_a_step_are_those_of_the_config(config):
    experiment = Experiment.from_config(config)
    sampler = experiment.sampler(1437)
    assert sampler == EpochSampler(seed=5, num_examples=1437, batch_size=128)
    assert experiment.num_steps(sampler) == 7
    parts = experiment.step_parts(sampler)
    assert (parts.seed, parts.microbatches) == (5, 2)
    assert parts.augment.keywords == {"recipe": config.recipe, "size": 12, "seed": 5}
    assert parts.normalize.keywords == {"recipe": config.recipe}
    info = run_info(config, sampler)
    assert (info.views, info.width, info.batch_size, info.num_images) == (("a", "b"), 24, 128, 1437)
    assert (info.steps_per_epoch, info.num_steps) == (11, 22)


@pytest.mark.parametrize(("first_step", "offset"), [(0, 0), (9, 0), (0, 6)])
def test_the_size_of_the_views_follows_the_schedule(config, monkeypatch, first_step, offset):
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, image_sizes=(6, 9, 12)))
    sampler = types.SimpleNamespace(steps_per_epoch=6, num_examples=768, schedule_offset=offset)  # 12 steps
    monkeypatch.setattr(
        experiment_module, "compile_step", lambda _layout, _state, parts: lambda state, batch: parts
    )
    experiment = Experiment.from_config(config)
    parts = experiment.step_parts(experiment.sampler(1437))
    step = experiment.train_step(None, parts, sampler, first_step)
    scales = [step(None, None).normalize.keywords["scale"] for _ in range(first_step, 12 - offset)]
    assert scales == ([0.5] * 4 + [0.75] * 4 + [1.0] * 4)[first_step + offset :]


def test_the_frozen_encoder_normalizes_images_like_view_a(config, monkeypatch):
    monkeypatch.setattr(features, "make_encoder", lambda network, layout, normalization: normalization)
    assert Experiment.from_config(config).jitted_encoder() == Normalize(std=(0.5, 0.5, 0.5))


def test_a_run_keeps_the_checkpoints_that_the_config_names(config, monkeypatch, tmp_path):
    opened = []

    def stop(workdir, **options):
        opened.append(options)
        raise InterruptedError

    monkeypatch.setattr(run, "open_checkpoints", stop)
    data = types.SimpleNamespace(train=None)
    for keep, expected in (
        (Checkpoint(keep_newest=5, keep_every_epochs=1.6), {"keep_newest": 5, "keep_every_steps": 18}),
        (Checkpoint(keep_every_epochs=None), {"keep_newest": 2, "keep_every_steps": None}),
    ):
        experiment = Experiment.from_config(dataclasses.replace(config, checkpoint=keep))
        open_run = partial(run.open_run, experiment, data, experiment.sampler(1437), tmp_path)
        with pytest.raises(InterruptedError), open_run():
            pass
        assert opened.pop() == expected
