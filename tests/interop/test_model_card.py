"""The card against a YAML parser and the content of a run's files."""

import dataclasses

import pytest
from score_records import knn, result, score
import yaml

from barlow_jax.config.method_facts import METHODS
from barlow_jax.config.methods import BarlowTwins
from barlow_jax.config.recipe import Custom, Recipe, View
from barlow_jax.config.schema import Config, Data, Network, Objective, Train
from barlow_jax.interop import model_card
from barlow_jax.interop.citations import PAPERS
from barlow_jax.interop.encoder import TrainedEncoder

CONFIG = Config(
    data=Data(
        name="cifar10",
        eval_split="test",
        image_size=24,
        eval_resize=28,
        data_dir="/home/me/secret",
        labels="/home/me/secret.csv",
    ),
    network=Network(encoder="resnet18", dtype="float32"),
    objective=Objective(barlow_twins=BarlowTwins(off_diagonal_weight=0.01)),
    train=Train(num_epochs=80.0, compilation_cache="/home/me/cache"),
    recipe=Recipe({"a": View(custom=Custom(function="/home/me/own.py:shift"))}),
)
ENTRY = {
    "version": "0.1.0",
    "commit": "abc123",
    "python": "3.11.2",
    "platform": "Linux",
    "packages": {"jax": "0.10.2"},
    "devices": {"kind": "TPU v5e", "count": 16, "processes": 4},
    "command": ["pretrain", "--workdir", "/home/me/run"],
    "starts": 3,
    "first": "2026-01-01T00:00:00+00:00",
    "last": "2026-01-02T00:00:00+00:00",
}
PROBE = (score("probe", 41.04, "top1", 0.01), score("probe", 91.26), score("probe", 99.0, "top5"))
KNN = (knn(88.88), knn(87.0, k=5, distance="euclidean"))


@pytest.fixture
def trained():
    def make(step=100, results=None, **changes):
        return TrainedEncoder(dataclasses.replace(CONFIG, **changes), {}, {}, step, [ENTRY], results or {})

    return make


def _text(trained, **more):
    return model_card.text(trained, ["import timm"], library="timm", **more)


def _section(text, title):
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def _front(text):
    before, front, _ = text.split("---\n", 2)
    assert before == ""
    return yaml.safe_load(front)


def test_the_front_matter_is_what_the_hub_reads(trained):
    given = dataclasses.replace(trained(), license="cc-by-nc-4.0")
    assert _front(_text(given)) == {
        "library_name": "timm",
        "pipeline_tag": "image-feature-extraction",
        "license": "cc-by-nc-4.0",
        "tags": ["image-feature-extraction", "timm", "self-supervised-learning", "barlow-twins"],
        "datasets": ["uoft-cs/cifar10"],
    }
    assert "`cc-by-nc-4.0`" in _section(_text(given), "Licence")
    front = _front(_text(trained(data=Data(name="images", data_dir="/home/me"))))
    assert front["license"] == "other" and "datasets" not in front


def test_a_word_that_yaml_would_misread_stays_a_word(trained):
    assert _front(_text(dataclasses.replace(trained(), license="no: [x")))["license"] == "no: [x"


def test_the_training_is_described_without_local_folders(trained):
    results = {"pretrain": {"step": 200, "epochs": 40.0}}
    text = _text(trained(results=results))
    section = _section(text, "Training")
    assert (
        "100 updates (20 epochs) of a schedule of 80 epochs" in section
        and "the split `train` of `cifar10`" in section
    )
    assert "| `objective.barlow_twins.off_diagonal_weight` | `0.01` | `0.0051` |" in section
    assert "| `data.image_size` | `24` | `224` |" in section and "`network.width`" not in section
    assert "/home/me" not in text and "| `recipe.views.a.custom.function` | `own.py:shift` |" in section
    assert "100 updates of a schedule" in _section(_text(trained()), "Training")


def test_settings_of_a_method_that_was_not_used_are_left_out(trained):
    objective = Objective(name="vicreg", barlow_twins=BarlowTwins(off_diagonal_weight=0.01))
    text = _text(trained(objective=objective))
    assert "off_diagonal_weight" not in text and "| `objective.name` | `vicreg` | `barlow_twins` |" in text
    assert "@inproceedings{bardes2022vicreg," in text and "@inproceedings{zbontar2021barlow," in text


def test_accuracies_are_next_to_those_of_the_untrained_encoder(trained):
    results = {
        "probe": result("pretrained", 100, *PROBE),
        "probe-untrained": result("untrained", 0, score("probe", 70.0)),
        "knn": result("pretrained", 100, *KNN),
    }
    rows = [
        line
        for line in _section(_text(trained(results=results)), "Results").splitlines()
        if line.startswith("|")
    ]
    assert rows == [
        "| | untrained | pretrained |",
        "|---|---|---|",
        "| linear, 1% of labels | not measured | 41.0 |",
        "| linear, 100% of labels | 70.0 | 91.3 |",
        "| k-NN 20, 100% of labels | not measured | 88.9 |",
        "| k-NN 5 Euclidean, 100% of labels | not measured | 87.0 |",
    ]


def test_what_evaluate_measured_is_shown_with_the_pixels(trained):
    evaluations = [
        result("pixels", -1, score("probe", 38.4)),
        result("untrained", 0, *PROBE),
        result("pretrained", 100, *PROBE),
    ]
    section = _section(_text(trained(results={"evaluate": {"evaluations": evaluations}})), "Results")
    assert "| linear, 100% of labels | 38.4 | 91.3 | 91.3 |" in section


def test_each_number_is_under_the_data_that_it_was_measured_on(trained):
    own = {"name": "cifar10", "data_dir": None, "train_split": "train", "eval_split": "test"}
    own |= {"eval_images": 10_000, "num_classes": 10}
    other = own | {"name": "images", "data_dir": "/home/me/pets", "eval_images": 500, "num_classes": 2}
    balanced = score("probe", 60.0, "balanced_accuracy")
    results = {
        "probe": result("pretrained", 100, *PROBE, balanced, data=own),
        "probe@folder-1": result("pretrained", 100, score("probe", 77.0), data=other),
    }
    section = _section(_text(trained(results=results)), "Results")
    first, second = section.split("images (pets), split test (500 images, 2 classes)")
    assert "cifar10, split test (10000 images, 10 classes)" in first
    assert "| 91.3 |" in first and "| 60.0 |" in first and "77.0" not in first
    assert "| 77.0 |" in second and "91.3" not in second


def test_results_of_another_step_are_not_these_weights(trained):
    given = trained(step=50, results={"probe": result("pretrained", 100, *PROBE)})
    section = _section(_text(given), "Results")
    assert section.strip() == "Not measured for these weights (results exist for step 100)."
    assert _section(_text(trained()), "Results").strip() == "Not measured for these weights."


def test_weights_from_a_file_have_no_history(trained):
    given = dataclasses.replace(trained(step=-1), provenance=[])
    text = _text(given)
    assert _section(text, "Training").strip() == "Not recorded."
    assert "is not recorded" in text and "resnet18, weights from a file" in text
    assert "datasets" not in _front(text) and "self-supervised-learning" not in _front(text)["tags"]


def test_code_and_devices_are_described_and_no_command(trained):
    section = _section(_text(trained()), "Code")
    for words in (
        "barlow_jax 0.1.0, commit `abc123`, Python 3.11.2, on 16 x TPU v5e",
        "jax 0.10.2",
        "Number of starts: 3",
    ):
        assert words in section
    assert "--workdir" not in section


def test_a_network_with_a_classifier_had_labels(trained):
    network = Network(encoder="resnet18", projector=(), num_classes=10)
    given = trained(network=network, objective=Objective(name="classification"))
    text = _text(given)
    assert "with labels by classification" in text
    assert "self-supervised-learning" not in _front(text)["tags"]
    rotation = _text(trained(network=network, objective=Objective(name="rotation")))
    assert "without labels by Rotation" in rotation


def test_every_method_has_its_paper():
    assert set(PAPERS) == set(METHODS) - {"classification"}
    for entry in PAPERS.values():
        assert entry.count("{") == entry.count("}") and entry.startswith("@") and "year      = {20" in entry
