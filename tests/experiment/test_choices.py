"""Rules that choose the settings of a run on a user's images: a table of situations."""

import pytest

from barlow_jax.config.overrides import default_config, from_tree
from barlow_jax.config.records import flatten
from barlow_jax.config.validation import Facts, validate
from barlow_jax.data.image_stats import ValueStats
from barlow_jax.experiment import choices as choices_lib
from barlow_jax.experiment.choices import Choices, Devices, Images

CPU, GPU = Devices(1, True, 2, None), Devices(1, False, 16, 80_000_000_000)
CIFAR = Images(45_000, 32, 32, False, 3, {"uint8": 256})
PHOTOGRAPHS = Images(4_500, 480, 640, False, 3, {"uint8": 256})
BANDS = Images(900, 64, 64, False, 13, {"uint16": 256})
SCANS = Images(36, 3000, 4000, True, 1, {"uint16": 40})
FEW = Images(36, 200, 300, True, 1, {"uint8": 39, "uint16": 1})


def _choose(images, devices, budget=None, hours=None, **user):
    tree = default_config().to_dict()
    tree["data"] |= {"name": "images", "augment_on": "device"}
    for key, value in user.items():
        group, name = key.split("__")
        tree[group][name] = value
    choices = Choices(tree, {key.replace("__", ".") for key in user})
    choices_lib.choose_pixels(choices, images)
    choices_lib.choose_sizes(choices, images, devices)
    channels = choices.get("data.channels")
    choices_lib.choose_recipe(choices, None)
    values = ValueStats("0,4095", (0.5,) * channels, (0.0,) + (0.25,) * (channels - 1))
    choices_lib.choose_values(choices, values)
    choices_lib.choose_network(choices, images.number, devices, hours)
    choices_lib.choose_optimizer(choices, devices)
    choices_lib.choose_length(choices, images.number, devices, budget)
    chosen = {key: value for made in choices.made for key, value in made["settings"].items()}
    assert all(made["reason"] for made in choices.made)
    assert {key: flatten(tree)[key] for key in chosen} == chosen
    return chosen, tree


TABLE = {
    # Near configs/cifar10_cpu.py: 24 pixels, ResNet-8 of width 16, batch 128, AdamW at 2e-3, 12 epochs.
    "cifar10 on two cores": (
        (CIFAR, CPU, (1400.0, 0.3)),
        {
            "data.pixel_dtype": "uint8",
            "data.image_size": 24,
            "data.eval_resize": 24,
            "recipe.views.a.blur.probability": 0.0,
            "network.encoder": "resnet8",
            "network.width": 16,
            "network.stem": "cifar",
            "network.projector": (512, 512),
            "network.dtype": "float32",
            "train.batch_size": 128,
            "optim.name": "adamw",
            "optim.learning_rate": 0.004,
            "train.num_epochs": 13.3,
            "monitor.every_epochs": 2.66,
        },
    ),
    "cifar10 on a GPU": (
        (CIFAR, GPU),
        {
            "data.image_size": 32,
            "data.canvas": 64,
            "data.cache": "decoded",
            "network.encoder": "resnet18",
            "network.dtype": "bfloat16",
            "network.projector": (2048, 2048, 2048),
            "train.batch_size": 256,
            "optim.name": "lars",
            "optim.learning_rate": 0.4,
            "train.num_epochs": 171.4,
        },
    ),
    "photographs on two cores": (
        (PHOTOGRAPHS, CPU),
        {
            "data.image_size": 96,
            "recipe.views.a.blur.probability": None,
            "data.eval_resize": 96,
            "data.canvas": 192,
            "network.stem": "imagenet",
            "train.num_epochs": 114.3,
            "optim.warmup_epochs": 5.71,
            "monitor.every_epochs": 22.9,
        },
    ),
    "photographs on a GPU": (
        (PHOTOGRAPHS, GPU),
        {"data.image_size": 224, "data.eval_resize": 256, "data.canvas": 512, "train.num_epochs": 300.0},
    ),
    "many photographs on eight GPUs": (
        (Images(1_200_000, 480, 640, False, 3, {"uint8": 256}), Devices(8, False, 16, None)),
        {
            "network.encoder": "resnet50",
            "network.projector": (8192, 8192, 8192),
            "train.batch_size": 1024,
            "optim.learning_rate": 0.25,
            "eval_batch_size": 256,
        },
    ),
    "13 bands": (
        (BANDS, CPU),
        {
            "data.channels": 13,
            "data.pixel_dtype": "float32",
            "data.value_range": "0,4095",
            "data.image_size": 64,
            "data.canvas": 128,
            "recipe.views.b.normalize.std": (0.001, *[0.25] * 12),
        },
    ),
    "few scans": (
        (SCANS, CPU),
        {"data.tile": 512, "data.channels": 1, "data.value_range": "0,4095", "train.batch_size": 32},
    ),
    "few images, mostly 8 bits": (
        (FEW, CPU),
        {"data.channels": 3, "data.pixel_dtype": "uint8", "train.batch_size": 32, "train.num_epochs": 300.0},
    ),
    "fewer images than rows": (
        (FEW, Devices(8, True, 2, None)),
        {"train.batch_size": 32, "eval_batch_size": 256},
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_choices_for_a_situation(name):
    (images, devices, *budget), expected = TABLE[name]
    chosen, tree = _choose(images, devices, *budget)
    assert {key: chosen.get(key) for key in expected} == expected
    config, problems = from_tree(tree)
    problems += validate(config, Facts(devices.number, {"train": images.number}))
    assert problems == []


def test_choices_follow_what_the_user_has_set():
    chosen, tree = _choose(CIFAR, CPU, data__image_size=32, train__batch_size=64)
    assert tree["data"]["image_size"] == chosen["data.eval_resize"] == 32
    assert "data.image_size" not in chosen and "train.batch_size" not in chosen
    assert chosen["optim.learning_rate"] == 0.008 and chosen["data.canvas"] == 64
    chosen, _ = _choose(CIFAR, CPU, data__channels=1)
    assert (chosen["data.pixel_dtype"], chosen["data.value_range"]) == ("float32", "dtype")
    chosen, _ = _choose(FEW, CPU, (36_000.0, 0.1), 10)
    assert chosen["train.num_epochs"] == 4000.0  # of one step
    chosen, _ = _choose(CIFAR, CPU, optim__name="lars")
    assert (
        chosen["optim.learning_rate"] == 0.7
        and "data.cache" not in chosen
        and "optim.weight_decay" not in chosen
    )


@pytest.mark.parametrize(
    ("hours", "encoder", "width"), [(1, "resnet8", 16), (5, "resnet8", 32), (48, "resnet18", 32)]
)
def test_more_hours_on_a_cpu_train_a_larger_network(hours, encoder, width):
    chosen, _ = _choose(CIFAR, CPU, (3600.0 * hours, 1.0), hours)
    assert (chosen["network.encoder"], chosen["network.width"]) == (encoder, width)
