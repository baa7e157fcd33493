"""Reading of result files: which scores count if several files have the same evaluation."""

import json

from score_records import knn, result, score

from barlow_jax.papers.scores import (
    Evaluation,
    by_data,
    describe_data,
    parse_evaluations,
    parse_scores,
    read_evaluations,
)


def test_scores_survive_json_and_leave_out_fields_that_do_not_apply():
    scores = (score("probe", 91.26, label_fraction=0.1, repeats=3), knn(88.0, k=5, distance="euclidean"))
    records = json.loads(json.dumps([s.to_json() for s in scores]))
    assert parse_scores(records) == scores
    assert "k" not in records[0] and records[1]["k"] == 5


def test_a_file_holds_one_evaluation_several_or_none():
    one = Evaluation("untrained", 0, (knn(50.0),), {"voc07": "not prepared"})
    assert parse_evaluations(one.to_json()) == [one]
    assert parse_evaluations({"evaluations": [one.to_json()] * 2}) == [one, one]
    assert parse_evaluations({"step": 30, "loss": 1.0}) == []


def test_the_later_step_counts_and_a_step_may_be_asked_for():
    old, new = ((score("probe", top1), knn(top1)) for top1 in (1.0, 2.0))
    evaluate = [result("pixels", -1, *old), result("pretrained", 10, *old)]
    results = {
        "evaluate": {"evaluations": evaluate},
        "probe": result("pretrained", 20, new[0]),
        "probe-untrained": result("untrained", 0, *new),
        "knn": result("pretrained", 5, *new),
        "pretrain": {"step": 30, "loss": 1.0},
    }
    merged = read_evaluations(results)
    assert list(merged) == ["pixels", "untrained", "pretrained"]
    assert merged["pretrained"].step == 20
    assert set(merged["pretrained"].scores) == {new[0], old[1]}
    at_5 = read_evaluations(results, step=5)["pretrained"]
    assert at_5.step == 5 and at_5.scores == new
    assert "pretrained" not in read_evaluations(results, step=30)


def test_at_the_same_step_evaluate_counts_and_retrieval_never_does():
    results = {
        "evaluate": {"evaluations": [result("pretrained", 5, knn(2.0))]},
        "knn": result("pretrained", 5, knn(1.0)),
        "retrieve": {"evaluations": [result("pretrained", 9, score("retrieve", 3.0, "recall", k=1))]},
    }
    assert read_evaluations(results)["pretrained"] == Evaluation("pretrained", 5, (knn(2.0),))


def test_a_later_transfer_replaces_the_scores_and_the_reasons():
    voc = score("transfer", 80.0, "map", data_set="voc07")
    evaluate = result("pretrained", 5, knn(2.0), not_measured={"voc07": "not prepared"})
    results = {"evaluate": {"evaluations": [evaluate]}, "transfer": result("pretrained", 9, voc)}
    assert read_evaluations(results)["pretrained"] == Evaluation("pretrained", 9, (knn(2.0), voc))


def test_two_files_of_transfers_are_merged_by_data_set():
    places, voc = (
        score("transfer", 50.0, data_set="places205"),
        score("transfer", 80.0, "map", data_set="voc07"),
    )
    results = {
        "transfer-places205": result("pretrained", 5, places),
        "transfer-voc07": result("pretrained", 5, voc),
    }
    assert set(read_evaluations(results)["pretrained"].scores) == {places, voc}


def test_results_are_grouped_by_their_images_and_those_of_other_encoders_left_out():
    own = {"name": "images", "data_dir": "/a/pets", "train_split": "train", "eval_split": "val"}
    own |= {"eval_images": 40, "num_classes": 3}
    other = own | {"data_dir": "/b/farm", "shared_images": 9}
    results = {
        "knn@folder-1": result("pretrained", 5, knn(1.0), data=other),
        "knn": result("pretrained", 5, knn(2.0), data=own),
        "probe": result("pretrained", 5, score("probe", 3.0), data=own),
        "probe@folder-2": result("pretrained", 5, score("probe", 4.0), data=own, encoder="/x"),
        "transfer": result("pretrained", 5, score("transfer", 5.0, data_set="voc07")),
        "pretrain": {"step": 5, "data": own},
    }
    first, second = by_data(results)
    assert set(first) == {"knn", "probe", "transfer", "pretrain"} and set(second) == {"knn"}
    assert second["knn"]["scores"][0]["value"] == 1.0
    assert describe_data(first) == "images (pets), split val (40 images, 3 classes)"
    assert (
        describe_data(second) == "images (farm), split val (40 images, 3 classes, 9 of them used in training)"
    )
    assert by_data({}) == [{}]
