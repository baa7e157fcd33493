from barlow_jax.papers import format_tables, published

OURS = {
    "linear": {"1": {"top1": 91.0, "top5": 99.0}},
    "knn": {"1": {"k20": 85.0, "k200": 83.0, "euclidean5": 88.0}},
    "finetune": {},
    "transfer": {},
}


def test_small_data_sets_have_the_small_papers_columns():
    lines = format_tables.beside_the_papers(OURS, "cifar10").splitlines()
    assert lines[0] == "published on cifar10, ResNet-18; this run on cifar10"
    rows = {line[:36].strip(): line[36:].split() for line in lines[1:]}
    assert rows["linear, top-1"] == ["90.7", "92.6", "91.5", "92.1", "92.1", "91.0"]
    assert rows["k-NN 5 Euclidean, top-1"] == ["88.4", "89.5", "89.7", "-", "-", "88.0"]
    assert rows["k-NN 200, top-1"][-2:] == ["84.2", "83.0"]


def test_a_transfer_of_ones_own_is_a_row_too():
    ours = OURS | {"transfer": {"flowers": {"top1": 70.0}, "voc07": {"map": 80.0}}}
    rows = {
        line[:36].strip(): line[36:].split()
        for line in format_tables.beside_the_papers(ours, "mine").splitlines()
    }
    assert rows["transfer, flowers"] == ["-"] * 5 + ["70.0"]
    assert rows["transfer, VOC07, mAP"] == ["87.5", "85.5", "86.6", "88.9", "86.2", "80.0"]
    assert list(rows).index("transfer, VOC07, mAP") < list(rows).index("transfer, flowers")


def test_the_papers_own_numbers():
    """Tables 1 to 3 of Barlow Twins, its own rows."""
    assert published.LINEAR["Barlow Twins"] == (73.2, 91.0)
    assert published.SEMI_SUPERVISED["Barlow Twins"] == {0.01: (55.0, 79.2), 0.1: (69.7, 89.3)}
    assert published.TRANSFER["Barlow Twins"] == {"places205": 54.1, "voc07": 86.2, "inat18": 46.5}
