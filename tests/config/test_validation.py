import pytest

from barlow_jax.config.overrides import apply_overrides, default_config, from_tree
from barlow_jax.config.validation import Facts, validate


def _problems(facts, **overrides):
    tree = default_config().to_dict()
    pairs = [(key.replace("__", "."), str(value)) for key, value in overrides.items()]
    assert not apply_overrides(tree, pairs)
    return validate(from_tree(tree)[0], facts)


def test_the_defaults_are_right():
    assert not _problems(Facts(64, {"train": 1_281_167, "validation": 50_000}))


W_MSE = "jitter,grayscale,crop,rotate,flip,blur,solarize,normalize"  # its color jitter comes before the crop


def test_color_before_the_crop_is_the_hosts():
    assert not _problems(Facts(8), recipe__views__b__order=W_MSE)
    (problem,) = _problems(Facts(8), recipe__views__b__order=W_MSE, data__augment_on="device")
    assert problem.startswith("config.recipe.views.b.order: jitter comes before crop, and the accelerator")
    assert "set config.data.augment_on=host" in problem


def test_an_op_that_is_never_applied_may_stand_anywhere():
    off = {"recipe__views__b__jitter__probability": 0, "recipe__views__b__grayscale__probability": 0}
    assert not _problems(Facts(8), recipe__views__b__order=W_MSE, data__augment_on="device", **off)
    turned = "flip,crop,jitter,grayscale,rotate,blur,solarize,normalize"
    (problem,) = _problems(Facts(8), recipe__views__b__order=turned, data__augment_on="device", **off)
    assert "flip comes before crop" in problem
    late = "crop,jitter,grayscale,rotate,blur,solarize,flip,normalize"
    assert not _problems(Facts(8), recipe__views__b__order=late, data__augment_on="device")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"train__batch_size": 100},
            "config.train.batch_size: 100 is not divisible by the 8 devices; the next that is: 104",
        ),
        ({"eval_batch_size": 9}, "config.eval_batch_size: 9 is not divisible by the 8 devices"),
        ({"train__batch_size": 8000}, "has 5000 images, fewer than one batch of 8000"),
        ({"data__image_size": 300}, "the crop of 300 pixels is larger than the image"),
        ({"data__image_size": 16}, "needs 32 pixels or more, got 16"),
        ({"data__max_decode_failures": -1}, "config.data.max_decode_failures: must not be negative"),
        (
            {"transfer__voc07__data__max_decode_failures": -1},
            "config.transfer.voc07.data.max_decode_failures: must not be negative",
        ),
        (
            {"data__name": "arrays"},
            "config.data.augment_on: the host's ops are TensorFlow's, and arrays are read without it",
        ),
        ({"transfer__voc07__data__name": "arrays"}, "set config.transfer.voc07.data.augment_on=device"),
        (
            {"data__name": "arrays", "data__augment_on": "device", "data__cache": "encoded"},
            "arrays are in memory as they are",
        ),
        ({"data__cache": "decoded"}, "set config.data.augment_on=device, or config.data.cache=encoded"),
        ({"train__num_epochs": 0, "optim__warmup_epochs": 0}, "config.train.num_epochs: must be above 0"),
        ({"train__num_epochs": 5}, "config.optim.warmup_epochs: 10.0 is longer than the run"),
        ({"optim__learning_rate": -0.1}, "config.optim.learning_rate: must be above 0"),
        ({"optim__weight_decay": -1}, "config.optim.weight_decay: must not be negative"),
        ({"optim__momentum": 1}, "config.optim.momentum: must lie in 0..1, 1 excluded"),
        ({"network__projector": ""}, "config.network.projector: needs one or more widths"),
        (
            {"network__predictor": "64"},
            "config.network.predictor: needs widths from 1 that end in the projector's 8192",
        ),
        (
            {"network__num_classes": 10},
            "config.network.num_classes: barlow_twins has no use for it; set it to 0",
        ),
        (
            {"objective__barlow_twins__temperature": 0.1, "objective__form": "gram"},
            "temperature: the cross-entropy reads",
        ),
        (
            {"objective__barlow_twins__temperature": 0},
            "config.objective.barlow_twins.temperature: must be above 0",
        ),
        (
            {"objective__barlow_twins__invariance_weight": -1},
            "barlow_twins.invariance_weight: must not be negative",
        ),
        (
            {"objective__name": "barlow"},
            "config.objective.name: there is no method 'barlow'; there are barlow_twins, ",
        ),
        (
            {"network__second_encoder": "resnet18"},
            "config.network.second_encoder: belongs to config.network.branches=own",
        ),
        (
            {"network__branches": "own", "network__second_encoder": "vgg"},
            "second_encoder: must be one of resnet8, ",
        ),
        (
            {"network__encoder": "vit_small", "network__patch": 15},
            "patches of config.network.patch = 15, which must divide it",
        ),
        (
            {"recipe__views__a__crop__size": 16},
            "config.recipe.views.a.crop.size: resnet50 with the imagenet stem",
        ),
        ({"optim__grad_scale": 0}, "config.optim.grad_scale: must be above 0"),
        ({"knn__k": "0"}, "config.knn.k: needs one or more numbers from 1"),
        ({"probe__label_fractions": "0,1"}, "config.probe.label_fractions: needs numbers above 0"),
        ({"knn__euclidean_k": "5,0"}, "config.knn.euclidean_k: needs numbers from 1"),
        (
            {"probe__milestones": "0.6,0.3"},
            "config.probe.milestones: needs rising shares of the epochs in 0..1",
        ),
        (
            {"probe__milestones": "0.5,1"},
            "config.probe.milestones: needs rising shares of the epochs in 0..1",
        ),
        ({"probe__decay": 0}, "config.probe.decay: must be above 0"),
        ({"probe__momentum": 1.5}, "config.probe.momentum: must lie in 0..1, 1 excluded"),
        (
            {"probe__nesterov": True, "probe__momentum": 0},
            "config.probe.nesterov: needs config.probe.momentum above 0",
        ),
        ({"probe__solver": "lbfgs"}, "set config.probe.augment=false"),
        (
            {"probe__solver": "lbfgs", "probe__augment": False, "probe__tolerance": 0},
            "config.probe.tolerance: must be above 0",
        ),
        (
            {"recipe__views__a__flip__probability": 1.5},
            "config.recipe.views.a.flip.probability: must lie in 0..1",
        ),
        (
            {"recipe__views__b__crop__min_area": 0},
            "config.recipe.views.b.crop: needs 0 < min_area <= max_area <= 1",
        ),
        (
            {"recipe__views__a__blur__min_sigma": 3},
            "config.recipe.views.a.blur: needs 0 <= min_sigma <= max_sigma",
        ),
        ({"recipe__views__a__jitter__hue": 0.7}, "config.recipe.views.a.jitter"),
        ({"recipe__views__a__order": "crop,flip"}, "config.recipe.views.a.order: must name each op once"),
        (
            {"recipe__views__a__order": "normalize,crop,rotate,flip,jitter,grayscale,blur,solarize"},
            "normalize must be last",
        ),
        ({"recipe__views__a__normalize__std": "1,1,0"}, "config.recipe.views.a.normalize"),
        ({"mesh__slices": 3}, "config.mesh.slices: 8 devices are not divisible into 3 slices"),
        ({"mesh__slices": 0}, "config.mesh.slices: must be 1 or more, got 0"),
        (
            {"mesh__projector": "sharded", "network__projector": "64,12"},
            "the width 12 is not divisible by the 8 devices",
        ),
        ({"recipe__views__a__solarize__threshold": 300}, "solarize.threshold: must lie in 0..256"),
    ],
)
def test_what_cannot_work_is_one_sentence(overrides, words):
    (problem,) = _problems(Facts(8, {"train": 5000}), **overrides)
    assert words in problem


def test_classification_wants_classes_one_view_and_no_projector():
    problems = _problems(Facts(8), objective__name="classification")
    assert [problem.partition(":")[0] for problem in problems] == [
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
        ("svm.costs", "", "needs one or more numbers above 0"),
        ("svm.costs", "1,0", "needs one or more numbers above 0"),
        ("svm.folds", 1, "cross-validation needs 2 or more, got 1"),
        ("svm.positive_weight", 0, "must be above 0"),
        ("svm.max_iterations", 0, "must be above 0"),
        ("probe.learning_rate", 0, "must be above 0, got 0.0"),
        ("probe.milestones", "0.6,0.3", "needs rising shares of the epochs in 0..1"),
    ],
)
def test_a_transfers_problems_say_where_they_stand(key, value, words):
    (problem,) = _problems(Facts(8), **{f"transfer.voc07.{key}": value})
    assert problem.startswith(f"config.transfer.voc07.{key}: {words}")


def _text_problems(**overrides):
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
def test_a_caption_takes_the_place_of_view_b(name):
    assert not _text_problems(**{"objective.name": name})
    assert not _text_problems(**{"network.encoder": "vit_small", "data.augment_on": "device"})


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"data.caption_words": "0"},
            "config.data.caption_words: config.network.second_encoder=gru reads captions",
        ),
        (
            {"data.caption_words": "-3"},
            "config.data.caption_words: config.network.second_encoder=gru reads captions",
        ),
        (
            {"network.second_encoder": "none"},
            "config.data.caption_words: captions need config.network.branches=own",
        ),
        (
            {"network.branches": "shared"},
            "config.network.second_encoder: belongs to config.network.branches=own",
        ),
        ({"data.name": "folder"}, "config.data.name: folder has no captions; captioned_digits and"),
        (
            {"data.cache": "decoded", "data.augment_on": "device"},
            "config.data.cache: of images on the devices a step",
        ),
        ({"data.name": "captioned_digits"}, "set config.data.augment_on=device"),
        ({"network.text.vocabulary_size": "2"}, "config.network.text.vocabulary_size: needs 3 rows or more"),
        ({"network.text.hidden_size": "0"}, "config.network.text.hidden_size: must be above 0"),
        ({"network.text.embedding_size": "0"}, "config.network.text.embedding_size: must be above 0"),
        ({"data.caption_min_count": "0"}, "config.data.caption_min_count: must be above 0"),
        (
            {"objective.name": "classification"},
            "config.network.branches: classification has one network for all views",
        ),
        ({"retrieval.k": "1,0"}, "config.retrieval.k: needs one or more numbers from 1"),
        (
            {"retrieval.captions_per_image": "0"},
            "config.retrieval.captions_per_image: must be 1 or more, or none",
        ),
    ],
)
def test_what_a_run_on_captions_lacks_is_named(overrides, words):
    assert any(words in problem for problem in _text_problems(**overrides))


def test_images_have_no_view_b_where_captions_are_it():
    overrides = {"data__caption_words": 32, "network__branches": "own", "network__second_encoder": "gru"}
    (problem,) = _problems(Facts(8), **overrides)
    assert "view b is a caption" in problem and "a alone, got a, b" in problem
