"""Parameter groups: weights (2 or more dimensions) and biases with BatchNorm (1), or the network's parts."""

from collections.abc import Callable
from typing import Any

import jax
import optax

WEIGHTS, BIASES = "weights", "biases"


def group_names(params: Any) -> Any:
    """Return the tree of group names, WEIGHTS or BIASES, of a tree of parameters."""
    return jax.tree.map(lambda p: BIASES if p.ndim == 1 else WEIGHTS, params)


def is_weight(params: Any) -> Any:
    """Return the tree of booleans that are True where weight decay and LARS adaptation apply."""
    return jax.tree.map(lambda p: p.ndim != 1, params)


def part_names(params: Any) -> Any:
    """Return the tree of names of the network's parts: "encoder", "classifier"."""
    return {name: jax.tree.map(lambda _, name=name: name, tree) for name, tree in params.items()}


def scale_by_learning_rates(
    rates: dict[str, optax.Schedule], groups: Callable[[Any], Any] = group_names
) -> optax.GradientTransformation:
    """Multiply the updates of each group by minus the group's learning rate."""
    return optax.partition({name: optax.scale_by_learning_rate(rate) for name, rate in rates.items()}, groups)
