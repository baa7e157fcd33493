"""Every config file: a lab note, and a config that can run."""

import copy
import pathlib
import re

import pytest
import yaml

from barlow_jax.config.overrides import apply_overrides, from_tree, load_config_file
from barlow_jax.config.records import flatten
from barlow_jax.config.validation import Facts, validate
from barlow_jax.reporting.study import read_grid

CONFIGS = sorted((pathlib.Path(__file__).parents[2] / "configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_config_is_valid(path):
    config_dict, problems = load_config_file(str(path))
    assert not problems
    config, problems = from_tree(config_dict.to_dict())
    assert not problems
    assert not validate(config, Facts(num_devices=8))


@pytest.mark.parametrize(
    ("grid", "data", "runs", "methods"), [("study", "digits", 69, 8), ("study_cifar", "cifar10_cpu", 18, 3)]
)
def test_the_runs_of_a_study_are_valid(grid, data, runs, methods):
    folder, trees, cells = CONFIGS[0].parent, {}, read_grid(grid)
    assert len(cells) == runs
    for cell in cells:
        method = cell.pop("objective.name")
        file = f"{folder / data}.py" if method == "barlow_twins" else f"{folder / method}.py:{data}"
        trees[method] = trees.get(method) or load_config_file(file)[0].to_dict()
        tree = copy.deepcopy(trees[method])
        assert not apply_overrides(tree, cell.items())
        config, problems = from_tree(tree)
        assert not problems and not validate(config, Facts(num_devices=2))
    assert len(trees) == methods


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_config_is_a_lab_note(path):
    note = re.match(r'r?"""(.*?)"""', path.read_text(), re.DOTALL).group(1)
    assert "Expected" in note and "Hardware:" in note
    assert f"python -m barlow_jax pretrain --config {path.stem} --workdir" in note


# Settings of the paper and of its official code.
A, B = "recipe.views.a.", "recipe.views.b."
BOTH = {
    "crop.min_area": 0.08,
    "crop.max_area": 1.0,
    "crop.min_aspect": 3 / 4,
    "crop.max_aspect": 4 / 3,
    "crop.method": "bicubic",
    "flip.probability": 0.5,
    "jitter.probability": 0.8,
    "jitter.brightness": 0.4,
    "jitter.contrast": 0.4,
    "jitter.saturation": 0.2,
    "jitter.hue": 0.1,
    "grayscale.probability": 0.2,
    "blur.min_sigma": 0.1,
    "blur.max_sigma": 2.0,
    "solarize.threshold": 128,
    "rotate.probability": 0.0,
    "normalize.mean": (0.485, 0.456, 0.406),
    "normalize.std": (0.229, 0.224, 0.225),
    "order": ("crop", "rotate", "flip", "jitter", "grayscale", "blur", "solarize", "normalize"),
}
VISSL = {
    "learning_rate": 0.01,
    "scale_learning_rate": True,
    "batch_size": 256,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 5e-4,
    "schedule": "steps",
    "milestones": (1 / 3, 2 / 3),
    "decay": 0.1,
}
SETTINGS = {
    "imagenet": {
        "train.num_epochs": 1000,
        "train.batch_size": 2048,
        "optim.name": "lars",
        "optim.learning_rate": 0.2,
        "optim.bias_learning_rate": 0.0048,
        "optim.warmup_epochs": 10,
        "optim.final_scale": 0.001,
        "optim.momentum": 0.9,
        "optim.trust_coefficient": 0.001,
        "optim.trust_clip": False,
        "optim.weight_decay": 1e-6,
        "optim.grad_scale": 1 / 32,
        "objective.name": "barlow_twins",
        "objective.barlow_twins.off_diagonal_weight": 0.0051,
        "objective.scale": 1,
        "objective.barlow_twins.invariance_weight": 1,
        "objective.barlow_twins.normalization": "batch",
        "objective.barlow_twins.off_diagonal": "cross",
        "network.encoder": "resnet50",
        "network.width": 64,
        "network.stem": "imagenet",
        "network.projector": (8192, 8192, 8192),
        "network.projector_batch_norm": True,
        "network.predictor": (),
        "network.batch_norm_epsilon": 1e-5,
        "network.batch_norm_momentum": 0.9,
        "network.dtype": "bfloat16",
        "data.image_size": 224,
        "data.eval_resize": 256,
        "data.augment_on": "device",
        **{view + key: value for view in (A, B) for key, value in BOTH.items()},
        A + "blur.probability": 1.0,
        B + "blur.probability": 0.1,
        A + "solarize.probability": 0.0,
        B + "solarize.probability": 0.2,
        # The linear probe.
        "probe.solver": "sgd",
        "probe.num_epochs": 100,
        "probe.batch_size": 256,
        "probe.learning_rate": 0.3,
        "probe.scale_learning_rate": False,
        "probe.momentum": 0.9,
        "probe.nesterov": False,
        "probe.weight_decay": 1e-6,
        "probe.schedule": "cosine",
        "probe.augment": True,
        "probe.standardize": False,
        # Semi-supervised: the README of the official code.
        "finetune.label_fractions": (0.01, 0.1),
        "finetune.num_epochs": 20,
        "finetune.batch_size": 256,
        "finetune.weight_decay": 0.0,
        "finetune.momentum": 0.9,
        "finetune.encoder_learning_rate": 0.005,
        "finetune.head_learning_rate": 0.5,
        "finetune.schedule": "cosine",
        # Transfer.
        "transfer.places205.classifier": "linear",
        "transfer.inat18.classifier": "linear",
        "transfer.voc07.classifier": "svm",
        "transfer.voc07.data.name": "voc/2007",
        "transfer.voc07.data.train_split": "train+validation",
        "transfer.voc07.data.eval_split": "test",
        "transfer.inat18.data.name": "i_naturalist2018",
        "transfer.places205.data.name": "images",
        "transfer.places205.probe.num_epochs": 14,
        "transfer.inat18.probe.num_epochs": 84,
        **{f"transfer.{name}.probe.{k}": v for name in ("places205", "inat18") for k, v in VISSL.items()},
        "knn.k": (20, 200),
    },
    "imagenet_paper": {
        "optim.weight_decay": 1.5e-6,
        "objective.barlow_twins.off_diagonal_weight": 5e-3,
        "finetune.encoder_learning_rate": 0.002,
        "finetune.head_learning_rate": 0.5,
        "finetune.schedule": "steps",
        "finetune.milestones": (12 / 20, 16 / 20),
        "finetune.decay": 0.2,
    },
    "ablations": {"train.num_epochs": 300},
}


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [(name, key, value) for name, settings in SETTINGS.items() for key, value in settings.items()],
    ids=str,
)
def test_a_setting_of_the_paper_is_in_its_config(name, key, value):
    config = load_config_file(str(CONFIGS[0].with_name(f"{name}.py")))[0].to_dict()
    assert flatten(config)[key] == value


@pytest.mark.parametrize("hardware", ["gpu", "cpu"])
def test_a_fast_recipe_trains_on_fewer_pixels_than_it_evaluates(hardware):
    config_dict, problems = load_config_file(f"{CONFIGS[0].with_name('cifar10_fast.py')}:{hardware}")
    assert not problems
    config, problems = from_tree(config_dict.to_dict())
    assert not problems and not validate(config, Facts(num_devices=1))
    sizes = {view.crop.size for view in config.recipe.views.values()}
    assert max(sizes) < config.data.image_size == config.data.eval_resize


def test_imagenet_paper_changes_only_where_paper_and_code_differ():
    configs = (
        load_config_file(str(CONFIGS[0].with_name(f"{n}.py")))[0] for n in ("imagenet", "imagenet_paper")
    )
    code, paper = (flatten(config.to_dict()) for config in configs)
    assert {key for key in code if code[key] != paper[key]} == set(SETTINGS["imagenet_paper"]) - {
        "finetune.head_learning_rate",
        "finetune.milestones",
        "finetune.decay",
    }


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (
            "voc_c4",
            {
                "IMS_PER_BATCH": 16,
                "BASE_LR": 0.1,
                "MAX_ITER": 24_000,
                "STEPS": [18_000, 22_000],
                "GAMMA": 0.1,
                "WARMUP_ITERS": 1000,
                "WARMUP_FACTOR": 0.333,
            },
        ),
        (
            "coco_c4",
            {
                "IMS_PER_BATCH": 16,
                "BASE_LR": 0.03,
                "MAX_ITER": 90_000,
                "STEPS": [60_000, 80_000],
                "GAMMA": 0.1,
            },
        ),
    ],
)
def test_detection_has_the_papers_schedule(name, settings):
    config = yaml.safe_load((CONFIGS[0].parent / "detectron2" / f"{name}.yaml").read_text())
    assert config["SOLVER"] == settings
    # The encoder is torchvision's: stride in the 3x3, RGB, mean and std in pixel values.
    assert config["MODEL"]["RESNETS"] == {"DEPTH": 50, "NORM": "SyncBN", "STRIDE_IN_1X1": False}
    mean, std = (config["MODEL"][f"PIXEL_{name}"] for name in ("MEAN", "STD"))
    assert config["INPUT"]["FORMAT"] == "RGB"
    assert mean == pytest.approx([255 * m for m in BOTH["normalize.mean"]])
    assert std == pytest.approx([255 * s for s in BOTH["normalize.std"]])
