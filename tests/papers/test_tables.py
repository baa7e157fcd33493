from score_records import knn, score

from barlow_jax.papers import published, tables
from barlow_jax.papers.scores import Evaluation


def _evaluation(*scores, source="pretrained", **more):
    return Evaluation(source, 1, scores, **more)


def test_a_missing_measurement_names_the_command_that_makes_it():
    rows = {row.name: row for row in tables.published_table(_evaluation(knn(88.0)), "mine").rows}
    assert rows["linear, top-1"].reason == "run probe or evaluate"
    assert rows["fine-tuned, 1% of labels, top-1"].reason == "run finetune or evaluate"
    assert rows["k-NN 20, top-1"].measured == 88.0 and rows["k-NN 20, top-1"].reason is None
    assert rows["linear, top-1"].published["Barlow Twins"] == 73.2


def test_feature_sources_need_not_have_the_same_measurements():
    linear = (score("probe", 7.0, label_fraction=0.1), score("probe", 8.0, "top5", 0.1))
    columns = {"pixels": _evaluation(knn(9.0)), "pretrained": _evaluation(*linear)}
    assert [(row.name, row.values) for row in tables.rows_by_source(columns)] == [
        ("linear, 10% of labels", {"pixels": None, "pretrained": 7.0}),
        ("k-NN 20, 100% of labels", {"pixels": 9.0, "pretrained": None}),
    ]


def test_retrieval_on_coco_has_the_papers_rows():
    sources = ("chance", "untrained", "pretrained")
    recall = score("retrieve", 1.0, "recall", k=1, direction="image_to_text")
    evaluations = [_evaluation(recall, source=source) for source in sources]
    rows = tables.retrieval_rows(evaluations, "captioned_digits")
    assert list(rows) == list(sources) and rows["chance"] == {"image_to_text": {1: 1.0}}
    coco = tables.retrieval_rows(evaluations, "coco_captions/2014")
    assert len(coco) == 3 + len(published.RETRIEVAL)
    assert coco["VICReg (published)"] is published.RETRIEVAL["VICReg"]
