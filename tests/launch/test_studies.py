"""Scripts of launch/ that make data and train on them, at small size."""

import pathlib
import runpy
import subprocess
import sys

import numpy as np
import pytest

LAUNCH = pathlib.Path(__file__).parents[2] / "launch"


def test_images_of_bands_repeat_and_differ_between_classes_in_spectrum_or_texture(tmp_path):
    script = runpy.run_path(str(LAUNCH / "bands_study.py"))
    rng = np.random.default_rng(0)
    spectra = rng.uniform(0.1, 1, (4, 13))
    seeds = [[[c, n] for n in range(40)] for c in range(4)]
    images = [[script["image"](spectra, s[0], np.random.default_rng(s)) for s in row] for row in seeds]
    assert images[0][0].shape == (32, 32, 13) and images[0][0].dtype == np.uint16
    np.testing.assert_array_equal(images[1][2], script["image"](spectra, 1, np.random.default_rng([1, 2])))
    means = np.mean(images, axis=(1, 2, 3))
    steps = [np.mean([np.abs(np.diff(x.astype(float), axis=0)).mean() for x in group]) for group in images]
    np.testing.assert_allclose(means[0], means[1], rtol=0.15)  # the same materials
    assert np.max(np.abs(means[0] - means[2]) / means[0]) > 0.3
    assert steps[0] > 1.5 * steps[1] and steps[2] > 1.5 * steps[3]  # fine and coarse
    script["IMAGES"].update(train=20, test=10)
    for name in ("a", "b"):
        script["write_images"](tmp_path / name, seed=1)
    first, again = (np.load(tmp_path / name / "test.npz") for name in ("a", "b"))
    np.testing.assert_array_equal(first["images"], again["images"])
    assert np.bincount(first["labels"]).tolist() == [2] * 5


@pytest.mark.slow
def test_the_study_of_bands_prints_a_row_per_seed(tmp_path):
    words = (LAUNCH / "bands_study.py", "--workdir", tmp_path, "--seeds", "1", "--epochs", "0.5")
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=True)
    *_, row = done.stdout.splitlines()
    values = [float(cell) for cell in row.strip("|").split("|")]
    assert values[0] == 0 and all(20 < value <= 100 for value in values[1:])
