"""transfer through the entry point: VOC07's protocol end to end on a small multi-label data set."""

import dataclasses
import json

import multi_label  # makes TFDS know multi_digits
import pytest
from sklearn.svm import LinearSVC

from barlow_jax.config.overrides import from_tree
from barlow_jax.evals.accuracy import average_precision
from barlow_jax.experiment.experiment import Experiment

MULTI_LABEL = (
    "--only",
    "voc07",
    "--config.transfer.voc07.data.name=multi_digits",
    "--config.transfer.voc07.data.image_size=24",
    "--config.transfer.voc07.data.eval_resize=24",
    "--config.transfer.voc07.svm.costs=0.1,1,10",
)


def test_multi_label_images_are_ranked_by_svms(workdir, run_command):
    results, log = run_command("transfer", "--workdir", workdir, *MULTI_LABEL)
    (score,), voc = results["scores"], results["transfer"]["voc07"]
    assert (score["data_set"], score["classifier"], score["metric"]) == ("voc07", "svm", "map")
    assert results["step"] == 22 and len(voc["per_class"]) == len(voc["costs"]) == len(multi_label.CLASSES)
    assert set(voc["costs"]) <= {0.1, 1.0, 10.0}
    assert score["value"] == pytest.approx(sum(voc["per_class"]) / len(voc["per_class"]), abs=0.02)
    assert f"voc07: map {score['value']}" in log
    stored = json.loads((workdir / "results" / "transfer-voc07.json").read_text())
    assert stored == results


def test_the_svms_are_scikit_learns_on_the_tables_of_trainval_and_test(workdir, run_command):
    """Pixels make the tables easy to check: train and validation together, then one class by hand."""
    results, _ = run_command("transfer", "--workdir", workdir, "--pixels", *MULTI_LABEL)
    details = results["transfer"]["voc07"]
    config, _ = from_tree(json.loads((workdir / "config.json").read_text()))
    data = dataclasses.replace(
        config.transfer["voc07"].data, name="multi_digits", image_size=24, eval_resize=24
    )
    experiment = Experiment.from_config(dataclasses.replace(config, data=data))
    encode, _ = experiment.encoder(workdir, "pixels")
    train, test, _ = experiment.feature_tables(encode)
    assert len(train.labels) == multi_label.SPLITS["train"] + multi_label.SPLITS["validation"]
    unit = [
        table.features / ((table.features**2).sum(1, keepdims=True) ** 0.5 + 1e-5) for table in (train, test)
    ]
    target = (train.labels[:, 0] == 1) * 2 - 1
    svm = LinearSVC(
        C=details["costs"][0], class_weight={1: 2, -1: 1}, tol=1e-4, max_iter=2000, dual=True, random_state=0
    )
    decision = svm.fit(unit[0], target).decision_function(unit[1])
    ranked = test.labels[:, 0] >= 0
    expected = average_precision(test.labels[ranked, 0] == 1, decision[ranked], "interpolated")
    assert details["per_class"][0] == pytest.approx(100 * expected, abs=0.5)


def test_single_label_images_are_probed_with_the_papers_protocol(workdir, run_command):
    argv = (
        "--only",
        "inat18",
        "--config.transfer.inat18.data.name=digits",
        "--config.transfer.inat18.data.eval_split=test",
        "--config.transfer.inat18.data.image_size=8",
        "--config.transfer.inat18.data.eval_resize=8",
        "--config.transfer.inat18.probe.num_epochs=40",
        "--config.transfer.inat18.probe.augment=false",
    )
    results, _ = run_command("transfer", "--workdir", workdir, *argv)
    scores = {score["metric"]: score["value"] for score in results["scores"]}
    assert {(score["command"], score["data_set"]) for score in results["scores"]} == {("transfer", "inat18")}
    assert 10 < scores["top1"] <= scores["best_top1"] <= 100 and scores["top1"] <= scores["top5"]


def test_data_sets_that_cannot_be_read_are_named_with_the_remedy(workdir, run_command):
    _, log = run_command("transfer", "--workdir", workdir, code=2)
    for words in (
        "config.transfer.places205.data.data_dir is none",
        "TFDS's voc/2007 is not prepared in",
        "launch/prepare_data.sh",
    ):
        assert words in log
    _, log = run_command("transfer", "--workdir", workdir, "--only", "voc", code=2)
    assert "config.transfer has no 'voc'; it has inat18, places205, voc07" in log
