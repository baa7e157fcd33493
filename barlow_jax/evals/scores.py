"""How well a classifier did: top-1 and top-5 of one label an image, average precision of a ranking."""

from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.errors import UserError
from barlow_jax.types import FeatureTable

# A linear classifier: {"weight": [H, C], "bias": [C]}.
Head = Mapping[str, jax.Array]

_CHUNK = 4096  # rows at once: a [chunk, C] matrix of logits


def check_one_label_each(labels: np.ndarray) -> None:
    """UserError where images have several labels, `[N, C]`."""
    if labels.ndim != 1:
        raise UserError(
            f"the images of this data set have several labels each ({labels.shape[1]} classes), and k-NN, the "
            "linear probe and label subsets need one: measure them by `transfer` with svm"
        )


def logits_of(head: Head, features: jax.Array) -> jax.Array:
    """`[N, H]` features to `[N, C]`, every product in float32."""
    return jnp.matmul(features, head["weight"], precision="highest") + head["bias"]


def accuracy_on(test: FeatureTable) -> Callable[[Head], dict[str, float]]:
    """A head's accuracies "top1" and "top5" on a table, in 0..1; the table is put on the device once.

    Equal logits rank by their class, the smaller first; a logit that is not a number ranks last.
    """
    check_one_label_each(test.labels)
    rows = len(test.labels)
    chunks = max(1, -(-rows // _CHUNK))
    size = -(-rows // chunks)
    pad = chunks * size - rows
    features = np.pad(test.features, ((0, pad), (0, 0))).reshape(chunks, size, -1)
    labels = np.pad(test.labels, (0, pad), constant_values=-1).reshape(chunks, size)
    placed = jax.device_put((features.astype(np.float32), labels))

    def accuracy(head: Head) -> dict[str, float]:
        top1, top5 = np.asarray(_hits(head, *placed)) / rows
        return {"top1": float(top1), "top5": float(top5)}

    return accuracy


@jax.jit
def _hits(head: Head, features: jax.Array, labels: jax.Array) -> jax.Array:
    """Rows whose label has the largest logit, and one of the five largest: `[2]`; label -1 is padding."""

    def chunk(rows: tuple[jax.Array, jax.Array]) -> jax.Array:
        features, labels = rows
        logits, classes = logits_of(head, features), jnp.arange(head["bias"].size)
        label = labels[:, jnp.newaxis]
        own = jnp.take_along_axis(logits, jnp.maximum(label, 0), axis=1)
        # Counted from below, a comparison with what is not a number puts the label last.
        behind = jnp.sum((logits < own) | ((logits == own) & (classes > label)), axis=1)
        rank = classes.size - 1 - behind
        return jnp.stack([jnp.sum((rank < best) & (labels >= 0)) for best in (1, 5)])

    return jnp.sum(jax.lax.map(chunk, (features, labels)), axis=0)


def average_precision(
    positive: np.ndarray, scores: np.ndarray, kind: Literal["interpolated", "eleven_point"]
) -> float:
    """Average precision, in 0..1, of the ranking by falling score; rows of equal score enter together.

    With P(t) and R(t) the precision and recall of the rows that score t or more, and
    p(r) = max of P(t) where R(t) >= r,
      interpolated: the integral of p over r in 0..1 (VOC from 2010 on; VISSL);
      eleven_point: the mean of p at r = 0, 0.1 ... 1 (VOC07: Everingham et al. 2010).

    Args:
      positive: `[N]` bool, one or more of them true.
      scores: `[N]`, the higher the likelier.
      kind: which of the two.
    """
    if not positive.any():
        raise ValueError("average precision needs one or more positives")
    if not np.isfinite(scores).all():
        raise ValueError("average precision needs finite scores")
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(positive[order])[ends]
    precision = np.maximum.accumulate((hits / (ends + 1))[::-1])[::-1]
    if kind == "interpolated":
        return float(np.sum(np.diff(hits, prepend=0) * precision) / hits[-1])
    # In whole numbers: the product 3 * 0.1 is above 0.3.
    reached = [hits * 10 >= tenth * hits[-1] for tenth in range(11)]
    return float(np.mean([precision[np.argmax(there)] for there in reached]))
