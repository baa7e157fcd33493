"""The one door to the data: opens a split of whatever kind, with TensorFlow only where its kind needs it."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from barlow_jax.config import schema as config_lib
from barlow_jax.config.recipe import View
from barlow_jax.data.captions import Captions
from barlow_jax.data.decode_failures.log import DecodeFailures
from barlow_jax.data.sampler import ProcessShard, SampleRange
from barlow_jax.errors import UserError
from barlow_jax.types import Batch


class Split(Protocol):
    """The examples of a split, by their index 0..N - 1."""

    num_examples: int  # N
    num_classes: int | None  # C; None where there are no labels
    multi_label: bool  # an image shows any number of the classes
    decode_failures: DecodeFailures  # its images that could not be decoded, as far as they were met

    def train_batches(
        self, data: config_lib.Data, views: Mapping[str, View], sample_range: SampleRange
    ) -> Iterator[Batch]:
        """This process's rows of the batches of a window's steps.

        With `data.augment_on` "host" the views are `views`, finished; with "device" they are what the step makes
        them of (`barlow_jax.data.padded_images`). With `data.caption_words` view b is a caption, `[B, caption_words]` int32 ids
        (`captions.Vocabulary`): one of the image's, drawn from (seed, position) (`captions.drawn`).

        What comes out depends on the order's seed and the step alone, and the processes' rows, put together, are
        the global batch. Another image (`SampleRange.stand_ins`) takes the row of one that cannot be decoded, which is
        counted.

        Raises:
          UserError: the split has more such images than `data.max_decode_failures`.
        """

    def eval_batches(
        self,
        data: config_lib.Data,
        *,
        batch_size: int,
        shard: ProcessShard,
        examples: np.ndarray | None = None,
    ) -> Iterator[Batch]:
        """This process's rows of the evaluation crops: one view, `eval`, `[B, image_size, image_size, 3]`.

        They come in the order of `examples`, or of the split. The last batch is padded with rows of index -1,
        which is also the index of an image that cannot be decoded: it is counted, and has no levels.

        Raises:
          UserError: the split has more such images than `data.max_decode_failures`.
        """

    def read_labels(self) -> np.ndarray:
        """`[N]` or `[N, C]` int32 labels (types.Batch), in the order of the split."""

    def read_captions(self, data: config_lib.Data) -> Captions:
        """All captions of all examples; no image is decoded.

        Raises:
          UserError: there are none.
        """

    def decoded(self, data: config_lib.Data) -> Batch:
        """All examples as one batch of N host rows, with the views `canvas` and `shape` of `barlow_jax.data.padded_images`.

        The index is -1 where the image cannot be decoded.

        Raises:
          UserError: an image is larger than the canvas, or more are broken than `data.max_decode_failures`.
        """


def open_split(data: config_lib.Data, split: str) -> Split:
    """Opens a split, preparing the data set first where TFDS can.

    Raises:
      UserError: it cannot be read, and what to do.
    """
    if data.name == "arrays":
        from barlow_jax.data import arrays

        return arrays.ArraySplit.open(data, split)
    if data.name == "captioned_digits":
        from barlow_jax.data import captioned_digits

        return captioned_digits.CaptionedDigits.of(data, split)
    _check_tensorflow(f"config.data.name: {data.name} is")
    from barlow_jax.data import records, sources

    return records.Records(sources.open_split(data, split))


def open_images(folder: str) -> Split:
    """All images below a folder, whatever is in it (`catalog.image_files`), in the order of their paths; no labels.

    Raises:
      UserError: there are none, or TensorFlow is not installed.
    """
    _check_tensorflow("--images: files are")
    from barlow_jax.data import records, sources

    return records.Records(sources.open_images(folder))


def _check_tensorflow(what: str) -> None:
    try:
        import tensorflow  # noqa: F401  it takes 10 s, or is not installed
        import tensorflow_datasets  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{what} read by TensorFlow and TFDS, and importing them failed ({error}); "
            "install tensorflow and tensorflow-datasets, or bring the images as config.data.name=arrays"
        ) from None
