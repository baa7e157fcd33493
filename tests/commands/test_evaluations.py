"""probe, knn and evaluate on one small run, through the entry point."""

import json

import numpy as np
import pytest
from score_records import by_fraction
from sklearn.datasets import load_digits

from barlow_jax.experiment import evaluations


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Function from labels of 120 digits to flags that evaluate on them, a third of them tests."""
    pixels = (load_digits().images[:120] * 15).astype(np.uint8)

    def write(labels):
        root = tmp_path_factory.mktemp("arrays")
        for split, rows in (("train", slice(80)), ("test", slice(80, 120))):
            named = {} if labels is None else {"labels": labels[rows]}
            np.savez(root / f"{split}.npz", images=pixels[rows], **named)
        data = {"name": "images", "data_dir": root, "augment_on": "device", "canvas": 8}
        return [
            "--config.train.batch_size=64",
            *(f"--config.data.{key}={value}" for key, value in data.items()),
        ]

    return write


def _metrics(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def _stored(workdir, name):
    return json.loads((workdir / "results" / f"{name}.json").read_text())


@pytest.mark.parametrize("command", ["probe", "knn"])
@pytest.mark.parametrize("source", ["pretrained", "untrained", "pixels"])
def test_each_feature_source_has_its_own_result_file(workdir, run_command, command, source):
    flags = [] if source == "pretrained" else [f"--{source}"]
    results, _ = run_command(command, "--workdir", workdir, *flags)
    assert results == _stored(workdir, command if source == "pretrained" else f"{command}-{source}")
    assert results["feature_source"] == source
    assert results["step"] == {"pretrained": 22, "untrained": 0, "pixels": -1}[source]
    scores = results["scores"]
    assert set(by_fraction(results)) == {0.1, 1.0}
    assert {score["command"] for score in scores} == {command}
    assert {(score["data_set"], score["split"], score["num_images"]) for score in scores} == {
        ("digits", "test", 360)
    }
    assert {(score["label_fraction"], score["repeats"]) for score in scores} == {(0.1, 2), (1.0, 1)}
    assert all(0 <= score["value"] <= 100 for score in scores)
    assert set(by_fraction(results, "balanced_accuracy")) == {0.1, 1.0}


def test_pixels_are_classified_as_well_as_scikit_learn_does(workdir, run_command):
    """Eight by eight pixels, k = 20: scikit-learn's KNeighborsClassifier reaches 96 to 98 % on them."""
    results, _ = run_command("knn", "--workdir", workdir, "--pixels")
    assert 95 <= by_fraction(results, k=20)[1.0] <= 100


def test_evaluations_repeat_exactly(workdir, run_command):
    first, second = (run_command("probe", "--workdir", workdir)[0] for _ in range(2))
    assert first == second | {"date": first["date"]}


@pytest.mark.slow
@pytest.mark.parametrize("augment_on", ["host", "device"])
def test_the_probe_may_augment_its_training_images(workdir, run_command, augment_on):
    results, _ = run_command(
        "probe",
        "--workdir",
        workdir,
        "--config.probe.augment=true",
        "--config.probe.num_epochs=1",
        f"--config.data.augment_on={augment_on}",
    )
    assert set(by_fraction(results)) == {0.1, 1.0}


def _stop_before_the_last_part(monkeypatch, run_command, argv):
    """Stop `evaluate` before the pretrained encoder is fine-tuned; return the number of parts on disk."""
    finetuned = evaluations.Evaluator.finetuned

    def stop(evaluator, fractions):
        if evaluator.state.step:
            raise KeyboardInterrupt
        return finetuned(evaluator, fractions)

    with monkeypatch.context() as patch:
        patch.setattr(evaluations.Evaluator, "finetuned", stop)
        run_command(*argv, code=130)
    return len((argv[2] / "results" / ".evaluate.jsonl").read_text().splitlines())


def test_evaluate_resumes_and_prints_its_table_the_papers_table_and_what_is_missing(
    workdir, run_command, monkeypatch
):
    fast = ("--config.finetune.num_epochs=2", "--config.finetune.subset_repeats=1")
    argv = ("evaluate", "--workdir", workdir, "--config.finetune.label_fractions=0.1", *fast)
    assert _stop_before_the_last_part(monkeypatch, run_command, argv) == 7
    monkeypatch.setattr(evaluations.Evaluator, "frozen", lambda *_: pytest.fail("measured again"))
    results, log = run_command(*argv)
    assert not (workdir / "results" / ".evaluate.jsonl").exists()
    assert results == _stored(workdir, "evaluate")
    lines, pretrained = log.splitlines(), results["evaluations"][2]
    top1 = f"{by_fraction(pretrained, command='probe')[1.0]:.1f}"
    top5 = f"{by_fraction(pretrained, 'top5', command='finetune')[0.1]:.1f}"
    table = lines[lines.index(next(line for line in lines if line.startswith("top-1, %"))) :]
    assert table[0].split() == ["top-1,", "%", "pixels", "untrained", "pretrained"]
    assert [line[:34].strip() for line in table[1:9]] == [
        "linear, 10% of labels",
        "linear, 100% of labels",
        "k-NN 20, 10% of labels",
        "k-NN 200, 10% of labels",
        "k-NN 20, 100% of labels",
        "k-NN 200, 100% of labels",
        "k-NN 5 Euclidean, 100% of labels",
        "fine-tuned, 10% of labels",
    ]
    assert table[2].split()[-1] == top1
    assert table[8].split()[-3] == "-", "pixels have nothing to fine-tune"

    rows = {line[:36].strip(): line[36:].split() for line in table}
    assert rows["%"] == ["Supervised", "SimCLR", "BYOL", "SwAV", "Barlow", "Twins", "this", "run"]
    assert rows["linear, top-1"] == ["76.5", "69.3", "74.3", "75.3", "73.2", top1]
    assert rows["fine-tuned, 10% of labels, top-5"] == ["80.4", "87.8", "89.0", "89.9", "89.3", top5]
    assert rows["fine-tuned, 1% of labels, top-1"] == ["25.4", "48.3", "53.2", "53.9", "55.0", "-"]
    for name, reason in (
        ("fine-tuned, 1% of labels, top-1", "config.finetune.label_fractions has no 0.01"),
        ("transfer, Places205, top-1", "config.transfer.places205.data.data_dir"),
        ("transfer, VOC07, mAP", "TFDS's voc/2007 is not prepared"),
        ("transfer, iNaturalist 2018, top-1", "TFDS's i_naturalist2018 is not prepared"),
        ("detection, COCO, AP", "Detectron2"),
    ):
        assert rows[name][-1] == "-" and f"  {name}: {reason}" in log


def test_a_workdir_without_a_checkpoint_names_the_remedy(tmp_path, config_file, run_command):
    _, log = run_command("knn", "--config", config_file, "--workdir", tmp_path / "empty", code=2)
    assert "holds no checkpoint" in log and "pretrain" in log and "--untrained" in log
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize("labels", [None, np.zeros(120, int)], ids=["no labels", "one class"])
def test_no_accuracy_is_measured_without_two_classes(
    workdir, arrays, config_file, labels, run_command, tmp_path
):
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    flags = arrays(labels)
    transfer = [flag.replace("config.data", "config.transfer.inat18.data") for flag in flags]
    transfer += ["--config.transfer.inat18.data.eval_split=test", "--only", "inat18"]
    for command in ("knn", "probe", "finetune", "evaluate"):
        _, log = run_command(command, "--workdir", workdir, *flags, code=2)
        assert ("no labels" if labels is None else "1 class") in log and log.count("error: ") == 1
    run_command("transfer", "--workdir", workdir, *transfer, code=2)
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*")} == before
    argv = ("pretrain", "--config", config_file, "--workdir", tmp_path / "new", *flags)
    if labels is None:
        results, _ = run_command(*argv, "--config.train.max_steps=1", "--config.monitor.num_images=32")
        names = {"rankme", "rankme_embedding", "lidar", "alignment", "uniformity"}
        names |= {"step", "epoch", "alpha_req", "view_retrieval_top1"}
        (row,) = (row for row in _metrics(tmp_path / "new") if "rankme" in row)
        assert row.keys() == names and results["lidar"] == row["lidar"] and "knn_top1" not in results


def test_evaluate_measures_the_transfer_if_the_data_have_no_labels(workdir, arrays, run_command):
    target = {"name": "digits", "eval_split": "test", "image_size": 8, "eval_resize": 8}
    transfer = [f"--config.transfer.inat18.data.{key}={value}" for key, value in target.items()]
    probe = {"solver": "lbfgs", "augment": "false", "max_iterations": 20}
    transfer += [f"--config.transfer.inat18.probe.{key}={value}" for key, value in probe.items()]
    results, log = run_command("evaluate", "--workdir", workdir, *arrays(None), *transfer)
    (evaluation,) = results["evaluations"]
    assert {(s["command"], s["data_set"]) for s in evaluation["scores"]} == {("transfer", "inat18")}
    assert evaluation["transfer"]["inat18"]["data"]["eval_images"] == 360
    assert log.count("warning: not measured") == 1


def test_results_on_other_data_stay_apart_from_the_runs_own(workdir, arrays, run_command):
    run_command("knn", "--workdir", workdir)
    own = _stored(workdir, "knn")
    assert own["data"] == {
        "name": "digits",
        "data_dir": None,
        "train_split": "train",
        "eval_split": "test",
        "train_images": 1437,
        "eval_images": 360,
        "num_classes": 10,
        "shared_images": 0,
        "unseen_classes": {},
    }
    assert own["settings"]["knn"]["k"] == [20, 200] and own["settings"]["image_size"] == 8
    assert {"date", "version", "commit"} <= own.keys() and "encoder" not in own
    pretrained = _stored(workdir, "pretrain")
    assert 0 < pretrained["knn_balanced_accuracy"] < 1 and pretrained["data"]["num_classes"] == 10
    flags = [*arrays(load_digits().target[:120]), "--config.data.eval_split=train", "--config.knn.k=1"]
    results, log = run_command("knn", "--workdir", workdir, *flags)
    assert _stored(workdir, "knn") == own
    (other,) = (workdir / "results").glob("knn@images-*.json")
    assert json.loads(other.read_text()) == results
    assert results["data"]["shared_images"] == 80 and "80 of 80" in log
    assert by_fraction(results, k=1)[1.0] < 100, "no image is its own neighbor"
