"""A split of a collection of images, decoded by threads; TensorFlow is not needed."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
import functools

import numpy as np
from PIL import Image

from barlow_jax.config.recipe import View
from barlow_jax.config.schema import Data
from barlow_jax.data.captions import Captions, no_captions_error
from barlow_jax.data.collection import Collection
from barlow_jax.data.decode_failures import DecodeFailures, find_readable
from barlow_jax.data.folders import printable
from barlow_jax.data.image_formats import decode
from barlow_jax.data.padded_images import CANVAS, POSITION, SHAPE, check_fits
from barlow_jax.data.pillow_views import evaluation_crop, make_view, pad_or_crop
from barlow_jax.data.pixel_arrays import DecodeError, check_values, to_batch
from barlow_jax.data.sampler import EvaluationRange, ProcessShard, SampleRange
from barlow_jax.data.tiles import DecodedImages, list_tiles
from barlow_jax.errors import UserError
from barlow_jax.io import processors
from barlow_jax.types import Batch

_PARTS = 4  # of a batch per thread: a row alone costs as much to hand over as a small image to read
# Writes a row of a batch: its views, number of the row, decoded pixels, index in the split, and what
# `step_range.batch` returns besides the index.
Fill = Callable[[Mapping[str, np.ndarray], int, np.ndarray, int, int], None]


class ImageSplit:
    """A `splits.Split` of a `collection.Collection`; an example is an image or a tile of one."""

    multi_label = False

    def __init__(self, collection: Collection, data: Data):
        """Create a split of the images of a collection."""
        self._collection, self._data = collection, data
        self._read_file = functools.cache(collection.read) if data.cache == "encoded" else collection.read
        self._decoded = DecodedImages(self._decode) if data.tile else None
        self._examples = list_tiles(collection, data)
        image = self._examples[:, 0]
        self._is_tile = np.bincount(image, minlength=len(collection.names))[image] > 1
        labels = collection.labels
        self._labels = np.full(len(image), -1, np.int32) if labels is None else labels[image]
        self.num_examples, self.class_names = len(image), collection.class_names
        self.num_classes = None if collection.class_names is None else len(collection.class_names)
        self.decode_failures = DecodeFailures(lambda index: printable(self.name(index)))

    def name(self, index: int) -> str:
        """Return the name of an example: of the image, with `#row,column` if it is one of several tiles."""
        image, row, column = self._examples[index].tolist()
        return self._collection.names[image] + (f"#{row},{column}" if self._is_tile[index] else "")

    @property
    def corners(self) -> np.ndarray | None:
        """`[N, 2]` row and column of each tile's corner in its image, in pixels; None without tiles."""
        return self._examples[:, 1:] if self._data.tile else None

    def identity(self) -> Iterator[bytes]:
        """Implement `Split.identity`: name and size of each file, and the corner of a tile."""
        images = list(self._collection.identity())
        for (image, row, column), is_tile in zip(self._examples.tolist(), self._is_tile, strict=True):
            yield images[image] + (b"#%d,%d" % (row, column) if is_tile else b"")

    def train_batches(
        self, data: Data, views: Mapping[str, View], sample_range: SampleRange
    ) -> Iterator[Batch]:
        """Implement `Split.train_batches`."""
        views = dict(sorted(views.items()))

        def augment(rows, row, pixels, index, position):
            image = Image.fromarray(to_batch(pixels, data))
            for number, (name, view) in enumerate(views.items()):
                rng = np.random.default_rng((sample_range.sampler.seed, position, number))
                rows[name][row] = make_view(image, view, sizes[name], rng)

        if data.augment_on == "host":
            sizes = {name: view.output_size(data.image_size) for name, view in views.items()}
            spec = {name: ((size, size, 3), np.uint8) for name, size in sizes.items()}
            return self._batches(data, sample_range, spec, augment)

        def fill(rows, row, pixels, index, position):
            seed = (sample_range.sampler.seed, position)
            try:
                rows[SHAPE][row] = pad_or_crop(pixels, rows[CANVAS][row], data, views, seed)
            except UserError as error:
                raise UserError(f"{self.decode_failures.name(index)} {error}") from None
            rows[POSITION][row] = position

        return self._batches(data, sample_range, {**_padded(data), POSITION: ((), np.uint32)}, fill)

    def eval_batches(
        self, data: Data, *, batch_size: int, shard: ProcessShard, examples: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """Implement `Split.eval_batches`."""

        def fill(rows, row, pixels, index, is_real):
            rows["eval"][row] = evaluation_crop(pixels, data)

        examples = np.arange(self.num_examples) if examples is None else np.asarray(examples)
        spec = {"eval": ((data.image_size, data.image_size, data.channels), data.pixel_dtype)}
        return self._batches(data, EvaluationRange(examples, batch_size, shard), spec, fill)

    def read_content(self, index: int) -> bytes | np.ndarray:
        """Implement `Split.read_content`; of a tile it is the whole image."""
        try:
            return self._read_file(int(self._examples[index, 0]))
        except OSError:  # reported when the image is used
            return b""

    def read_labels(self) -> np.ndarray:
        """Implement `Split.read_labels`."""
        return self._labels

    def read_captions(self, data: Data) -> Captions:
        """Implement `Split.read_captions`: always an error."""
        raise no_captions_error(data.name)

    def decode_all(self, data: Data) -> Batch:
        """Implement `Split.decode_all`. Every process decodes all images, and counts all decode failures."""

        def fill(rows, row, pixels, index, is_real):
            height, width = rows[SHAPE][row] = pixels.shape[:2]
            check_fits(height, width, data.canvas, self.decode_failures.name(index))
            rows[CANVAS][row, :height, :width] = to_batch(pixels, data)

        whole = EvaluationRange(np.arange(self.num_examples), self.num_examples)
        return next(self._batches(data, whole, _padded(data), fill))

    def _batches(
        self,
        data: Data,
        step_range: SampleRange | EvaluationRange,
        spec: Mapping[str, tuple[tuple[int, ...], str]],
        fill: Fill,
    ) -> Iterator[Batch]:
        """Yield the batch of each step; threads work on the next `data.prefetch` ones meanwhile.

        `spec` has shape and type of a row of each view; `fill` makes a row of black ones.
        """
        threads = data.threads or processors.available()
        pool = ThreadPoolExecutor(threads)
        is_training = isinstance(step_range, SampleRange)

        def start(step: int) -> tuple[int, Batch, list[Future]]:
            index, extra = step_range.batch(step)
            rows = {name: np.zeros((len(index), *shape), dtype) for name, (shape, dtype) in spec.items()}
            batch = Batch(rows, self._labels[index], index.astype(np.int32))

            def make(some: np.ndarray) -> list[int]:
                failed = []
                for row in some.tolist():
                    if not (is_training or extra[row]):  # padding
                        batch.index[row] = -1
                        continue
                    pixels, reason = self._read(int(index[row]))
                    if reason is None:
                        fill(rows, row, pixels, int(index[row]), int(extra[row]))
                    else:
                        failed.append(row)
                return failed

            parts = np.array_split(np.arange(len(index)), min(len(index), _PARTS * threads))
            return step, batch, [pool.submit(make, part) for part in parts]

        def finish(step: int, batch: Batch, done: list[Future]) -> Batch:
            for row in [row for future in done for row in future.result()]:
                limit = data.max_decode_failures
                readable = find_readable(step_range, step, row, self._read, self.decode_failures, limit)
                if readable is None:
                    batch.index[row] = -1
                    continue
                pixels, index = readable
                fill(batch.views, row, pixels, index, int(step_range.batch(step)[1][row]))
                batch.index[row], batch.labels[row] = index, self._labels[index]
            return batch

        try:
            started = deque()
            for step in step_range.steps:
                started.append(start(step))
                if len(started) > data.prefetch:
                    yield finish(*started.popleft())
            while started:
                yield finish(*started.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, index: int) -> tuple[np.ndarray | None, str | None]:
        """Return the decoded pixels of an example, or the reason why there are none.

        Raises:
          OSError: reading fails although the file could be opened at the start. The cause is the disk or the
            network, not the image, and a run that continued without it would not be reproducible.
        """
        image, row, column = self._examples[index].tolist()
        try:
            pixels = (self._decoded if self._is_tile[index] else self._decode)(image)
        except DecodeError as error:
            return None, str(error)
        except OSError as error:
            reason = error.strerror or str(error)
            if self._collection.sizes[image] == -1:
                return None, f"cannot be opened: {reason}"
            raise OSError(f"{self.decode_failures.name(index)} cannot be read: {reason}") from None
        if self._data.tile:
            pixels = pixels[row : row + self._data.tile, column : column + self._data.tile]
        return (None, "is smaller than its header states") if 0 in pixels.shape else (pixels, None)

    def _decode(self, image: int) -> np.ndarray:
        pixels = decode(self._read_file(image), self._data.channels, follow_exif=self._data.follow_exif)
        check_values(pixels, self._data)
        return pixels


def _padded(data: Data) -> dict[str, tuple[tuple[int, ...], str]]:
    return {CANVAS: ((data.canvas, data.canvas, data.channels), data.pixel_dtype), SHAPE: ((2,), "int32")}
