"""Entry point to the data: the `Split` protocol, and functions that open a split of any data set.

TensorFlow is imported only for the data sets that it reads.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import hashlib
from typing import NamedTuple, Protocol

import numpy as np

from barlow_jax.config.recipe import View
from barlow_jax.config.schema import Data
from barlow_jax.data import catalog, image_stats, sklearn_digits
from barlow_jax.data.captioned_digits import CaptionedDigits
from barlow_jax.data.captions import Captions
from barlow_jax.data.collection import Collection, open_all, open_collection
from barlow_jax.data.decode_failures import DecodeFailures
from barlow_jax.data.folders import printable
from barlow_jax.data.image_split import ImageSplit
from barlow_jax.data.sampler import ProcessShard, SampleRange
from barlow_jax.types import Batch


class Split(Protocol):
    """The N examples of a split, identified by their index 0..N - 1."""

    num_examples: int  # N
    num_classes: int | None  # C; None if there are no labels
    class_names: Sequence[str] | None  # [C]; None if they have none
    multi_label: bool  # an image shows any number of the classes
    decode_failures: DecodeFailures  # its images that could not be decoded so far

    def identity(self) -> Iterator[bytes]:
        """Yield bytes that identify each example, in order, without reading an image from a file.

        Two splits that yield the same hold the same examples at the same indices: files of the same paths
        relative to `data.data_dir` and the same sizes, arrays of the same checksum, or the same shards of the
        same version of a data set.
        """

    def train_batches(
        self, data: Data, views: Mapping[str, View], sample_range: SampleRange
    ) -> Iterator[Batch]:
        """Return this process's rows of the training batches of a range of steps.

        With `data.augment_on` "host" the batches hold the finished `views`; with "device" the padded images
        from which the step makes them (`barlow_jax.data.padded_images`). With `data.caption_words` view b is
        a caption, `[B, caption_words]` int32 ids (`captions.Vocabulary`): one of the image's, sampled from
        (seed, position) (`captions.sample_caption`).

        Batches depend on the sampler's seed and the step alone, and the rows of all processes together are
        the global batch. Another image (`SampleRange.replacements`) replaces one that cannot be decoded,
        which is counted.

        Raises:
          UserError: more images than `data.max_decode_failures` cannot be decoded.
        """

    def eval_batches(
        self, data: Data, *, batch_size: int, shard: ProcessShard, examples: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """Return this process's rows of the evaluation crops: the view `eval`, `[B, size, size, C]`.

        They come in the order of `examples`, or of the split. Rows that pad the last batch have index -1. So
        has the row of an image that cannot be decoded: it is counted, and its pixel values are zeros.

        Raises:
          UserError: more images than `data.max_decode_failures` cannot be decoded.
        """

    def read_content(self, index: int) -> bytes | np.ndarray:
        """Return the encoded image of an example, or its pixels; b"" if it cannot be read."""

    def read_labels(self) -> np.ndarray:
        """Return `[N]` or `[N, C]` int32 labels (`types.Batch`), in the order of the split."""

    def read_captions(self, data: Data) -> Captions:
        """Return all captions of all examples; no image is decoded.

        Raises:
          UserError: the data set has no captions.
        """

    def decode_all(self, data: Data) -> Batch:
        """Return all examples as one batch of N host rows, with the views `canvas` and `shape`.

        See `barlow_jax.data.padded_images`. The index is -1 if the image cannot be decoded.

        Raises:
          UserError: an image is larger than the canvas, or more images than `data.max_decode_failures`
            cannot be decoded.
        """


class Identity(NamedTuple):
    """Number of examples of a split, and a digest of which they are, in order."""

    images: int
    digest: str  # 32 hex digits


def identify(split: Split) -> Identity:
    """Return the identity of a split's examples (a million file names: 2 s); no image file is read."""
    digest = hashlib.blake2b(digest_size=16)
    for example in split.identity():
        digest.update(b"%d:" % len(example) + example)
    return Identity(split.num_examples, digest.hexdigest())


def open_split(data: Data, split: str) -> Split:
    """Open a split, after preparing the data set if it is TFDS's and not prepared yet.

    Raises:
      UserError: the split cannot be read; the message names the remedy.
    """
    if data.name == sklearn_digits.CAPTIONED:
        return CaptionedDigits(data, split)
    if data.name in catalog.BUILT_IN:
        return _open_collection(open_collection(data, split), data)
    try:
        from barlow_jax.data.record_split import RecordSplit  # 10 s
    except ImportError as error:
        raise catalog.without_tfds(data.name, error) from None
    opened = RecordSplit(data, split)
    image_stats.warn_of_narrow_range(opened.num_examples, opened.read_content, opened.decode_failures.name)
    return opened


def shared_examples(data: Data, train: Split, test: Split) -> np.ndarray | None:
    """Return `[N]` index in the training split of each example of the evaluation split; -1 if missing.

    None if the two share no example. Splits of different names, apart from slices (`train[:90%]`), are taken
    to be different images, without a comparison.
    """
    if data.train_split == data.eval_split:
        return np.arange(train.num_examples)
    train_names, test_names = (
        {part.partition("[")[0].strip() for part in split.split("+")}
        for split in (data.train_split, data.eval_split)
    )
    if not train_names & test_names:
        return None
    index = {identity: number for number, identity in enumerate(train.identity())}
    shared = np.array([index.get(identity, -1) for identity in test.identity()])
    return shared if np.any(shared >= 0) else None


def open_images(path: str, data: Data) -> ImageSplit:
    """Open all images of a source (`collection.open_all`), decoded as those of `data`, of whatever kind.

    Raises:
      UserError: the source holds no image.
    """
    data = dataclasses.replace(data, name="images", data_dir=path, cache="none")
    return _open_collection(open_all(path, data), data)


def _open_collection(collection: Collection, data: Data) -> ImageSplit:
    if data.pixel_dtype == "uint8":
        names = collection.names
        image_stats.warn_of_narrow_range(len(names), collection.read, lambda index: printable(names[index]))
    return ImageSplit(collection, data)
