"""Groups of parameters: weights (more than one dimension) and biases with BatchNorm (one); or by part."""

from collections.abc import Callable
from typing import Any

import jax
import optax

WEIGHTS, BIASES = "weights", "biases"


def group(params: Any) -> Any:
    """The tree of group names of a tree of parameters."""
    return jax.tree.map(lambda p: BIASES if p.ndim == 1 else WEIGHTS, params)


def is_weight(params: Any) -> Any:
    """The tree of masks: True where weight decay and LARS adaptation apply."""
    return jax.tree.map(lambda p: p.ndim != 1, params)


def part(params: Any) -> Any:
    """The tree of names of the network's parts: "encoder", "classifier"."""
    return {name: jax.tree.map(lambda _, name=name: name, tree) for name, tree in params.items()}


def scale_by_learning_rates(
    rates: dict[str, optax.Schedule], groups: Callable[[Any], Any] = group
) -> optax.GradientTransformation:
    """Each group times minus its own learning rate."""
    return optax.partition({name: optax.scale_by_learning_rate(rate) for name, rate in rates.items()}, groups)
