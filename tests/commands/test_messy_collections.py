"""`pretrain --images` on messy collections: nothing else is passed."""

import json

import messy_collections
import numpy as np
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("name", messy_collections.COLLECTIONS)
def test_a_messy_collection_is_pretrained_on(run_command, tmp_path, name):
    pytest.importorskip({"dicom": "pydicom", "five_channels": "tifffile"}.get(name, "PIL"))
    (tmp_path / "images").mkdir()
    made = messy_collections.COLLECTIONS[name](tmp_path / "images")
    labels = () if made.labels is None else ("--labels", made.labels)
    workdir = tmp_path / "run"

    results, _ = run_command("pretrain", "--images", made.images, *labels, "--workdir", workdir)

    assert results["step"] > 0
    config = json.loads((workdir / "config.json").read_text())
    assert (config["data"]["channels"], config["data"]["pixel_dtype"]) == (made.channels, made.dtype)
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    losses = np.array([row["loss"] for row in rows if "loss" in row])
    assert np.isfinite(losses).all() and losses[-5:].mean() < losses[:5].mean()
    assert ("knn_top1" in results) == (made.labels is not None)
    table = tmp_path / "features.npz"
    embedded, _ = run_command("embed", "--workdir", workdir, "--images", made.images, "--out", table)
    assert embedded["images"] == made.num_images
