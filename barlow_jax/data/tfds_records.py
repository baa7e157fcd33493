"""Random access by index to the records of a split of TFDS (TFRecord or ArrayRecord), and their features.

With access by index the order of the data is a function of (seed, step), on any number of hosts and from any
step, and no shuffle buffer is needed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import io
import os
import struct
import sys
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from barlow_jax.config.schema import Data
from barlow_jax.data import catalog
from barlow_jax.data.decode_failures import DecodeFailures
from barlow_jax.errors import UserError
from barlow_jax.io import log, paths

tf.config.set_visible_devices([], "GPU")  # TensorFlow would take their memory, which JAX needs

# From indices into a split to its records.
Read = Callable[[Sequence[int]], list[bytes]]


class Records:
    """The records of a split, by index. `fetch`, `parse` and `deserialize` consist of TensorFlow ops."""

    def __init__(self, data: Data, split: str):
        """Open a split, after preparing the data set if it is not prepared yet.

        Raises:
          UserError: the data set must be downloaded by hand, cannot be read by index, or has no image.
        """
        self._split, self._builder = split, _prepare(data)
        name, features = self._builder.name, self._builder.info.features
        self._image_key = _find_feature(
            self._builder, "image", lambda of: isinstance(of, tfds.features.Image)
        )
        if self._image_key is None:
            raise UserError(f"{name} has no image; its features are {', '.join(features)}")
        self.class_names, self.multi_label, self._read_label = _labels(self._builder)
        self.has_captions = _has_captions(self._builder)
        self.num_classes = None if self.class_names is None else len(self.class_names)
        read, self.num_examples = _open_records(self._builder, split)
        self._read = _cached(read) if data.cache == "encoded" else read
        self.decode_failures = DecodeFailures(lambda index: f"example {index} of {name}'s split {split!r}")

    def identity(self) -> Iterator[bytes]:
        """Implement `Split.identity`."""
        info = self._builder.info
        for part in info.splits[self._split].file_instructions:  # of either file format
            name = os.path.basename(part.filename).replace(info.file_format.file_suffix, "")
            taken = range(part.examples_in_shard)[part.skip :][: None if part.take < 0 else part.take]
            yield from (f"{info.full_name} {name} {number}".encode() for number in taken)

    def fetch(self, index: tf.Tensor) -> tf.Tensor:
        """Return the `[n]` records of `[n]` int64 indices, in one read."""
        read = self._read
        records = tf.numpy_function(lambda i: np.array(read(i.tolist()), object), [index], tf.string)
        return tf.ensure_shape(records, [None])

    def parse(self, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the encoded image and the int32 label of a record.

        A label is a class `[]` (-1 if there are none) or multi-label `[C]`: 1 shown, 0 not shown, -1 not
        counted.
        """
        example = self.deserialize(record)
        return example[self._image_key], tf.cast(self._read_label(example), tf.int32)

    def deserialize(self, record: tf.Tensor) -> Mapping[str, Any]:
        """Return the features of a record, with the image as encoded."""
        decoders = {self._image_key: tfds.decode.SkipDecoding()}
        return self._builder.info.features.deserialize_example(record, decoders=decoders)

    def read_content(self, index: int) -> bytes:
        """Implement `Split.read_content`."""
        try:
            (record,) = self.fetch(tf.constant([index], tf.int64))
            return self.parse(record)[0].numpy()
        except tf.errors.OpError:  # reported when the image is used
            return b""

    def read_labels(self) -> np.ndarray:
        """Implement `Split.read_labels`; no image is decoded."""
        labels = self._records().map(lambda record: self.parse(record)[1]).batch(1024)
        return np.concatenate(list(labels.as_numpy_iterator()))

    def captions(self) -> Iterator[list[str]]:
        """Yield the captions of each example, in the order of the split."""
        captions = self._records().map(lambda record: self.deserialize(record)["captions"]["text"])
        for texts in captions.as_numpy_iterator():
            yield [text.decode() for text in texts]

    def _records(self) -> tf.data.Dataset:
        return tf.data.Dataset.range(self.num_examples).batch(256).map(self.fetch).unbatch()


def _prepare(data: Data) -> Any:
    """Return the TFDS builder of a data set, after preparing that if it is not prepared yet."""
    builder = catalog.tfds_builder(data)
    if builder.data_path.exists():
        path = str(builder.data_path)
        return tfds.builder_from_directory(paths.on_disk(path)) if paths.is_url(path) else builder
    if paths.is_url(builder.data_path):
        raise UserError(
            f"config.data: {builder.data_path} does not exist; prepare the data set and copy it there: "
            f"BUCKET=<bucket> bash launch/prepare_data.sh {data.name}"
        )
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    log.info(f"preparing {builder.info.full_name} in {builder.data_path}")
    # ArrayRecord is read by index; TFRecord, TFDS's default, has to be scanned first. If another process on
    # this disk is faster, its files are the same.
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints
            builder.download_and_prepare(file_format="array_record")
    except FileExistsError:
        pass
    except AssertionError as error:  # the licence requires a download by hand
        raise UserError(str(error)) from None
    return catalog.tfds_builder(data)


def _open_records(builder: Any, split: str) -> tuple[Read, int]:
    """Return a function that reads the records of a split, and their number."""
    catalog.split_size(builder.name, split, builder.info.splits)  # the split must exist
    if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
        records = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
        return records.__getitems__, len(records)
    if builder.info.file_format == tfds.core.FileFormat.TFRECORD:
        records = TFRecords(builder.info.splits[split].file_instructions)
        return records.read, len(records)
    raise UserError(
        f"{builder.data_path} is stored as {builder.info.file_format.value}, which cannot be read by "
        "index; prepare it again: BUCKET= DATA_DIR=<new folder> bash launch/prepare_data.sh <data set>"
    )


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


class TFRecords:
    """The records of TFRecord files on a local disk, by the offsets of their records and pread.

    A record is its length (8 bytes, little-endian), a checksum (4 bytes), the data, and a checksum (4 bytes).
    """

    def __init__(self, instructions: Sequence[Any]):
        """Scan the files of TFDS's `file_instructions` (filename, skip, take) for their records' offsets.

        Raises:
          UserError: a file is not on a local disk.
        """
        self._files, spans = [], []
        for number, instruction in enumerate(instructions):
            path = os.fspath(instruction.filename)
            if not os.path.exists(path):
                raise UserError(
                    f"{path} is missing on this host; TFRecords are read from a local disk: copy them there"
                )
            self._files.append(os.open(path, os.O_RDONLY))
            end = None if instruction.take == -1 else instruction.skip + instruction.take
            spans += [(number, *span) for span in _spans(self._files[-1])[instruction.skip : end]]
        self._spans = np.array(spans, np.int64).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self._spans)

    def read(self, indices: Sequence[int]) -> list[bytes]:
        """Read records by their indices."""
        spans = self._spans[np.asarray(indices)]
        return [os.pread(self._files[number], length, offset) for number, offset, length in spans.tolist()]


def _spans(file: int) -> list[tuple[int, int]]:
    """Return (offset, length) of the data of each record of a file."""
    spans, offset, end = [], 0, os.fstat(file).st_size
    while offset < end:
        (length,) = struct.unpack("<Q", os.pread(file, 8, offset))
        spans.append((offset + 12, length))
        offset += length + 16
    return spans
