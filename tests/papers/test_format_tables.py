from score_records import knn, score

from barlow_jax.papers import published, tables
from barlow_jax.papers.scores import Evaluation

SCORES = (
    score("probe", 91.0),
    score("probe", 99.0, "top5"),
    knn(85.0, k=20),
    knn(83.0, k=200),
    knn(88.0, k=5, distance="euclidean"),
)


def _rows(lines):
    return {line[:36].strip(): line[36:].split() for line in lines}


def test_small_data_sets_have_the_small_papers_columns():
    evaluation = Evaluation("pretrained", 1, SCORES)
    lines = tables.format_published(evaluation, "cifar10").splitlines()
    assert lines[0] == "published on cifar10, ResNet-18; this run on cifar10"
    rows = _rows(lines[1:])
    # One row per protocol: online during 1000 epochs, and on frozen features.
    assert rows["linear, top-1 (solo-learn, online)"] == ["90.7", "92.6", "-", "-", "92.1", "92.1", "91.0"]
    assert rows["linear, top-1 (W-MSE's paper)"] == ["91.8", "91.7", "91.5", "92.0", "-", "-", "91.0"]
    assert rows["k-NN 5 Euclidean, top-1"] == ["88.4", "89.5", "89.7", "89.9", "-", "-", "88.0"]
    assert rows["k-NN 200, top-1"][-2:] == ["84.2", "83.0"]


def test_a_transfer_to_a_data_set_of_the_users_own_is_a_row_too():
    flowers = score("transfer", 70.0, data_set="flowers")
    voc = score("transfer", 80.0, "map", data_set="voc07", classifier="svm")
    evaluation = Evaluation("pretrained", 1, (*SCORES, flowers, voc))
    rows = _rows(tables.format_published(evaluation, "mine").splitlines())
    assert rows["transfer, flowers"] == ["-"] * 5 + ["70.0"]
    assert rows["transfer, VOC07, mAP"] == ["87.5", "85.5", "86.6", "88.9", "86.2", "80.0"]
    assert list(rows).index("transfer, VOC07, mAP") < list(rows).index("transfer, flowers")


def test_published_numbers_are_on_coco_alone_next_to_retrieval():
    recall = [
        score("retrieve", value, "recall", k=k, direction=direction)
        for direction in ("image_to_text", "text_to_image")
        for k, value in ((1, 50.0), (5, 60.0), (10, 70.0))
    ]
    sources = ("chance", "untrained", "pretrained")
    evaluations = [Evaluation(source, 1, tuple(recall)) for source in sources]
    lines = tables.format_retrieval(evaluations, "coco_captions/2014").splitlines()
    (barlow,) = (line for line in lines if line.startswith("Barlow Twins"))
    assert barlow.split()[-6:] == ["42.9", "74.0", "83.5", "31.4", "60.4", "75.1"]
    assert "Barlow" not in tables.format_retrieval(evaluations, "captioned_digits")


def test_the_papers_own_numbers():
    """Tables 1 to 3 of Barlow Twins, its own rows."""
    assert published.LINEAR["Barlow Twins"] == (73.2, 91.0)
    assert published.SEMI_SUPERVISED["Barlow Twins"] == {0.01: (55.0, 79.2), 0.1: (69.7, 89.3)}
    assert published.DETECTION["Barlow Twins"][::3] == (56.8, 39.2, 34.3)
    assert published.DETECTION_FPN["VICReg"] == (82.4, 39.4, 36.4)
    assert published.TRANSFER["Barlow Twins"] == {"places205": 54.1, "voc07": 86.2, "inat18": 46.5}


def test_numbers_of_one_protocol_are_of_one_source():
    """W-MSE's table has the same methods for each of its four data sets, in both of its columns."""
    linear = published.SMALL_LINEAR["W-MSE's paper"]
    assert (
        linear.keys()
        == published.SMALL_EUCLIDEAN5.keys()
        == {"cifar10", "cifar100", "stl10", "tiny_imagenet"}
    )
    for data_set, row in linear.items():
        assert row.keys() == published.SMALL_EUCLIDEAN5[data_set].keys()
    assert (linear["cifar100"]["BYOL"], linear["tiny_imagenet"]["W-MSE 4"]) == (66.60, 49.22)
    assert published.SMALL_LINEAR["solo-learn, online"]["cifar100"]["BYOL"] == 70.46
