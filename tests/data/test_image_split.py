"""Batches of image files that are read without TensorFlow."""

from concurrent.futures import ThreadPoolExecutor
import dataclasses
import io
import types

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest
from scipy.stats import ks_2samp
from sklearn.datasets import load_sample_image
import tensorflow as tf

from barlow_jax.augment import geometry
from barlow_jax.config.recipe import Crop, Recipe, View
from barlow_jax.config.schema import Data
from barlow_jax.data import host_views, splits
from barlow_jax.data.collection import Collection
from barlow_jax.data.image_formats import decode
from barlow_jax.data.image_split import ImageSplit
from barlow_jax.data.padded_images import CANVAS, POSITION, SHAPE
from barlow_jax.data.pillow_views import crop_box, evaluation_crop, pad_or_crop
from barlow_jax.data.pixel_arrays import DecodeError
from barlow_jax.data.sampler import EpochSampler, ProcessShard, SampleRange
from barlow_jax.data.tiles import DecodedImages
from barlow_jax.errors import UserError

DATA = Data(name="images", image_size=8, eval_resize=10, canvas=24, augment_on="device", threads=2)
FLOAT = dataclasses.replace(DATA, channels=5, pixel_dtype="float32", value_range="0,1000")
VIEWS = Recipe().views
WHOLE = ProcessShard()
STEPS = 10  # two epochs of 40 images
DAMAGED = {3: b"", 9: b"some text", 25: b"\x89PNG\r\n\x1a\nrest"}
MISSING = 30
PHOTOGRAPH = load_sample_image("flower.jpg")


def _png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _pixels(number):
    return np.random.default_rng(number).integers(0, 256, (20, 24, 3), np.uint8)


def _collection(contents, labels=None, sizes=None):
    def read(index):
        if contents[index] is None:
            raise FileNotFoundError(2, "No such file")
        return contents[index]

    names = [f"{number}.png" for number in range(len(contents))]
    classes = None if labels is None else ["a", "b"]
    return Collection(names, read, labels, classes, "", sizes or [-1 if c is None else 1 for c in contents])


@pytest.fixture(scope="module")
def intact():
    return _collection([_png(_pixels(number)) for number in range(40)], np.arange(40, dtype=np.int32) % 2)


@pytest.fixture(scope="module")
def damaged(intact):
    contents = [DAMAGED.get(n, None if n == MISSING else intact.read(n)) for n in range(40)]
    return _collection(contents, intact.labels)


def _train(collection, first_step=0, shard=WHOLE, data=DATA, examples=None):
    split = ImageSplit(collection, data)
    sampler = EpochSampler(0, split.num_examples if examples is None else len(examples), 8)
    sample_range = SampleRange(sampler, first_step, STEPS, shard, examples)
    return list(split.train_batches(data, VIEWS, sample_range)), split


def _assert_same(actual, expected, rows=slice(None)):
    np.testing.assert_array_equal(actual.index, expected.index[rows])
    np.testing.assert_array_equal(actual.labels, expected.labels[rows])
    for name, view in expected.views.items():
        np.testing.assert_array_equal(actual.views[name], view[rows])


def test_a_batch_holds_the_padded_images_of_the_sampler(intact):
    batches, split = _train(intact)
    assert (split.num_examples, split.num_classes) == (40, 2) and len(batches) == STEPS
    for step, batch in enumerate(batches):
        index, position = EpochSampler(0, 40, 8).batch(step)
        np.testing.assert_array_equal(batch.index, index)
        np.testing.assert_array_equal(batch.labels, index % 2)
        np.testing.assert_array_equal(batch.views[POSITION], position)
        np.testing.assert_array_equal(batch.views[SHAPE], [[20, 24]] * 8)
        for canvas, number in zip(batch.views[CANVAS], index, strict=True):
            np.testing.assert_array_equal(canvas[:20], _pixels(number))
            assert not canvas[20:].any()
    assert batch.index.dtype == batch.labels.dtype == np.int32 and batch.views[POSITION].dtype == np.uint32


def test_another_image_replaces_an_undecodable_one_and_no_other_row_changes(intact, damaged):
    """The expected index comes from NumPy's generator, as documented; each of four images occurs twice."""
    failing = [*DAMAGED, MISSING]
    (before, _), (after, split) = _train(intact), _train(damaged)
    replaced = 0
    for step, (expected, actual) in enumerate(zip(before, after, strict=True)):
        _, position = EpochSampler(0, 40, 8).batch(step)
        for row, index in enumerate(expected.index):
            if index in failing:
                draws = np.random.default_rng((0, position[row])).integers(40, size=100)
                index = next(draw for draw in draws if draw not in failing)
                replaced += 1
            assert actual.index[row] == index and actual.labels[row] == index % 2
            np.testing.assert_array_equal(actual.views[CANVAS][row, :20], _pixels(index))
            assert actual.views[POSITION][row] == position[row]
    assert replaced == 8 and len(split.decode_failures) == 4
    assert split.decode_failures.count_before(5) == 4


def test_batches_depend_on_the_step_alone(damaged):
    whole, _ = _train(damaged)
    for batch, expected in zip(_train(damaged, first_step=3)[0], whole[3:], strict=True):
        _assert_same(batch, expected)
    many = dataclasses.replace(DATA, threads=5, prefetch=4)
    for process, rows in enumerate((slice(4), slice(4, 8))):
        parts, _ = _train(damaged, shard=ProcessShard(process, 2), data=many)
        for part, expected in zip(parts, whole, strict=True):
            _assert_same(part, expected, rows)


def test_a_part_of_the_split_is_replaced_from_that_part(damaged):
    examples = np.arange(3, 40, 2)
    batches, _ = _train(damaged, examples=examples)
    assert np.isin(np.concatenate([batch.index for batch in batches]), examples).all()


def test_too_many_failures_stop_the_run(damaged):
    strict = dataclasses.replace(DATA, max_decode_failures=3)
    with pytest.raises(UserError, match=r"config\.data\.max_decode_failures"):
        _train(damaged, data=strict)
    with pytest.raises(UserError, match="none of 100 images"):
        _train(_collection([b""] * 8))


def test_a_file_that_disappears_is_no_decode_failure(intact):
    contents = [None, *(intact.read(number) for number in range(1, 8))]
    with pytest.raises(OSError, match=r"0\.png"):
        _train(_collection(contents, sizes=[1] * 8))


def test_a_row_of_an_evaluation_is_blank_if_its_image_fails(damaged):
    split = ImageSplit(damaged, DATA)
    examples = np.array([2, 3, 4, 30, 7])
    batches = list(split.eval_batches(DATA, batch_size=4, shard=WHOLE, examples=examples))
    assert [batch.index.tolist() for batch in batches] == [[2, -1, 4, -1], [7, -1, -1, -1]]
    assert len(split.decode_failures) == 2
    for batch in batches:
        for index, image in zip(batch.index, batch.views["eval"], strict=True):
            expected = 0 if index == -1 else evaluation_crop(_pixels(index), DATA)
            np.testing.assert_array_equal(image, np.broadcast_to(expected, (8, 8, 3)))
    (part,) = split.eval_batches(DATA, batch_size=6, shard=ProcessShard(1, 2), examples=examples)
    assert part.index.tolist() == [-1, 7, -1]


@pytest.mark.parametrize("shape", [(60, 80), (427, 300), (16, 16), (11, 200), (301, 64), (64, 97), (5, 7)])
@pytest.mark.parametrize("resize_to, size", [(64, 56), (64, 63), (32, 32)])
def test_the_evaluation_crop_is_tensorflows_within_one_pixel_value(shape, resize_to, size):
    pixels = PHOTOGRAPH[: shape[0], : shape[1]]
    data = dataclasses.replace(DATA, eval_resize=resize_to, image_size=size)
    ours = evaluation_crop(pixels, data)
    expected = host_views.evaluation_crop(tf.constant(pixels), resize_to=resize_to, size=size)
    assert ours.dtype == np.uint8 and ours.shape == (size, size, 3)
    assert np.abs(ours.astype(int) - expected.numpy()).max() <= 1
    as_float = evaluation_crop(pixels, dataclasses.replace(data, pixel_dtype="float32"))
    assert as_float.dtype == np.float32
    np.testing.assert_allclose(255 * as_float, ours, atol=1.5)  # of which two are roundings of each pass


def test_every_decoded_image_is_kept(damaged, intact):
    batch = ImageSplit(damaged, DATA).decode_all(DATA)
    failing = [*DAMAGED, MISSING]
    np.testing.assert_array_equal(batch.index, np.where(np.isin(np.arange(40), failing), -1, np.arange(40)))
    assert batch.views[CANVAS].shape == (40, 24, 24, 3)
    for number in set(range(40)) - set(failing):
        np.testing.assert_array_equal(batch.views[CANVAS][number, :20], _pixels(number))
    small = dataclasses.replace(DATA, canvas=20)
    with pytest.raises(UserError, match="20 x 24 pixels"):
        ImageSplit(intact, small).decode_all(small)


def test_an_image_above_the_canvas_is_cropped_for_each_view_and_position():
    data = dataclasses.replace(DATA, canvas=32, image_size=16)
    for number, position in ((0, 0), (1, 7)):
        canvas = np.zeros((32, 32, 3), np.uint8)
        assert pad_or_crop(PHOTOGRAPH, canvas, data, VIEWS, (5, position)) == (0, 0)
        rng = np.random.default_rng((5, position, number))
        left, top, width, height = crop_box(*PHOTOGRAPH.shape[:2], Crop(), rng)
        part = Image.fromarray(PHOTOGRAPH).crop((left, top, left + width, top + height))
        expected = np.asarray(part.resize((16, 16), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(canvas[:16, 16 * number :][:, :16], expected)
    with pytest.raises(UserError, match="canvas=16"):
        pad_or_crop(PHOTOGRAPH, np.zeros((16, 16, 3)), data, VIEWS, (5, 0))


def test_the_error_for_a_small_canvas_names_the_image():
    data = dataclasses.replace(DATA, canvas=10)
    with pytest.raises(UserError, match=r"\.png is larger than config.data.canvas"):
        _train(_collection([_png(_pixels(0))] * 8), data=data)


def test_crops_of_the_host_have_the_distribution_of_the_devices():
    shape, number = (600, 200), 4000
    rng = np.random.default_rng(0)
    left, top, width, height = np.array([crop_box(*shape, Crop(), rng) for _ in range(number)]).T
    uniforms = np.random.default_rng(1).random((number, 22), np.float32)
    boxes = jax.jit(jax.vmap(lambda u: geometry.crop_box(jnp.array(shape), u, Crop())))
    device = boxes(uniforms)
    for name, ours in (("top", top), ("left", left), ("height", height), ("width", width)):
        assert ks_2samp(ours, np.asarray(getattr(device, name))).pvalue > 1e-3, name


def test_images_of_many_channels_are_floats_between_zero_and_one():
    bands = np.random.default_rng(0).integers(0, 1200, (20, 24, 5), np.uint16)
    (batch, *_), _ = _train(_collection([bands] * 8), data=FLOAT)
    expected = np.clip(bands.astype(np.float32) / 1000, 0, 1)
    assert batch.views[CANVAS].shape == (8, 24, 24, 5) and batch.views[CANVAS].dtype == np.float32
    np.testing.assert_array_equal(batch.views[CANVAS][3, :20], expected)
    split = ImageSplit(_collection([bands] * 8), FLOAT)
    (batch,) = split.eval_batches(FLOAT, batch_size=8, shard=WHOLE)
    channel = Image.fromarray(expected[..., 4]).resize((12, 10), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(batch.views["eval"][0, ..., 4], np.asarray(channel)[1:9, 2:10], atol=1e-6)
    canvas = np.zeros((16, 16, 5), np.float32)
    view = View(crop=Crop(min_area=1, min_aspect=1.2, max_aspect=1.2))
    pad_or_crop(bands, canvas, FLOAT, {"a": view}, (0, 0))
    channel = Image.fromarray(expected[..., 2]).resize((8, 8), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(canvas[:8, :8, 2], np.clip(channel, 0, 1), atol=1e-6)


def test_bytes_of_a_file_are_read_once_if_they_are_cached(intact):
    reads = []
    counted = dataclasses.replace(intact, read=lambda index: reads.append(index) or intact.read(index))
    cached = dataclasses.replace(DATA, cache="encoded", threads=1)
    for batch, expected in zip(_train(counted, data=cached)[0], _train(intact)[0], strict=True):
        _assert_same(batch, expected)
    assert sorted(reads) == list(range(40))


TILED = dataclasses.replace(DATA, tile=16, tile_overlap=4, eval_resize=16, image_size=16)
CORNERS = [(row, column) for row in (0, 12, 14) for column in (0, 12, 24)]


@pytest.fixture(scope="module")
def tiled():
    large = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    contents = [_png(large), _png(large[:16, :16]), b"rubbish", _png(large[:10, :20])]
    return large, _collection(contents, np.array([0, 1, 1, 0], np.int32))


def test_a_large_image_is_split_into_tiles_with_their_corners(tiled):
    large, collection = tiled
    split = ImageSplit(collection, TILED)
    names = [f"0.png#{row},{column}" for row, column in CORNERS]
    names += ["1.png", "2.png", "3.png#0,0", "3.png#0,4"]
    assert [split.name(index) for index in range(split.num_examples)] == names
    np.testing.assert_array_equal(split.read_labels(), [0] * 9 + [1, 1, 0, 0])
    identities = list(split.identity())
    assert identities[4] == b"0.png 1#12,12" and identities[9] == b"1.png 1"
    assert len(set(identities)) == len(names)
    (batch,) = split.eval_batches(TILED, batch_size=13, shard=WHOLE)
    assert batch.index.tolist() == [*range(10), -1, 11, 12]
    for image, (row, column) in zip(batch.views["eval"], CORNERS, strict=False):
        np.testing.assert_array_equal(image, large[row : row + 16, column : column + 16])
    whole = split.decode_all(TILED)
    assert whole.views[SHAPE].tolist() == [[16, 16]] * 10 + [[0, 0], [10, 16], [10, 16]]
    np.testing.assert_array_equal(whole.views[CANVAS][12, :10, :16], large[:10, 4:20])


def test_a_tile_that_its_image_does_not_have_is_a_decode_failure(tiled):
    """A file may be replaced by a smaller one after the start."""
    _, collection = tiled
    split = ImageSplit(collection, TILED)
    smaller = _png(_pixels(0)[:14, :14])
    split._decoded = DecodedImages(lambda index: decode(smaller, 3))
    (batch,) = split.eval_batches(TILED, batch_size=9, shard=WHOLE, examples=np.arange(9))
    assert batch.index.tolist() == [0, 1, -1, 3, 4, -1, -1, -1, -1]
    assert "#0,24" in split.decode_failures.name(2)


def test_an_image_is_decoded_once_for_all_of_its_tiles(monkeypatch):
    decoded = []
    images = [np.random.default_rng(k).normal(size=(30, 40, k + 1)).astype(np.float32) for k in range(5)]

    def read(indices, free):
        decoded.clear()
        monkeypatch.setattr("shutil.disk_usage", lambda path: types.SimpleNamespace(free=free))
        cache = DecodedImages(lambda index: decoded.append(index) or images[index])
        with ThreadPoolExecutor(4) as pool:
            for index, pixels in zip(indices, pool.map(cache, indices), strict=True):
                np.testing.assert_array_equal(pixels, images[index])
        return len(decoded)

    indices = np.random.default_rng(0).integers(5, size=60).tolist()
    assert read(indices, free=10**9) == 5
    assert read(indices, free=0) == 5 + 60


def test_a_tiled_image_that_fails_is_decoded_once():
    decoded = []

    def decode_once(index):
        decoded.append(index)
        raise DecodeError("is empty")

    cache = DecodedImages(decode_once)
    for _ in range(3):
        with pytest.raises(DecodeError):
            cache(0)
    assert decoded == [0]


def test_images_of_a_folder_are_opened_without_tensorflow(tmp_path):
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(_png(_pixels(number)))
    data = dataclasses.replace(DATA, data_dir=str(tmp_path), held_out=0.2)
    train, held_out = (splits.open_split(data, split) for split in ("train", "held_out"))
    assert train.num_examples + held_out.num_examples == 40
    assert not {*train.identity()} & {*held_out.identity()}
    (batch,) = held_out.eval_batches(data, batch_size=held_out.num_examples, shard=WHOLE)
    for index, image in zip(batch.index, batch.views["eval"], strict=True):
        number = int(held_out.name(index).removesuffix(".png"))
        np.testing.assert_array_equal(image, evaluation_crop(_pixels(number), data))
