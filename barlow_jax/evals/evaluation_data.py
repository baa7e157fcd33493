"""Data of an evaluation: its splits, whether their labels allow an accuracy, and a record for the results.

An accuracy needs one label per image and two classes or more in each split: with one class, every classifier
is right.
"""

from collections.abc import Callable
import dataclasses
from typing import Any, NamedTuple

import numpy as np

from barlow_jax.config.schema import Data
from barlow_jax.data import splits
from barlow_jax.distributed import same_data
from barlow_jax.errors import UserError
from barlow_jax.evals.accuracy import multi_label_message
from barlow_jax.evals.features import NotMeasurableError
from barlow_jax.io import log
from barlow_jax.papers.scores import data_identity
from barlow_jax.types import FeatureTable

_MAX_NAMES = 10  # classes in one message


class EvaluationData(NamedTuple):
    """Training and evaluation split of `config.data`."""

    data: Data
    train: splits.Split
    test: splits.Split

    @classmethod
    def open(cls, data: Data) -> "EvaluationData":
        """Open both splits. Their labels are not checked."""
        return cls(data, *(same_data.open_split(data, name) for name in (data.train_split, data.eval_split)))

    def check_labels(self, *, multi_label: bool = False) -> "EvaluationData":
        """Check what is known of the labels before an image is read; return self.

        Raises:
          UserError: the data allow no accuracy; with `multi_label`, no average precision.
        """
        if problem := self.label_problem(multi_label=multi_label):
            raise UserError(problem)
        return self

    def label_problem(self, *, multi_label: bool = False) -> str | None:
        """Return why the data allow no accuracy, with `multi_label` no average precision; None if they do."""
        for split, name in ((self.train, self.data.train_split), (self.test, self.data.eval_split)):
            where = f"split {name!r} of {describe_source(self.data)}"
            if split.num_classes is None:
                return f"{where} has no labels, which an accuracy needs. {_WITHOUT_LABELS}"
            if multi_label and not split.multi_label:
                return f"SVMs need multi-label images, but {where} has one label per image. Use the probe."
            if split.multi_label and not multi_label:
                return multi_label_message(where, split.num_classes)
            if split.num_classes < 2 and not multi_label:
                return f"{where} has {split.num_classes} class, but {_TWO_CLASSES}"
        return None

    def tables(
        self, extract: Callable[[splits.Split], FeatureTable]
    ) -> tuple[FeatureTable, FeatureTable, dict[str, Any]]:
        """Return the features of both splits without decode failures, and the entry "data" of a result.

        Images without a label are left out.
        """
        train, test = (
            table._replace(decode_failures=split.num_examples - len(table.index)).labeled()
            for split in (self.train, self.test)
            for table in [extract(split)]
        )
        test = test._replace(own=self.own_rows(train.index, test.index))
        return train, test, self.record(train.labels, test.labels, test.own)

    def own_rows(self, train_index: np.ndarray, test_index: np.ndarray) -> np.ndarray | None:
        """Return `[N]` rows of the training table that hold the images of the rows to classify; -1 = none.

        The arguments are the indices of both tables' rows in their splits. If the splits share no image, None
        is returned.
        """
        shared = splits.shared_examples(self.data, self.train, self.test)
        if shared is None:
            return None
        rows = np.full(self.train.num_examples, -1)
        rows[train_index] = np.arange(len(train_index))
        same = shared[test_index]
        return np.where(same >= 0, rows[same], -1)

    def record(
        self, train_labels: np.ndarray, test_labels: np.ndarray, own: np.ndarray | None = None
    ) -> dict[str, Any]:
        """Return the entry "data" of a result, after a check of the labels that were read.

        The labels are those of the images that could be decoded; `own` is what `own_rows` returns. Logs a
        warning if the splits share images, or if training lacks classes of the evaluation split.

        Raises:
          NotMeasurableError: as `check_classes`.
        """
        self.check_classes(train_labels, test_labels)
        return {
            **data_identity(dataclasses.asdict(self.data)),
            "train_images": len(train_labels),
            "eval_images": len(test_labels),
            "num_classes": self.train.num_classes,
            "shared_images": self.count_shared(own),
            "unseen_classes": self._unseen_classes(train_labels, test_labels),
        }

    def check_classes(self, train_labels: np.ndarray, test_labels: np.ndarray) -> None:
        """Check that the labels that were read are of several classes.

        Raises:
          NotMeasurableError: those of a split are not.
        """
        for labels, name in ((train_labels, self.data.train_split), (test_labels, self.data.eval_split)):
            if labels.ndim == 1 and len(np.unique(labels)) < 2:
                where = f"the images of split {name!r} of {describe_source(self.data)}"
                raise NotMeasurableError(f"{where} are all of one class, but {_TWO_CLASSES}")

    def count_shared(self, own: np.ndarray | None) -> int:
        """Return how many evaluation images `own_rows` found in training, with a warning if there are any."""
        shared = 0 if own is None else int(np.sum(own >= 0))
        if shared:
            data = self.data
            log.warning(
                f"{shared} of {len(own)} evaluation images (split {data.eval_split!r}) are training images "
                f"too (split {data.train_split!r}): k-NN excludes each from its own neighbors, but "
                "classifiers are trained on them. Set config.data.eval_split to other images."
            )
        return shared

    def _unseen_classes(self, train_labels: np.ndarray, test_labels: np.ndarray) -> dict[str, int]:
        """Return the number of evaluation images by class that training never saw, with a warning."""
        if train_labels.ndim > 1:
            return {}  # the SVMs name the classes that they leave out
        classes, counts = np.unique(test_labels, return_counts=True)
        names = self.test.class_names or range(int(classes.max()) + 1)
        unseen = {
            str(names[label]): count
            for label, count in zip(classes.tolist(), counts.tolist(), strict=True)
            if label not in train_labels
        }
        if unseen:
            listed = ", ".join([*unseen][:_MAX_NAMES]) + (", ..." if len(unseen) > _MAX_NAMES else "")
            log.warning(
                f"{len(unseen)} of {len(classes)} classes of split {self.data.eval_split!r} have no image in "
                f"split {self.data.train_split!r}, so their {sum(unseen.values())} images count as wrong: "
                f"{listed}"
            )
        return unseen


_TWO_CLASSES = "an accuracy needs two classes or more. Give the images their labels, or measure none."
_WITHOUT_LABELS = (
    "Without labels, `embed --nearest` and `report` show neighbors, spectra and ranks; `transfer` measures "
    "labeled data sets."
)


def describe_source(data: Data) -> str:
    """Return the name of a data set for a message, with its folder if it has one."""
    return f"{data.name} in {data.data_dir}" if data.data_dir else data.name
