"""A split in memory as one array, for small images; TensorFlow is not needed."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import jax
import numpy as np

from barlow_jax.config.recipe import View
from barlow_jax.config.schema import Data
from barlow_jax.config.validation.data import host_arrays
from barlow_jax.data import npz
from barlow_jax.data.captions import Captions, no_captions_error
from barlow_jax.data.decode_failures.counter import DecodeFailures
from barlow_jax.data.padded_images import CANVAS, POSITION, SHAPE
from barlow_jax.data.resize import evaluation_crop
from barlow_jax.data.sampler import EvaluationRange, ProcessShard, SampleRange
from barlow_jax.errors import UserError
from barlow_jax.types import Batch


class ArraySplit:
    """A `splits.Split` of `npz.Images`, which need no decoding and hence never fail."""

    multi_label, class_names = False, None

    def __init__(self, images: npz.Images, name: str):
        """Create a split of these images; `name` is its name in messages."""
        self._images = images
        self.num_examples, self.num_classes = len(images.pixels), images.num_classes
        self.decode_failures = DecodeFailures(lambda index: f"image {index} of {name}")

    @classmethod
    def open(cls, data: Data, split: str) -> "ArraySplit":
        """Load `<split>.npz`."""
        return cls(npz.load(data, split), f"{split}.npz")

    def identity(self) -> Iterator[bytes]:
        """Implement `Split.identity`: pixels and label of each image."""
        for pixels, label in zip(self._images.pixels, self._images.labels, strict=True):
            yield pixels.tobytes() + label.tobytes()

    def train_batches(
        self, data: Data, views: Mapping[str, View], sample_range: SampleRange
    ) -> Iterator[Batch]:
        """Implement `Split.train_batches`."""
        if data.augment_on == "host":
            raise UserError(host_arrays("data"))
        del views  # the step makes the views
        for step in sample_range.steps:
            index, position = sample_range.batch(step)
            batch = self._padded_images(index, data.canvas)
            yield batch._replace(views={**batch.views, POSITION: position.astype(np.uint32)})

    def eval_batches(
        self, data: Data, *, batch_size: int, shard: ProcessShard, examples: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """Implement `Split.eval_batches`."""
        examples = np.arange(self.num_examples) if examples is None else np.asarray(examples)
        crop = self._evaluation_crop(data)
        step_range = EvaluationRange(examples, batch_size, shard)
        for step in step_range.steps:
            index, is_real = step_range.batch(step)
            images = crop(self._images.pixels[index])
            marked_index = np.where(is_real, index, -1).astype(np.int32)
            yield Batch({"eval": images}, self._images.labels[index], marked_index)

    def read_labels(self) -> np.ndarray:
        """Implement `Split.read_labels`."""
        return self._images.labels

    def read_captions(self, data: Data) -> Captions:
        """Implement `Split.read_captions`: always an error."""
        raise no_captions_error(data.name)

    def decode_all(self, data: Data) -> Batch:
        """Implement `Split.decode_all`."""
        return self._padded_images(np.arange(self.num_examples), data.canvas)

    def _padded_images(self, index: np.ndarray, canvas: int) -> Batch:
        pixels = self._images.pixels
        height, width = pixels.shape[1:3]
        if height == width == canvas:
            images = pixels[index]
        else:
            images = np.zeros((len(index), canvas, canvas, 3), np.uint8)
            images[:, :height, :width] = pixels[index]
        shapes = np.full((len(index), 2), (height, width), np.int32)
        return Batch({CANVAS: images, SHAPE: shapes}, self._images.labels[index], index.astype(np.int32))

    def _evaluation_crop(self, data: Data) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from `[B, height, width, 3]` to `[B, image_size, image_size, 3]`."""
        height, width = self._images.pixels.shape[1:3]
        if height == width == data.eval_resize == data.image_size:
            return np.ascontiguousarray
        crop_one = partial(evaluation_crop, resize_to=data.eval_resize, size=data.image_size)
        crop = jax.jit(jax.vmap(crop_one, in_axes=(0, None)))
        shape, side = np.array([height, width], np.int32), max(height, width)

        def crop_batch(pixels: np.ndarray) -> np.ndarray:
            squares = np.pad(pixels, ((0, 0), (0, side - height), (0, side - width), (0, 0)))
            return np.asarray(crop(squares, shape))

        return crop_batch
