"""Data sets as random access by index: whatever TFDS prepared (TFRecord or ArrayRecord), and folders.

Reading by index is what makes the order of the data a function of (seed, step), on any number of
hosts and from any step, without a shuffle buffer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import os
import struct
import sys
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from barlow_jax.config import schema as config_lib
from barlow_jax.data import catalog, word_counts
from barlow_jax.data.decode_failures.log import DecodeFailures
from barlow_jax.errors import UserError

tf.config.set_visible_devices([], "GPU")  # they are JAX's; TensorFlow would take their memory

# Indices into a split to their records or files.
Read = Callable[[Sequence[int]], list[bytes]]


@dataclasses.dataclass(frozen=True)
class Source:
    """One split. `fetch` and `parse` are made of TensorFlow ops and run inside tf.data."""

    num_examples: int
    num_classes: int | None  # C; None where there are no labels
    multi_label: bool  # an image shows any number of the classes
    fetch: Callable[[tf.Tensor], tf.Tensor]  # [n] int64 indices to [n] records, in one go
    # One record to (encoded image, label); the label is int32, a class [] (-1 where there are no labels) or,
    # of images with several labels, [C]: 1 shown, 0 not, -1 not to be counted.
    parse: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    decode_failures: DecodeFailures  # its images that could not be decoded, as far as they were met
    # One record to [n] UTF-8 captions; and how often those of data.train_split have each word. None: there are none.
    captions: Callable[[tf.Tensor], tf.Tensor] | None = None
    counted: Callable[[], Mapping[str, int]] | None = None


def open_split(data: config_lib.Data, split: str) -> Source:
    """Opens a split, preparing the data set first where TFDS can."""
    keep = _keeping if data.cache == "encoded" else None
    if data.name == "folder":
        return _open_folder(data, split, keep)
    builder = catalog.tfds_builder(data)
    if not builder.data_path.exists():
        if not sys.stderr.isatty():
            tfds.disable_progress_bar()
        # ArrayRecord reads by index; TFDS's default, TFRecord, has to be scanned first. Another process
        # on this disk may be faster, and its files are the same.
        try:
            builder.download_and_prepare(file_format="array_record")
        except FileExistsError:
            pass
        except AssertionError as error:  # archives that their licence wants downloaded by hand
            raise UserError(str(error)) from None
        builder = catalog.tfds_builder(data)
    source = _open_tfds(builder, split, keep)
    if source.captions is None:
        return source

    def counted() -> Mapping[str, int]:
        train = source if split == data.train_split else _open_tfds(builder, data.train_split, None)
        return word_counts.of(builder.data_path, data.train_split, lambda: read_captions(train))

    return dataclasses.replace(source, counted=counted)


def read_captions(source: Source) -> Iterator[list[str]]:
    """Of each example, in the order of the split; no image is decoded."""
    records = tf.data.Dataset.range(source.num_examples).batch(256).map(source.fetch).unbatch()
    for texts in records.map(source.captions).as_numpy_iterator():
        yield [text.decode() for text in texts]


def read_labels(source: Source) -> np.ndarray:
    """Labels of all examples, in the order of the split; no image is decoded."""
    records = tf.data.Dataset.range(source.num_examples).batch(1024).map(source.fetch).unbatch()
    labels = records.map(lambda record: source.parse(record)[1]).batch(1024)
    return np.concatenate(list(labels.as_numpy_iterator()))


def _keeping(read: Read) -> Read:
    """`read` in the place of a disk: what it gave once stays in memory. Threads may call it at the same time;
    at worst two of them read the same record, and it is kept once."""
    kept: dict[int, bytes] = {}

    def read_new(indices: Sequence[int]) -> list[bytes]:
        new = [index for index in dict.fromkeys(indices) if index not in kept]
        if new:
            kept.update(zip(new, read(new), strict=True))
        return [kept[index] for index in indices]

    return read_new


def open_images(folder: str) -> Source:
    """All images below a folder (`catalog.image_files`), without labels."""
    paths = [os.path.join(folder, name) for name in catalog.image_files(folder)]
    return _of_files(paths, [-1] * len(paths), None, None)


def _open_folder(data: config_lib.Data, split: str, keep: Callable[[Read], Read] | None) -> Source:
    builder = tfds.ImageFolder(data.data_dir)
    # Private, but there is no other way: its as_dataset() reads every file, in order.
    examples = builder._split_examples[split]
    classes = builder.info.features["label"]
    paths, labels = [os.fspath(e.image_path) for e in examples], [classes.str2int(e.label) for e in examples]
    return _of_files(paths, labels, classes.num_classes, keep)


def _of_files(
    paths: Sequence[str],
    classes: Sequence[int],
    num_classes: int | None,
    keep: Callable[[Read], Read] | None,
) -> Source:
    encoded_paths = [os.fsencode(path) for path in paths]  # a name may be any bytes
    tensor, labels = tf.constant(encoded_paths), tf.constant(classes, tf.int32)

    # A file is read where it is parsed: by many threads, and one that cannot be read is one row's fault.
    def parse(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return read_file(index), tf.gather(labels, index)

    def read_file(index: tf.Tensor) -> tf.Tensor:
        if keep is None:
            return tf.io.read_file(tf.gather(tensor, index))
        return tf.ensure_shape(tf.numpy_function(lambda i: kept([int(i)])[0], [index], tf.string), [])

    def read_files(indices: Sequence[int]) -> list[bytes]:
        return [tf.io.read_file(encoded_paths[index]).numpy() for index in indices]

    kept = keep and keep(read_files)
    decode_failures = DecodeFailures(lambda index: encoded_paths[index].decode(errors="backslashreplace"))
    return Source(len(paths), num_classes, False, lambda index: index, parse, decode_failures)


def _open_tfds(builder: Any, split: str, keep: Callable[[Read], Read] | None) -> Source:
    features = builder.info.features
    image_key = _key(builder, "image", lambda kind: isinstance(kind, tfds.features.Image))
    if image_key is None:
        raise UserError(f"{builder.name} has no image; its features are {', '.join(features)}")
    num_classes, several, read_label = _labels(builder)
    if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
        records = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
        read, num_examples = records.__getitems__, len(records)
    elif builder.info.file_format == tfds.core.FileFormat.TFRECORD:
        records = TFRecords(builder.info.splits[split].file_instructions)
        read, num_examples = records.read, len(records)
    else:
        raise UserError(
            f"{builder.data_path} is stored as {builder.info.file_format.value}, which cannot be read by "
            "index; prepare it anew: BUCKET= DATA_DIR=<another folder> bash launch/prepare_data.sh <data set>"
        )

    read = keep(read) if keep else read

    def fetch(index: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(
            tf.numpy_function(lambda i: np.array(read(i.tolist()), object), [index], tf.string), [None]
        )

    def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = features.deserialize_example(record, decoders={image_key: tfds.decode.SkipDecoding()})
        return example[image_key], tf.cast(read_label(example), tf.int32)

    read_texts = _texts(builder)

    def captions(record: tf.Tensor) -> tf.Tensor:
        return read_texts(
            features.deserialize_example(record, decoders={image_key: tfds.decode.SkipDecoding()})
        )

    decode_failures = DecodeFailures(lambda index: f"example {index} of {builder.name}'s split {split!r}")
    return Source(
        num_examples, num_classes, several, fetch, parse, decode_failures, captions if read_texts else None
    )


def _texts(builder: Any) -> Callable[[Mapping[str, Any]], tf.Tensor] | None:
    """What reads the captions of an example, as `coco_captions` has them; None where there are none."""
    features = builder.info.features
    kind = dict(features.items()).get("captions")
    if isinstance(kind, tfds.features.Sequence) and "text" in getattr(kind.feature, "keys", tuple)():
        return lambda example: example["captions"]["text"]
    return None


def _labels(builder: Any) -> tuple[int | None, bool, Callable[[Mapping[str, tf.Tensor]], tf.Tensor]]:
    """The number of classes, whether an image has several, and what reads its label: one where there is one."""
    features = builder.info.features
    one = _key(builder, "label", lambda kind: isinstance(kind, tfds.features.ClassLabel))
    if one:
        return features[one].num_classes, False, lambda example: example[one]
    several = _key(
        builder,
        "labels",
        lambda kind: (
            isinstance(kind, tfds.features.Sequence) and isinstance(kind.feature, tfds.features.ClassLabel)
        ),
    )
    if not several:
        return None, False, lambda example: -1
    num_classes = features[several].feature.num_classes
    plain = f"{several}_no_difficult"  # of PASCAL VOC: the classes with an object that is not difficult

    def shown(example: Mapping[str, tf.Tensor], key: str) -> tf.Tensor:
        return tf.reduce_any(tf.one_hot(example[key], num_classes, on_value=True, off_value=False), axis=0)

    def multi_hot(example: Mapping[str, tf.Tensor]) -> tf.Tensor:
        label = tf.where(shown(example, several), 1, 0)
        return tf.where(shown(example, plain), 1, -label) if plain in features else label

    return num_classes, True, multi_hot


def _key(builder: Any, usual: str, fits: Callable[[Any], bool]) -> str | None:
    """The name of the feature that fits: the one for supervised learning, or of the usual name, or the first."""
    names = [name for name, kind in builder.info.features.items() if fits(kind)]
    preferred = builder.info.supervised_keys or (usual,)
    return min(names, key=lambda name: name not in preferred, default=None)


class TFRecords:
    """Random access to TFRecord files on a local disk: their record offsets, and pread.

    A record is its length (8 bytes, little-endian), a checksum (4), the data, and a checksum (4).
    """

    def __init__(self, instructions: Sequence[Any]):
        self._files, spans = [], []
        for number, part in enumerate(instructions):
            path = os.fspath(part.filename)
            if not os.path.exists(path):
                raise UserError(
                    f"{path} is not a file on this host; TFRecords are read from a local disk: copy them there"
                )
            self._files.append(os.open(path, os.O_RDONLY))
            take = None if part.take == -1 else part.skip + part.take
            spans += [(number, *span) for span in _spans(self._files[-1])[part.skip : take]]
        self._spans = np.array(spans, np.int64).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self._spans)

    def read(self, indices: Sequence[int]) -> list[bytes]:
        spans = self._spans[np.asarray(indices)]
        return [os.pread(self._files[number], length, offset) for number, offset, length in spans.tolist()]


def _spans(file: int) -> list[tuple[int, int]]:
    """(offset, length) of the data of each record of a file."""
    spans, offset, end = [], 0, os.fstat(file).st_size
    while offset < end:
        (length,) = struct.unpack("<Q", os.pread(file, 8, offset))
        spans.append((offset + 12, length))
        offset += length + 16
    return spans
