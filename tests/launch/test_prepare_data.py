"""prepare_data.sh: what it prepares, copies, and asks for."""

import os
import subprocess
import sys

import pytest

ARCHIVES = ["ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"]


def test_a_data_set_is_prepared_and_copied(cloud):
    said = cloud.launch("prepare_data.sh", "--dry-run", "imagenette/320px-v2", PYTHON=sys.executable)
    *_, prepare, copy = said.splitlines()
    tfds = f"{cloud.folder}/tfds"
    assert prepare.endswith(f"prepare_data.py imagenette/320px-v2 {tfds} {tfds}/downloads/manual")
    assert copy == f"+ gcloud storage rsync --recursive {tfds}/imagenette gs://bucket/tfds/imagenette"
    assert not (cloud.folder / "calls.jsonl").exists()


def test_an_empty_bucket_copies_nothing(cloud):
    said = cloud.launch("prepare_data.sh", "--dry-run", "cifar10", PYTHON=sys.executable, BUCKET="")
    assert "prepare_data.py cifar10" in said and "gcloud" not in said


def test_imagenet_asks_for_both_archives_before_anything_slow(cloud):
    said = cloud.launch("prepare_data.sh", "imagenet2012", BUCKET=None, code=2)
    assert all(f"{archive} is missing" in said for archive in ARCHIVES) and "BUCKET is not set" in said
    for archive in ARCHIVES:
        (cloud.folder / archive).touch()
    where = f"--manual_dir={cloud.folder}"
    said = cloud.launch("prepare_data.sh", "--dry-run", "imagenet2012", where, PYTHON=sys.executable)
    assert f"imagenet2012 {cloud.folder}/tfds {cloud.folder}\n" in said


@pytest.mark.slow
def test_the_files_are_array_records(cloud):
    """Really prepares the digits: 10 s, nearly all of it TensorFlow's import."""
    script = cloud.repo / "launch" / "prepare_data.py"
    subprocess.run(
        [sys.executable, script, "digits", cloud.folder / "tfds", cloud.folder],
        check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True,
    )  # fmt: skip
    assert list((cloud.folder / "tfds").rglob("*.array_record*"))
