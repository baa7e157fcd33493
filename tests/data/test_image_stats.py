"""Statistics of a collection of images over a fixed sample."""

import numpy as np
import pytest
import tifffile

from barlow_jax.config.schema import Data
from barlow_jax.config.value_range import parse_limits
from barlow_jax.data.collection import Collection, open_all
from barlow_jax.data.image_stats import measure, measure_values
from barlow_jax.errors import UserError

DATA = Data(name="images", channels=2, pixel_dtype="float32", value_range="auto", augment_on="device")


def _collection(images):
    names = [str(number) for number in range(len(images))]
    return Collection(names, images.__getitem__, None, None, "", [0] * len(images))


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.normal((100, -5), (20, 1), (40, 50, 2)).astype(np.float32) for _ in range(12)]


def test_headers_come_from_an_evenly_spaced_sample(tmp_path):
    for number in range(9):
        tifffile.imwrite(tmp_path / f"{number}.tif", np.zeros((10, 20 + number), np.uint16))
    (tmp_path / "4.tif").write_bytes(b"rubbish")
    stats = measure(open_all(str(tmp_path), DATA), num=3)
    assert stats.num_images == 9
    assert stats.headers == [(10, 20, 1, "uint16"), (10, 28, 1, "uint16")]
    (failure,) = stats.failures
    assert failure.startswith("4.tif ")


def test_the_automatic_range_is_the_percentiles_of_the_pooled_sample(images):
    values = measure_values(_collection(images), DATA)
    pooled = np.concatenate([image.reshape(-1, 2) for image in images])
    expected = np.percentile(pooled, (0.1, 99.9), axis=0).T
    limits = parse_limits(values.value_range, 2)
    np.testing.assert_allclose(limits, expected, rtol=1e-6)
    mapped = np.clip((pooled - limits[:, 0]) / (limits[:, 1] - limits[:, 0]), 0, 1)
    np.testing.assert_allclose(values.mean, mapped.mean(0), rtol=1e-5)
    np.testing.assert_allclose(values.std, mapped.std(0), rtol=1e-5)


def test_values_that_are_not_finite_and_images_that_fail_are_left_out(images):
    spoiled = [image.copy() for image in images]
    for image in spoiled:
        image[:5] = np.nan
    kept = [image[5:] for image in images]
    ours = measure_values(_collection([*spoiled, b"rubbish"]), DATA)
    assert ours.value_range == measure_values(_collection(kept), DATA).value_range


def test_a_constant_channel_has_a_range():
    values = measure_values(_collection([np.full((8, 8, 2), 7, np.uint16)]), DATA)
    assert values == ("7,8,7,8", (0, 0), (0, 0))


def test_statistics_of_bytes_are_on_the_scale_of_normalize():
    data = Data(name="images", augment_on="device")
    values = measure_values(_collection([np.full((8, 8), level, np.uint8) for level in (0, 255)]), data)
    assert values == ("dtype", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_large_images_are_sampled(images):
    large = np.tile(images[0], (8, 8, 1))
    limits = parse_limits(measure_values(_collection([large] * 3), DATA).value_range, 2)
    np.testing.assert_allclose(limits, np.percentile(large, (0.1, 99.9), axis=(0, 1)).T, rtol=0.2)


def test_a_collection_without_a_readable_image_is_an_error():
    with pytest.raises(UserError, match="rubbish"):
        measure_values(_collection([b"rubbish"]), DATA)
