"""prepare_data.sh: the data it prepares and copies, and the settings it requires."""

import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from barlow_jax.config.schema import Data
from barlow_jax.data import collection

ARCHIVES = ["ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"]
SETTINGS = {"BUCKET": "bucket", "PYTHON": sys.executable}


def test_a_data_set_is_prepared_and_copied(cloud):
    output = cloud.launch("prepare_data.sh", "--dry-run", "imagenette/320px-v2", **SETTINGS)
    *_, prepare, copy = output.splitlines()
    tfds = f"{cloud.folder}/tfds"
    assert prepare.endswith(f"prepare_data.py imagenette/320px-v2 {tfds} {tfds}/downloads/manual")
    assert copy == f"+ gcloud storage rsync --recursive {tfds}/imagenette gs://bucket/tfds/imagenette"
    assert not (cloud.folder / "calls.jsonl").exists()


def test_an_empty_bucket_copies_nothing(cloud):
    output = cloud.launch("prepare_data.sh", "--dry-run", "cifar10", **SETTINGS | {"BUCKET": ""})
    assert "prepare_data.py cifar10" in output and "gcloud" not in output


def test_arrays_are_written_and_copied_too(cloud):
    output = cloud.launch("prepare_data.sh", "--dry-run", "cifar10", "--arrays", **SETTINGS)
    *_, prepare, records, arrays = output.splitlines()
    tfds = f"{cloud.folder}/tfds"
    assert prepare.endswith(f"{tfds}/downloads/manual {tfds}/arrays/cifar10")
    assert records.endswith(f"{tfds}/cifar10 gs://bucket/tfds/cifar10")
    assert arrays.endswith(f"{tfds}/arrays/cifar10 gs://bucket/tfds/arrays/cifar10")


def test_an_unknown_argument_and_a_folder_in_a_bucket_are_named(cloud):
    output = cloud.launch("prepare_data.sh", "cifar10", "--array", DATA_DIR="gs://bucket/tfds", code=2)
    assert "--array: unknown argument; the arguments are --manual-dir=DIR and --arrays" in output
    assert "DATA_DIR is 'gs://bucket/tfds'" in output


def test_missing_imagenet_archives_are_reported_before_the_installation(cloud):
    output = cloud.launch("prepare_data.sh", "imagenet2012", code=2)
    assert all(f"{archive} is missing" in output for archive in ARCHIVES) and "BUCKET is not set" in output
    for archive in ARCHIVES:
        (cloud.folder / archive).touch()
    manual_dir = f"--manual-dir={cloud.folder}"
    output = cloud.launch("prepare_data.sh", "--dry-run", "imagenet2012", manual_dir, **SETTINGS)
    assert f"imagenet2012 {cloud.folder}/tfds {cloud.folder}\n" in output


@pytest.mark.slow
def test_the_files_are_array_records_and_arrays(cloud):
    """Prepare a data set of the tests: 10 s, most of it the import of TensorFlow."""
    script = cloud.repo / "launch" / "prepare_data.py"
    code = "import recorded, runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"
    folders = cloud.folder / "tfds", cloud.folder, cloud.folder / "arrays"
    subprocess.run(
        [sys.executable, "-c", code, script, "recorded_digits", *folders],
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
    )
    assert list((cloud.folder / "tfds").rglob("*.array_record*"))
    data = Data(name="images", data_dir=str(cloud.folder / "arrays"))
    assert collection.split_names(data) == {"train": 1437, "test": 360}
    images, digits = collection.open_collection(data, "test"), load_digits()
    # TFDS shuffles; compare the images with their labels as sets.
    levels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    known = {(image.tobytes(), int(label)) for image, label in zip(levels, digits.target, strict=True)}
    assert {
        (images.read(i).tobytes(), int(images.class_names[images.labels[i]])) for i in range(360)
    } <= known
