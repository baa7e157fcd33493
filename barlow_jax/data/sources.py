"""Random access by index to the encoded images of a split of TFDS (TFRecord or ArrayRecord).

With access by index the order of the data is a function of (seed, step), on any number of hosts and from any
step, and no shuffle buffer is needed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import io
import os
import sys
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from barlow_jax.config.schema import Data
from barlow_jax.data import catalog, word_counts
from barlow_jax.data.decode_failures.counter import DecodeFailures
from barlow_jax.data.tfrecords import TFRecords
from barlow_jax.errors import UserError
from barlow_jax.io import log

tf.config.set_visible_devices([], "GPU")  # TensorFlow would take their memory, which JAX needs

# From indices into a split to its records.
Read = Callable[[Sequence[int]], list[bytes]]


@dataclasses.dataclass(frozen=True)
class Source:
    """One split. `fetch`, `parse` and `parse_captions` consist of TensorFlow ops and run inside tf.data."""

    num_examples: int
    class_names: Sequence[str] | None  # [C]; None if there are no labels
    multi_label: bool  # an image shows any number of the classes
    fetch: Callable[[tf.Tensor], tf.Tensor]  # from [n] int64 indices to [n] records, in one read
    # From a record to (encoded image, int32 label). A label is a class [] (-1 if there are none) or
    # multi-label [C]: 1 shown, 0 not shown, -1 not counted.
    parse: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    decode_failures: DecodeFailures  # its images that could not be decoded so far
    identity: Callable[[], Iterable[bytes]]  # see `Split.identity`
    # From a record to [n] UTF-8 captions, and the word counts of data.train_split; None without captions.
    parse_captions: Callable[[tf.Tensor], tf.Tensor] | None = None
    count_words: Callable[[], Mapping[str, int]] | None = None

    @property
    def num_classes(self) -> int | None:
        """Number of classes C; None if there are no labels."""
        return None if self.class_names is None else len(self.class_names)


def open_split(data: Data, split: str) -> Source:
    """Open a split, after preparing the data set if it is not prepared yet.

    Raises:
      UserError: the data set must be downloaded by hand, cannot be read by index, or has no image.
    """
    cache = _cached if data.cache == "encoded" else None
    builder = catalog.tfds_builder(data)
    if not builder.data_path.exists():
        if not sys.stderr.isatty():
            tfds.disable_progress_bar()
        log.info(f"preparing {builder.info.full_name} in {builder.data_path}")
        # ArrayRecord is read by index; TFRecord, TFDS's default, has to be scanned first. If another process
        # on this disk is faster, its files are the same.
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints
                builder.download_and_prepare(file_format="array_record")
        except FileExistsError:
            pass
        except AssertionError as error:  # the licence requires a download by hand
            raise UserError(str(error)) from None
        builder = catalog.tfds_builder(data)
    source = _open_tfds(builder, split, cache)
    if source.parse_captions is None:
        return source

    def count_words() -> Mapping[str, int]:
        train = source if split == data.train_split else _open_tfds(builder, data.train_split, None)
        return word_counts.load_or_count(builder.data_path, data.train_split, lambda: read_captions(train))

    return dataclasses.replace(source, count_words=count_words)


def read_captions(source: Source) -> Iterator[list[str]]:
    """Yield the captions of each example, in the order of the split; no image is decoded."""
    records = tf.data.Dataset.range(source.num_examples).batch(256).map(source.fetch).unbatch()
    for captions in records.map(source.parse_captions).as_numpy_iterator():
        yield [caption.decode() for caption in captions]


def read_labels(source: Source) -> np.ndarray:
    """Return the labels of all examples, in the order of the split; no image is decoded."""
    records = tf.data.Dataset.range(source.num_examples).batch(1024).map(source.fetch).unbatch()
    labels = records.map(lambda record: source.parse(record)[1]).batch(1024)
    return np.concatenate(list(labels.as_numpy_iterator()))


def _cached(read: Read) -> Read:
    """Wrap `read` so that every record is read once and then kept in memory.

    Threads may call the result at the same time; at worst two of them read the same record.
    """
    cache: dict[int, bytes] = {}

    def read_new(indices: Sequence[int]) -> list[bytes]:
        new = [index for index in dict.fromkeys(indices) if index not in cache]
        if new:
            cache.update(zip(new, read(new), strict=True))
        return [cache[index] for index in indices]

    return read_new


def _open_tfds(builder: Any, split: str, cache: Callable[[Read], Read] | None) -> Source:
    features = builder.info.features
    image_key = _find_feature(builder, "image", lambda feature: isinstance(feature, tfds.features.Image))
    if image_key is None:
        raise UserError(f"{builder.name} has no image; its features are {', '.join(features)}")
    class_names, multi_label, read_label = _labels(builder)
    catalog.split_size(builder.name, split, builder.info.splits)  # the split must exist
    if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
        records = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
        read, num_examples = records.__getitems__, len(records)
    elif builder.info.file_format == tfds.core.FileFormat.TFRECORD:
        records = TFRecords(builder.info.splits[split].file_instructions)
        read, num_examples = records.read, len(records)
    else:
        raise UserError(
            f"{builder.data_path} is stored as {builder.info.file_format.value}, which cannot be read by "
            "index; prepare it again: BUCKET= DATA_DIR=<new folder> bash launch/prepare_data.sh <data set>"
        )
    read = cache(read) if cache else read

    def fetch(index: tf.Tensor) -> tf.Tensor:
        records = tf.numpy_function(lambda i: np.array(read(i.tolist()), object), [index], tf.string)
        return tf.ensure_shape(records, [None])

    def deserialize(record: tf.Tensor) -> Mapping[str, Any]:
        return features.deserialize_example(record, decoders={image_key: tfds.decode.SkipDecoding()})

    def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = deserialize(record)
        return example[image_key], tf.cast(read_label(example), tf.int32)

    def parse_captions(record: tf.Tensor) -> tf.Tensor:
        return deserialize(record)["captions"]["text"]

    decode_failures = DecodeFailures(lambda index: f"example {index} of {builder.name}'s split {split!r}")

    def identity() -> Iterator[bytes]:
        for part in builder.info.splits[split].file_instructions:  # of either file format
            name = os.path.basename(part.filename).replace(builder.info.file_format.file_suffix, "")
            taken = range(part.examples_in_shard)[part.skip :][: None if part.take < 0 else part.take]
            yield from (f"{builder.info.full_name} {name} {number}".encode() for number in taken)

    source = Source(num_examples, class_names, multi_label, fetch, parse, decode_failures, identity)
    return dataclasses.replace(source, parse_captions=parse_captions) if _has_captions(builder) else source


def _has_captions(builder: Any) -> bool:
    """Return whether examples have captions in the format of TFDS's `coco_captions`."""
    feature = dict(builder.info.features.items()).get("captions")
    return isinstance(feature, tfds.features.Sequence) and "text" in getattr(feature.feature, "keys", tuple)()


def _labels(
    builder: Any,
) -> tuple[Sequence[str] | None, bool, Callable[[Mapping[str, tf.Tensor]], tf.Tensor]]:
    """Return the names of the classes, whether images are multi-label, and a function from example to label.

    If a data set has labels of both forms, the single class per image is read.
    """
    features = builder.info.features
    single = _find_feature(builder, "label", lambda feature: isinstance(feature, tfds.features.ClassLabel))
    if single:
        return features[single].names, False, lambda example: example[single]

    def is_multi_label(feature: Any) -> bool:
        is_sequence = isinstance(feature, tfds.features.Sequence)
        return is_sequence and isinstance(feature.feature, tfds.features.ClassLabel)

    multiple = _find_feature(builder, "labels", is_multi_label)
    if not multiple:
        return None, False, lambda example: -1
    class_names = features[multiple].feature.names
    num_classes = len(class_names)
    not_difficult = f"{multiple}_no_difficult"  # in PASCAL VOC: classes with an object that is not difficult

    def is_shown(example: Mapping[str, tf.Tensor], key: str) -> tf.Tensor:
        return tf.reduce_any(tf.one_hot(example[key], num_classes, on_value=True, off_value=False), axis=0)

    def multi_hot(example: Mapping[str, tf.Tensor]) -> tf.Tensor:
        label = tf.where(is_shown(example, multiple), 1, 0)
        return tf.where(is_shown(example, not_difficult), 1, -label) if not_difficult in features else label

    return class_names, True, multi_hot


def _find_feature(builder: Any, usual_name: str, matches: Callable[[Any], bool]) -> str | None:
    """Return the name of a matching feature: a supervised key or the usual name, otherwise the first."""
    names = [name for name, feature in builder.info.features.items() if matches(feature)]
    preferred = builder.info.supervised_keys or (usual_name,)
    return min(names, key=lambda name: name not in preferred, default=None)
