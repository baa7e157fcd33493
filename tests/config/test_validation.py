"""Validation: each problem is one sentence that names the key."""

import dataclasses

import pytest

from barlow_jax.config.overrides import apply_overrides, default_config, from_tree
from barlow_jax.config.schema import Config, Optim
from barlow_jax.config.validation import Facts, validate


def _problems(facts, **overrides):
    tree = default_config().to_dict()
    pairs = [(key.replace("__", "."), str(value)) for key, value in overrides.items()]
    assert not apply_overrides(tree, pairs)
    return validate(from_tree(tree)[0], facts)


def test_the_defaults_are_valid():
    assert not _problems(Facts(64, {"train": 1_281_167, "validation": 50_000}))


W_MSE = "jitter,grayscale,crop,rotate,flip,blur,solarize,normalize"  # its color jitter comes before the crop


def test_color_before_the_crop_needs_the_host():
    assert not _problems(Facts(8), recipe__views__b__order=W_MSE)
    (problem,) = _problems(Facts(8), recipe__views__b__order=W_MSE, data__augment_on="device")
    assert problem.startswith("config.recipe.views.b.order has jitter before crop")
    assert "config.data.augment_on=host" in problem


def test_an_op_that_is_never_applied_may_be_anywhere():
    off = {"recipe__views__b__jitter__probability": 0, "recipe__views__b__grayscale__probability": 0}
    assert not _problems(Facts(8), recipe__views__b__order=W_MSE, data__augment_on="device", **off)
    flip_first = "flip,crop,jitter,grayscale,rotate,blur,solarize,normalize"
    (problem,) = _problems(Facts(8), recipe__views__b__order=flip_first, data__augment_on="device", **off)
    assert "flip before crop" in problem
    flip_late = "crop,jitter,grayscale,rotate,blur,solarize,flip,normalize"
    assert not _problems(Facts(8), recipe__views__b__order=flip_late, data__augment_on="device")


def test_the_batch_size_of_training_matters_only_to_training():
    facts = Facts(8, {"train": 1000, "validation": 500})
    assert len(_problems(facts, train__batch_size=2044)) == 2
    assert not _problems(dataclasses.replace(facts, trains=False), train__batch_size=2044)


# Overrides, then what the one problem contains: the key with its value, or the remedy.
PROBLEMS = [
    (
        {"train__batch_size": 100},
        "config.train.batch_size is 100, but must be divisible by the 8 devices. Use 104.",
    ),
    ({"eval_batch_size": 9}, "config.eval_batch_size is 9, but must be divisible by the 8 devices"),
    ({"train__batch_size": 8000}, "has only 5000 images"),
    ({"data__image_size": 300}, "config.data.image_size is 300"),
    ({"data__image_size": 16}, "needs 32 pixels or more"),
    ({"data__max_decode_failures": -1}, "config.data.max_decode_failures is -1"),
    (
        {"transfer__voc07__data__max_decode_failures": -1},
        "config.transfer.voc07.data.max_decode_failures is -1",
    ),
    (
        {"data__name": "images", "data__pixel_dtype": "float32"},
        "config.data.augment_on is host, where images are uint8",
    ),
    (
        {"data__name": "images", "data__augment_on": "device", "data__held_out": 1.0},
        "config.data.held_out is 1.0",
    ),
    ({"data__held_out": 0.2}, "config.data.held_out is 0.2"),
    ({"data__labels": "folders"}, "Set config.data.name=images"),
    (
        {
            "data__name": "images",
            "data__augment_on": "device",
            "data__labels": "folders",
            "data__label_column": "x",
        },
        "config.data.label_column is x",
    ),
    (
        {"transfer__voc07__data__name": "images", "transfer__voc07__data__pixel_dtype": "float32"},
        "Set config.transfer.voc07.data.augment_on=device",
    ),
    ({"data__cache": "decoded"}, "Set config.data.augment_on=device, or config.data.cache=encoded"),
    (
        {"train__num_epochs": 0, "optim__warmup_epochs": 0},
        "config.train.num_epochs is 0.0, but must be a number > 0",
    ),
    ({"train__num_epochs": 5}, "config.optim.warmup_epochs is 10.0"),
    ({"optim__learning_rate": -0.1}, "config.optim.learning_rate is -0.1, but must be a number > 0"),
    ({"optim__weight_decay": -1}, "config.optim.weight_decay is -1.0, but must be a number >= 0"),
    ({"optim__momentum": 1}, "config.optim.momentum is 1.0, but must be a number in [0, 1)"),
    ({"network__projector": ""}, "config.network.projector is ()"),
    (
        {"network__predictor": "64"},
        "config.network.predictor is (64,), but must end in the projector's width, 8192",
    ),
    (
        {"network__num_classes": 10},
        "config.network.num_classes is 10, but barlow_twins does not use it. Set it to 0",
    ),
    (
        {"objective__barlow_twins__temperature": 0.1, "objective__form": "gram"},
        "config.objective.barlow_twins.temperature is 0.1",
    ),
    ({"objective__barlow_twins__temperature": 0}, "config.objective.barlow_twins.temperature is 0.0"),
    ({"objective__barlow_twins__invariance_weight": -1}, "barlow_twins.invariance_weight is -1.0"),
    ({"objective__name": "barlow"}, "config.objective.name is 'barlow', but must be one of barlow_twins, "),
    ({"network__second_encoder": "resnet18"}, "config.network.second_encoder is resnet18"),
    ({"network__encoder": "vit_small", "network__patch": 15}, "divisible by config.network.patch = 15"),
    ({"recipe__views__a__crop__size": 16}, "config.recipe.views.a.crop.size is 16, but resnet50"),
    ({"train__image_sizes": "128,160"}, "must end with config.data.image_size = 224"),
    ({"train__image_sizes": "256,224"}, "have no larger size"),
    ({"train__image_sizes": "16,224"}, "config.train.image_sizes[0] is 16, but resnet50"),
    ({"train__image_sizes": "112,224", "network__encoder": "vit_small"}, "positions of vit_small"),
    ({"optim__grad_scale": 0}, "config.optim.grad_scale is 0.0"),
    ({"knn__k": "0"}, "config.knn.k is (0,), but must be a non-empty list of integers, each >= 1"),
    ({"probe__label_fractions": "0,1"}, "config.probe.label_fractions is (0.0, 1.0)"),
    ({"knn__euclidean_k": "5,0"}, "config.knn.euclidean_k is (5, 0)"),
    ({"probe__milestones": "0.6,0.3"}, "config.probe.milestones is (0.6, 0.3)"),
    ({"probe__milestones": "0.5,1"}, "config.probe.milestones is (0.5, 1.0)"),
    ({"probe__decay": 0}, "config.probe.decay is 0.0"),
    ({"probe__momentum": 1.5}, "config.probe.momentum is 1.5"),
    ({"probe__nesterov": True, "probe__momentum": 0}, "config.probe.momentum is 0"),
    ({"probe__solver": "lbfgs"}, "Set config.probe.augment=false"),
    (
        {"probe__solver": "lbfgs", "probe__augment": False, "probe__tolerance": 0},
        "config.probe.tolerance is 0.0",
    ),
    ({"recipe__views__a__flip__probability": 1.5}, "config.recipe.views.a.flip.probability is 1.5"),
    ({"recipe__views__b__crop__min_area": 0}, "config.recipe.views.b.crop.min_area is 0.0"),
    ({"recipe__views__b__crop__max_area": 0.01}, "config.recipe.views.b.crop.min_area is 0.08"),
    ({"recipe__views__b__crop__max_aspect": 0.5}, "config.recipe.views.b.crop.min_aspect is 0.75"),
    ({"recipe__views__a__blur__min_sigma": 3}, "config.recipe.views.a.blur.min_sigma is 3.0"),
    ({"recipe__views__a__jitter__hue": 0.7}, "config.recipe.views.a.jitter.hue is 0.7"),
    ({"recipe__views__a__order": "crop,flip"}, "config.recipe.views.a.order is crop, flip"),
    (
        {"recipe__views__a__order": "normalize,crop,rotate,flip,jitter,grayscale,blur,solarize"},
        "normalize must be last",
    ),
    ({"recipe__views__a__normalize__std": "1,1,0"}, "config.recipe.views.a.normalize.std is (1.0, 1.0, 0.0)"),
    (
        {"recipe__views__b__normalize__mean": "0.5,0.5,0.5"},
        "b.normalize.mean is (0.5, 0.5, 0.5), but config.recipe.views.a.normalize.mean is (0.485",
    ),
    ({"recipe__views__a__normalize__std": "0.5,0.5,0.5"}, "config.recipe.views.b.normalize.std is (0.229"),
    (
        {"recipe__views__a__normalize__mean": "123.7,116.3,103.5"},
        "config.recipe.views.a.normalize.mean is (123.7, 116.3, 103.5)",
    ),
    ({"recipe__views__b__normalize__std": "58.4,57.1,57.4"}, "Divide it by 255"),
    ({"recipe__views__b__normalize__mean": "-0.5,0.5,0.5"}, "config.recipe.views.b.normalize.mean is (-0.5"),
    ({"recipe__views__a__normalize__mean": "1,1"}, "config.recipe.views.a.normalize.mean is (1.0, 1.0)"),
    ({"mesh__slices": 3}, "config.mesh.slices is 3, but must divide the 8 devices"),
    ({"mesh__slices": 0}, "config.mesh.slices is 0"),
    (
        {"mesh__projector": "sharded", "network__projector": "64,12"},
        "the width 12 of config.network.projector",
    ),
    (
        {"recipe__views__a__solarize__threshold": 300},
        "solarize.threshold is 300, but must be an integer in [0, 256]",
    ),
]


@pytest.mark.parametrize(("overrides", "expected"), PROBLEMS, ids=lambda value: str(value)[:60])
def test_an_invalid_value_is_one_problem(overrides, expected):
    (problem,) = _problems(Facts(8, {"train": 5000}), **overrides)
    assert expected in problem
    assert problem.startswith("config.") and problem.endswith(".")


def test_a_method_with_classes_of_its_own_has_no_other_number():
    problems = _problems(Facts(8), objective__name="rotation", network__num_classes=10)
    assert any("config.network.num_classes is 10, but rotation has 4 classes" in p for p in problems)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_config_made_in_python_has_finite_numbers(value):
    (problem,) = validate(Config(optim=Optim(learning_rate=value)), Facts(8))
    assert problem.startswith(f"config.optim.learning_rate is {value}")


def test_classification_needs_classes_one_view_and_no_projector():
    problems = _problems(Facts(8), objective__name="classification")
    assert [problem.partition(" ")[0] for problem in problems] == [
        "config.network.projector",
        "config.network.num_classes",
        "config.recipe.views",
    ]


def test_every_problem_is_listed():
    overrides = {"train__batch_size": 1, "data__image_size": 999, "optim__learning_rate": 0}
    assert len(_problems(Facts(8, {"train": 5000}), **overrides)) == 4


def test_unknown_facts_are_no_problem():
    assert not _problems(Facts(None, {}))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("svm.costs", "", "is (), but must be a non-empty list of numbers, each > 0"),
        ("svm.costs", "1,0", "is (1.0, 0.0)"),
        ("svm.folds", 1, "is 1, but must be an integer >= 2"),
        ("svm.positive_weight", 0, "is 0.0"),
        ("svm.max_iterations", 0, "is 0"),
        ("probe.learning_rate", 0, "is 0.0"),
        ("probe.milestones", "0.6,0.3", "is (0.6, 0.3)"),
    ],
)
def test_a_problem_of_a_transfer_has_its_full_key(key, value, words):
    (problem,) = _problems(Facts(8), **{f"transfer.voc07.{key}": value})
    assert problem.startswith(f"config.transfer.voc07.{key} {words}")


def _caption_problems(**overrides):
    tree = default_config().to_dict()
    del tree["recipe"]["views"]["b"]
    given = {
        "network.branches": "own",
        "network.second_encoder": "gru",
        "data.caption_words": "32",
    } | overrides
    assert not apply_overrides(tree, list(given.items()))
    return validate(from_tree(tree)[0], Facts(8))


@pytest.mark.parametrize("name", ["barlow_twins", "vicreg"])
def test_view_b_may_be_a_caption(name):
    assert not _caption_problems(**{"objective.name": name})
    assert not _caption_problems(**{"network.encoder": "vit_small", "data.augment_on": "device"})


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"data.caption_words": "0"},
            "config.data.caption_words is 0, but config.network.second_encoder=gru",
        ),
        ({"data.caption_words": "-3"}, "config.data.caption_words is -3"),
        (
            {"network.second_encoder": "none"},
            "config.data.caption_words is 32, but captions need config.network.branches",
        ),
        (
            {"network.branches": "shared"},
            "config.network.second_encoder is gru, but needs config.network.branches=own",
        ),
        ({"data.name": "images", "data.augment_on": "device"}, "config.data.name is images, which has no"),
        ({"data.name": "digits"}, "config.data.name is digits, which has no captions"),
        ({"data.cache": "decoded", "data.augment_on": "device"}, "config.data.cache is decoded"),
        (
            {"network.text.vocabulary_size": "2"},
            "config.network.text.vocabulary_size is 2, but must be an integer >= 3",
        ),
        ({"network.text.hidden_size": "0"}, "config.network.text.hidden_size is 0"),
        ({"network.text.embedding_size": "0"}, "config.network.text.embedding_size is 0"),
        ({"data.caption_min_count": "0"}, "config.data.caption_min_count is 0"),
        ({"objective.name": "classification"}, "config.network.branches is own, but classification"),
        ({"retrieval.k": "1,0"}, "config.retrieval.k is (1, 0)"),
        ({"retrieval.captions_per_image": "0"}, "config.retrieval.captions_per_image is 0"),
    ],
)
def test_an_invalid_run_on_captions_names_the_key(overrides, words):
    assert any(words in problem for problem in _caption_problems(**overrides))


def test_a_recipe_for_view_b_and_a_caption_exclude_each_other():
    overrides = {"data__caption_words": 32, "network__branches": "own", "network__second_encoder": "gru"}
    (problem,) = _problems(Facts(8), **overrides)
    assert problem.startswith("config.recipe.views is a, b, but view b is a caption")
    assert problem.endswith("Define a only.")


@pytest.mark.parametrize(
    "settings, keys",
    [
        ({"channels": 13}, ["channels", "pixel_dtype"]),
        ({"value_range": "0,4095"}, ["value_range", "pixel_dtype"]),
        ({"value_range": "0,1,2", "pixel_dtype": "float32"}, ["value_range"]),
        ({"value_range": "1,0", "pixel_dtype": "float32"}, ["value_range"]),
        ({"value_range": "0,inf", "pixel_dtype": "float32"}, ["value_range"]),
        ({"value_range": "full", "pixel_dtype": "float32"}, ["value_range"]),
        ({"tile": 64, "tile_overlap": 64}, ["tile_overlap"]),
        ({"tile_overlap": 1}, ["tile_overlap"]),
        ({"name": "digits", "tile": 64}, ["tile"]),
        ({"name": "digits", "channels": 1}, ["channels"]),
    ],
)
def test_pixel_settings_that_contradict_each_other_are_named(settings, keys):
    settings = {"name": "images", "augment_on": "device", **settings}
    overrides = {f"data__{key}": value for key, value in settings.items()}
    (problem,) = [p for p in _problems(Facts(8), **overrides) if p.startswith("config.data")]
    assert all(f"config.data.{key}" in problem for key in keys)


FIVE = {
    "data__name": "images",
    "data__channels": 5,
    "data__pixel_dtype": "float32",
    "data__augment_on": "device",
    "recipe__views__b__normalize__mean": "0.5",
    "recipe__views__a__normalize__mean": "0.5",
    "recipe__views__a__normalize__std": "0.2,0.2,0.2,0.2,0.2",
    "recipe__views__b__normalize__std": "0.2,0.2,0.2,0.2,0.2",
    **{f"recipe__views__{view}__{op}__probability": 0 for view in "ab" for op in ("jitter", "grayscale")},
    "recipe__views__b__solarize__probability": 0,
}
MORE = "crop,rotate,flip,jitter,grayscale,blur,solarize,{},normalize"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({}, ()),
        (
            {"jitter__probability": 0.5, "solarize__probability": 0.1},
            (
                "views.a.order has jitter, solarize",
                "data.channels is 5",
                "jitter.probability=0, solarize.prob",
            ),
        ),
        ({"normalize__mean": "0.4,0.4,0.4"}, ("views.a.normalize.mean is (0.4", "must have 5 numbers")),
        ({"order": MORE.format("channel_drop")}, ()),
        ({"order": MORE.format("channel_drop"), "channel_drop__count": 5}, ("a.channel_drop.count is 5",)),
        ({"channel_drop__count": 2}, ("views.a.order is crop", "channel_drop")),
        ({"noise__max_std": 1.5, "order": MORE.format("noise")}, ("views.a.noise.max_std is 1.5",)),
        ({"order": MORE.format("noise,noise")}, ("views.a.order is crop", "must name each op once")),
        ({"order": MORE.format("custom")}, ("views.a.custom.function is None",)),
        ({"order": MORE.format("custom"), "custom__function": "own.py"}, ("views.a.custom.function is ",)),
        ({"order": MORE.format("custom"), "custom__function": "own.py:f"}, ()),
    ],
)
def test_recipes_for_five_channels(overrides, words):
    changes = {f"recipe__views__a__{key}": value for key, value in overrides.items()}
    problems = [p for p in _problems(Facts(8), **FIVE | changes) if p.startswith("config.recipe")]
    assert len(problems) == bool(words)
    assert all(word in problems[0] for word in words)


def test_ops_of_the_device_alone_are_refused_on_the_host():
    order = MORE.format("vertical_flip,quarter_turn")
    assert not _problems(Facts(8), recipe__views__a__order=order)
    (problem,) = _problems(Facts(8), recipe__views__a__order=MORE.format("noise"))
    assert problem.startswith("config.recipe.views.a.order has noise")
    assert "config.data.augment_on=device" in problem


def test_an_automatic_value_range_is_measured_for_the_training_data_alone():
    transfer = {"name": "images", "augment_on": "device", "pixel_dtype": "float32", "value_range": "auto"}
    overrides = {f"transfer__voc07__data__{key}": value for key, value in transfer.items()}
    (problem,) = _problems(Facts(8), **overrides)
    assert "config.transfer.voc07.data.value_range" in problem


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("network.branches", "own"),
        ("network.predictor", "8192"),
        ("objective.barlow_twins.stop_gradient", "True"),
        ("objective.barlow_twins.off_diagonal", "auto"),
    ],
)
def test_what_treats_two_views_differently_allows_no_third_one(key, value):
    tree = default_config().to_dict()
    tree["recipe"]["views"]["c"] = tree["recipe"]["views"]["a"]
    assert not validate(from_tree(tree)[0], Facts())
    assert not apply_overrides(tree, [(key, value)])
    (problem,) = validate(from_tree(tree)[0], Facts())
    assert problem.startswith("config.recipe.views is a, b, c") and f"config.{key} " in problem
