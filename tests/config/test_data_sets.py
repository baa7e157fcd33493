"""Data sets and variants as arguments of configs, for the base configs and for every method."""

import pytest

from barlow_jax.config.data_sets import DATA_SETS
from barlow_jax.config.method_facts import METHODS
from barlow_jax.config.overrides import from_tree, load_config_file
from barlow_jax.config.records import flatten
from barlow_jax.config.validation import Facts, validate
from barlow_jax.data import catalog
from barlow_jax.experiment.experiment import run_info
from barlow_jax.objectives.registry import make_objective


def _flat(name):
    config_dict, problems = load_config_file(name)
    assert not problems
    return flatten(config_dict.to_dict())


SMALL = {"network.encoder": "resnet18", "network.stem": "cifar", "train.batch_size": 256}
SETTINGS = {
    "cifar10:cifar100": SMALL
    | {
        "data.name": "cifar100",
        "data.eval_split": "test",
        "data.image_size": 32,
        "recipe.views.b.normalize.mean": (0.5071, 0.4865, 0.4409),
    },
    "cifar10:stl10": SMALL
    | {
        "data.name": "stl10",
        "data.train_split": "train+unlabelled",
        "data.eval_split": "test",
        "data.image_size": 64,
        "data.eval_resize": 70,
        "data.canvas": 96,
        "recipe.views.a.normalize.std": (0.27, 0.26, 0.27),
    },
    "cifar10:tiny_imagenet": SMALL
    | {
        "data.name": "images",
        "data.labels": "folders",
        "data.train_split": "train",
        "data.eval_split": "val",
        "data.image_size": 64,
        "recipe.views.a.normalize.mean": (0.480, 0.448, 0.398),
    },
    "imagenet:imagenette": {"data.name": "imagenette/320px-v2", "network.encoder": "resnet18"},
    "imagenet:imagenet100": {"data.name": "images", "data.eval_split": "val", "train.batch_size": 256},
    "simclr:cifar100": {"data.name": "cifar100", "objective.simclr.temperature": 0.2},
    "swav:imagenet100": {"objective.name": "swav", "train.batch_size": 256, "network.prototypes": 3000},
    "deepcluster:cifar100": {
        "data.name": "cifar100",
        "objective.deepcluster.clusters": 1000,
        "recipe.views.a.normalize.std": (0.2673, 0.2564, 0.2762),
    },
    "classification:tiny_imagenet": {"network.num_classes": 200},
    # The commands of W-MSE's README.
    "w_mse:tiny_imagenet": {
        "optim.learning_rate": 2e-3,
        "network.projector": (1024, 128),
        "objective.w_mse.sub_batch": 256,
        "objective.w_mse.iterations": 1,
        "optim.warmup_epochs": 500 / 390,
        "train.num_epochs": 1000,
        "data.eval_split": "val",
    },
    "w_mse:stl10": {"train.num_epochs": 2000, "optim.warmup_epochs": 500 / 410},
    "w_mse:two_views_cifar100": {
        "train.batch_size": 512,
        "optim.learning_rate": 1.5e-3,
        "network.projector": (1024, 64),
        "objective.w_mse.iterations": 1,
    },
    "w_mse:two_views_stl10": {"optim.learning_rate": 1e-3, "objective.w_mse.iterations": 4},
    "swav:two_views_imagenet": {"train.batch_size": 4096},
    "byol:variance_imagenet": {"objective.byol.variance_weight": 1, "train.batch_size": 4096},
    "simsiam:variance_digits": {"objective.simsiam.variance_weight": 1, "data.name": "digits"},
    "simclr:own_imagenet": {"network.branches": "own", "network.second_encoder": None},
    "simclr:different_imagenet": {"network.branches": "own", "network.second_encoder": "resnet101"},
    "deepcluster:sela_imagenet": {
        "objective.deepcluster.sinkhorn_epsilon": 0.05,
        "objective.deepcluster.clusters": 3000,
        "objective.deepcluster.heads": 3,
        "objective.deepcluster.classifier_learning_rate": None,
    },
    "deepcluster:classifier_imagenet": {
        "objective.deepcluster.classifier_learning_rate": 0.05,
        "objective.deepcluster.clusters": 10000,
        "objective.deepcluster.heads": 1,
        "objective.deepcluster.sinkhorn_epsilon": None,
    },
    "deepcluster:classifier_digits": {"objective.deepcluster.clusters": 100},
    "moco:v1_imagenet100": {"objective.moco.temperature": 0.07, "network.encoder": "resnet18"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_argument_sets_data_and_recipe(name):
    config, settings = _flat(name), SETTINGS[name]
    assert {key: config.get(key) for key in settings} == settings


@pytest.mark.parametrize(("name", "views"), [("swav:two_views_imagenet", 2), ("w_mse:two_views_stl10", 2)])
def test_a_variant_with_two_views_has_no_others(name, views):
    assert len({key.split(".")[2] for key in _flat(name) if key.startswith("recipe.views.")}) == views


def test_imagenet100_has_a_hundred_classes():
    classes = _flat("imagenet:imagenet100")["data.classes"]
    assert len({*classes}) == DATA_SETS["imagenet100"].num_classes == 100
    assert {"n02869837", "n02090622"} <= {*classes}  # the first and the last of the list


@pytest.mark.parametrize("data", DATA_SETS)
def test_every_method_has_a_valid_config_for_every_data_set(data):
    recipe = DATA_SETS[data].recipe
    for name in (f"{recipe}:{data}", *(f"{method}:{data}" for method in METHODS if method != "barlow_twins")):
        config_dict, problems = load_config_file(name)
        config, more = from_tree(config_dict.to_dict())
        assert not [*problems, *more, *validate(config, Facts(num_devices=8))], name
        make_objective(config.objective, run_info(config))  # raises for queues that do not fit the batch


@pytest.mark.parametrize("name", ["cifar10:imagenette", "imagenet:stl10", "vicreg:mnist", "byol:v1_imagenet"])
def test_an_unknown_argument_names_the_supported_ones(name):
    _, (problem,) = load_config_file(name)
    assert "imagenet" in problem or "cifar100" in problem


def test_sizes_are_known_before_a_data_set_is_prepared():
    config, _ = from_tree(load_config_file("cifar10:stl10")[0].to_dict())
    assert catalog.split_size("stl10", config.data.train_split, DATA_SETS["stl10"].num_images) == 105_000
    assert "100 classes" in catalog.describe(
        from_tree(load_config_file("cifar10:cifar100")[0].to_dict())[0].data
    )
    assert catalog.NUM_CLASSES["imagenette/320px-v2"] == 10 and "images" not in catalog.NUM_CLASSES
