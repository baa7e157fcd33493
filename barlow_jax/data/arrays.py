"""A split that is in memory as one array, for small images; nothing here needs TensorFlow."""

from collections.abc import Iterator, Mapping
from functools import partial

import jax
import numpy as np

from barlow_jax.config import schema as config_lib
from barlow_jax.config.recipe import View
from barlow_jax.config.validation.data import host_arrays
from barlow_jax.data import npz
from barlow_jax.data.captions import Captions, none_of
from barlow_jax.data.decode_failures.log import DecodeFailures
from barlow_jax.data.padded_images import CANVAS, POSITION, SHAPE
from barlow_jax.data.sampler import ProcessShard, SampleRange, padded
from barlow_jax.errors import UserError
from barlow_jax.types import Batch


class Arrays:
    """`npz.Images` as a `splits.Split`; none of them is ever broken."""

    multi_label = False

    def __init__(self, images: npz.Images, name: str):
        self._images = images
        self.num_examples, self.num_classes = len(images.levels), images.num_classes
        self.decode_failures = DecodeFailures(lambda index: f"image {index} of {name}")

    @classmethod
    def of(cls, data: config_lib.Data, split: str) -> "Arrays":
        """From `<split>.npz`."""
        return cls(npz.load(data, split), f"{split}.npz")

    def train_batches(
        self, data: config_lib.Data, views: Mapping[str, View], sample_range: SampleRange
    ) -> Iterator[Batch]:
        if data.augment_on == "host":
            raise UserError(host_arrays("data"))
        del views  # they are the step's to make
        for step in sample_range.steps:
            index, position = sample_range.batch(step)
            batch = self._rows(index, data.canvas)
            yield batch._replace(views={**batch.views, POSITION: position.astype(np.uint32)})

    def eval_batches(
        self,
        data: config_lib.Data,
        *,
        batch_size: int,
        shard: ProcessShard,
        examples: np.ndarray | None = None,
    ) -> Iterator[Batch]:
        examples = np.arange(self.num_examples) if examples is None else np.asarray(examples)
        crop = self._evaluation_crop(data)
        for step in range(-(-len(examples) // batch_size)):
            index, real = padded(step, batch_size, shard, examples)
            images = crop(self._images.levels[index])
            index_or_none = np.where(real, index, -1).astype(np.int32)
            yield Batch({"eval": images}, self._images.labels[index], index_or_none)

    def read_labels(self) -> np.ndarray:
        return self._images.labels

    def read_captions(self, data: config_lib.Data) -> Captions:
        raise none_of(data.name)

    def decoded(self, data: config_lib.Data) -> Batch:
        return self._rows(np.arange(self.num_examples), data.canvas)

    def _rows(self, index: np.ndarray, canvas: int) -> Batch:
        levels = self._images.levels
        height, width = levels.shape[1:3]
        if height == width == canvas:
            images = levels[index]
        else:
            images = np.zeros((len(index), canvas, canvas, 3), np.uint8)
            images[:, :height, :width] = levels[index]
        shapes = np.full((len(index), 2), (height, width), np.int32)
        return Batch({CANVAS: images, SHAPE: shapes}, self._images.labels[index], index.astype(np.int32))

    def _evaluation_crop(self, data: config_lib.Data):
        """`[B, height, width, 3]` to `[B, image_size, image_size, 3]`."""
        height, width = self._images.levels.shape[1:3]
        if height == width == data.eval_resize == data.image_size:
            return np.ascontiguousarray
        from barlow_jax.augment.geometry import evaluation_crop

        square = max(height, width)
        crop = jax.jit(
            jax.vmap(
                partial(evaluation_crop, resize_to=data.eval_resize, size=data.image_size), in_axes=(0, None)
            )
        )
        shape = np.array([height, width], np.int32)

        def crops(levels: np.ndarray) -> np.ndarray:
            canvas = np.pad(levels, ((0, 0), (0, square - height), (0, square - width), (0, 0)))
            return np.asarray(crop(canvas, shape))

        return crops
