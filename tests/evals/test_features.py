import jax
import numpy as np
import pytest

from barlow_jax.config.recipe import Normalize
from barlow_jax.config.schema import Network as NetworkConfig
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.evals import features
from barlow_jax.networks.network import Network
from barlow_jax.types import Batch


def _batches(rows=20, size=8):
    images = np.random.default_rng(0).integers(0, 256, (24, size, size, 3), dtype=np.uint8)
    index = np.where(np.arange(24) < rows, np.arange(24), -1).astype(np.int32)
    for start in range(0, 24, 8):
        part = slice(start, start + 8)
        yield Batch({"eval": images[part]}, index[part] % 3, index[part])


def test_padding_is_dropped_and_the_order_kept(devices):
    layout = Layout(make_mesh(devices))
    table = features.extract(features.make_pixels(layout), _batches(), layout)
    expected = np.concatenate([b.views["eval"].reshape(8, -1) for b in _batches()])[:20] / 255
    np.testing.assert_allclose(table.features, expected, rtol=1e-6)
    np.testing.assert_array_equal(table.labels, np.arange(20) % 3)


def test_features_do_not_depend_on_the_number_of_devices():
    network = Network(
        NetworkConfig(encoder="resnet8", width=4, stem="cifar", projector=(8,), dtype="float32")
    )
    params, stats = jax.jit(network.init)(jax.random.key(0))
    tables = []
    for count in (1, 8):
        layout = Layout(make_mesh(jax.devices()[:count]))
        encode = features.make_encoder(network, layout, Normalize())
        tables.append(features.extract(lambda x, e=encode: e(params, stats, x), _batches(), layout))
    np.testing.assert_allclose(tables[1].features, tables[0].features, rtol=1e-5, atol=1e-6)
    assert tables[0].features.dtype == np.float32


def test_a_batch_that_does_not_divide_over_the_devices_is_padded_and_cut():
    layout = Layout(make_mesh())
    (batch, *_) = _batches()
    part = jax.tree.map(lambda rows: rows[:3], batch)
    table = features.encode_batch(features.make_pixels(layout), part, layout)
    np.testing.assert_allclose(table.features, part.views["eval"].reshape(3, -1) / 255, rtol=1e-6)
    assert len(table.labels) == 3


def test_multi_labels_stay_with_their_features(devices):
    """20 rows with 5 classes in batches that are padded to 24, and a batch that the devices do not divide."""
    layout = Layout(make_mesh(devices))
    labels = np.random.default_rng(1).integers(-1, 2, (24, 5)).astype(np.int32)
    batches = [batch._replace(labels=labels[batch.index]) for batch in _batches()]
    table = features.extract(features.make_pixels(layout), iter(batches), layout)
    np.testing.assert_array_equal(table.labels, labels[:20])
    part = jax.tree.map(lambda rows: rows[:3], batches[0])
    np.testing.assert_array_equal(
        features.encode_batch(features.make_pixels(layout), part, layout).labels, labels[:3]
    )


def test_a_table_holds_the_indices_of_its_images(devices):
    """Padding and images that cannot be decoded have index -1, anywhere in a batch."""
    layout = Layout(make_mesh(devices))
    batches = [batch._replace(index=np.where(batch.index % 5 == 2, -1, batch.index)) for batch in _batches()]
    table = features.extract(features.make_pixels(layout), iter(batches), layout)
    expected = [index for index in range(20) if index % 5 != 2]
    np.testing.assert_array_equal(table.index, expected)
    np.testing.assert_array_equal(table.labels, np.array(expected) % 3)
    assert len(table.features) == len(expected)


def test_features_that_are_not_finite_are_an_error_with_their_number():
    layout = Layout(make_mesh())
    broken = jax.jit(lambda images: jax.numpy.where(images[:, 0, 0, :] < 60, np.inf, 1.0))
    with pytest.raises(UserError) as error:
        features.extract(broken, _batches(), layout)
    first = np.concatenate([b.views["eval"][:, 0, 0] for b in _batches()])[:20]
    assert f"{np.sum((first < 60).any(axis=1))} of 20 images" in str(error.value)
