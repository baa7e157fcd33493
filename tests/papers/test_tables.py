from barlow_jax.papers import published, tables


def test_what_was_not_measured_says_what_would():
    rows = {row.name: row for row in tables.beside_the_papers({"knn": {"1": {"k20": 88.0}}}, "mine").rows}
    assert rows["linear, top-1"].why_not == "needs probe, or evaluate"
    assert rows["fine-tuned, 1% of labels, top-1"].why_not == "needs finetune, or evaluate"
    assert rows["k-NN 20, top-1"].ours == 88.0 and rows["k-NN 20, top-1"].why_not is None
    assert rows["linear, top-1"].theirs["Barlow Twins"] == 73.2


def test_kinds_need_not_have_the_same_measurements():
    results = {
        "pixels": {"knn": {"1": {"k20": 9.0}}},
        "pretrained": {"linear": {"0.1": {"top1": 7.0, "top5": 8.0}}},
    }
    assert list(tables.by_kind(results)) == [
        ("linear, 10% of labels", [None, 7.0]),
        ("k-NN 20, 100% of labels", [9.0, None]),
    ]


def test_of_two_results_the_later_step_counts_and_a_step_may_be_asked_for():
    old, new = ({"linear": {"1": {"top1": top1}}, "knn": {"1": {"k20": top1}}} for top1 in (1.0, 2.0))
    results = {
        "evaluate": {"pixels": {"step": -1, **old}, "pretrained": {"step": 10, **old}},
        "probe": {"features": "pretrained", "step": 20, "linear": new["linear"]},
        "probe-untrained": {"features": "untrained", "step": 0, **new},
        "knn": {"step": 5, **new},
        "pretrain": {"step": 30, "loss": 1.0},
    }
    found = tables.of_run(results)
    assert list(found) == ["pixels", "untrained", "pretrained"]
    assert found["pretrained"] == {"step": 20, "linear": new["linear"], "knn": old["knn"]}
    assert tables.of_run(results, step=5)["pretrained"] == {"step": 5, **new}
    assert "pretrained" not in tables.of_run(results, step=30)


def test_retrieval_on_coco_has_the_papers_rows():
    results = {kind: {"image_to_text": {"r1": 1.0}} for kind in ("chance", "untrained", "pretrained")}
    assert list(tables.retrieval(results, "captioned_digits")) == ["chance", "untrained", "pretrained"]
    coco = tables.retrieval(results, "coco_captions/2014")
    assert (
        len(coco) == 3 + len(published.RETRIEVAL)
        and coco["VICReg (published)"] is published.RETRIEVAL["VICReg"]
    )
