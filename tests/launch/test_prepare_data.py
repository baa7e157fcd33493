"""prepare_data.sh: what it prepares, copies, and asks for."""

import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from barlow_jax.config.schema import Data
from barlow_jax.data import catalog, npz
from barlow_jax.data.sklearn_digits import NUM_IMAGES

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


def test_arrays_are_written_and_copied_too(cloud):
    said = cloud.launch("prepare_data.sh", "--dry-run", "cifar10", "--arrays", PYTHON=sys.executable)
    *_, prepare, records, arrays = said.splitlines()
    tfds = f"{cloud.folder}/tfds"
    assert prepare.endswith(f"{tfds}/downloads/manual {tfds}/arrays/cifar10")
    assert records.endswith(f"{tfds}/cifar10 gs://bucket/tfds/cifar10")
    assert arrays.endswith(f"{tfds}/arrays/cifar10 gs://bucket/tfds/arrays/cifar10")


def test_an_unknown_argument_is_named(cloud):
    said = cloud.launch("prepare_data.sh", "cifar10", "--array", code=2)
    assert "--array: there is no such argument; there are --manual_dir=DIR and --arrays" in said


def test_imagenet_asks_for_both_archives_before_anything_slow(cloud):
    said = cloud.launch("prepare_data.sh", "imagenet2012", BUCKET=None, code=2)
    assert all(f"{archive} is missing" in said for archive in ARCHIVES) and "BUCKET is not set" in said
    for archive in ARCHIVES:
        (cloud.folder / archive).touch()
    where = f"--manual_dir={cloud.folder}"
    said = cloud.launch("prepare_data.sh", "--dry-run", "imagenet2012", where, PYTHON=sys.executable)
    assert f"imagenet2012 {cloud.folder}/tfds {cloud.folder}\n" in said


@pytest.mark.slow
def test_the_files_are_array_records_and_arrays(cloud):
    """Really prepares the digits: 10 s, nearly all of it TensorFlow's import."""
    script = cloud.repo / "launch" / "prepare_data.py"
    subprocess.run(
        [sys.executable, script, "digits", cloud.folder / "tfds", cloud.folder, cloud.folder / "arrays"],
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
    )
    assert list((cloud.folder / "tfds").rglob("*.array_record*"))
    data = Data(name="arrays", data_dir=str(cloud.folder / "arrays"))
    assert catalog.count_images(data, ("train", "test")) == (NUM_IMAGES, [])
    images, digits = npz.load(data, "test"), load_digits()
    assert images.num_classes == 10 and images.pixels.shape == (360, 8, 8, 3)
    # TFDS shuffles; every image is there with its label.
    levels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    known = {(image.tobytes(), int(label)) for image, label in zip(levels, digits.target, strict=True)}
    assert {(i[..., 0].tobytes(), int(c)) for i, c in zip(images.pixels, images.labels, strict=True)} <= known
