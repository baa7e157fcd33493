"""Encoders and heads of a user's own, any flax.nnx modules, behind the calls of this package.

docs/extending.md states what a module must be.
"""

from collections.abc import Callable
import functools
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from barlow_jax.config import parts
from barlow_jax.errors import UserError


class OwnModule(nnx.Module):
    """A user's module, with maps averaged to features; `train` selects nnx's mode."""

    def __init__(self, kind: str, name: str, rngs: nnx.Rngs, **arguments: Any):
        """Build the module; `arguments` are those of `build` in `output_width`."""
        self.name = name
        self.module = parts.call(name, parts.find(kind, name), rngs, **arguments)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Map `[B, ...]` to `[B, H]` float32."""
        (self.module.train if train else self.module.eval)()
        y = parts.call(self.name, self.module, x).astype(jnp.float32)
        return y.mean(axis=(1, 2)) if y.ndim == 4 else y


def output_width(kind: str, name: str, shape: tuple[int, ...], **arguments: Any) -> int:
    """Return H of the module that `build(rngs, **arguments)` returns, for `[2, *shape]` float32 inputs.

    Raises:
      UserError: the module does not follow the contract, or its code raises.
    """
    return _width(parts.find(kind, name), kind, name, shape, tuple(arguments.items()))


@functools.cache
def _width(build: Callable, kind: str, name: str, shape: tuple[int, ...], arguments: Any) -> int:
    widths = []

    def trace(key: jax.Array, x: jax.Array) -> None:
        rngs = nnx.Rngs(key)
        unused = jax.tree.leaves(nnx.state(rngs))
        module = build(rngs, **dict(arguments))
        used = any(a is not b for a, b in zip(unused, jax.tree.leaves(nnx.state(rngs)), strict=True))
        if problem := _module_problem(module, used):
            raise UserError(f"The {kind} {name} {problem}")
        names = _paths(module)
        for mode in (module.train, module.eval):
            mode()
            shapes = getattr(module(x), "shape", None)
            if not shapes or len(shapes) not in ((2, 4) if kind == "encoder" else (2,)) or 0 in shapes:
                expected = "[B, H] or [B, height, width, H]" if kind == "encoder" else "[B, D]"
                returned = "no array" if shapes is None else f"the shape {list(shapes)}"
                raise UserError(
                    f"The {kind} {name} must return {expected}, none of them 0, but for {list(x.shape)} it "
                    f"returns {returned}."
                )
            if shapes[0] != len(x):
                raise UserError(f"The {kind} {name} returns {shapes[0]} rows for {len(x)} images.")
            widths.append(shapes[-1])
        if new := _paths(module) - names:
            raise UserError(
                f"The {kind} {name} creates {', '.join(sorted(new))} in __call__. Create them in __init__."
            )

    example = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    parts.call(name, jax.eval_shape, trace, jax.random.key(0), example)
    return widths[0]


def _module_problem(module: Any, rngs_used: bool) -> str | None:
    if not isinstance(module, nnx.Module):
        return f"is a {type(module).__name__}, but must be a flax.nnx module."
    leaves = [leaf for _, leaf in nnx.to_flat_state(nnx.state(module))]
    if others := {type(leaf).__name__ for leaf in leaves if not isinstance(leaf, nnx.Param | nnx.BatchStat)}:
        return (
            f"holds {', '.join(sorted(others))}, but a run saves Param and BatchStat only. Leave out "
            "Dropout, caches and random streams."
        )
    params = [leaf for leaf in leaves if isinstance(leaf, nnx.Param)]
    if not params:
        return "has no parameters."
    if wrong := {str(leaf.dtype) for leaf in params} - {"float32"}:
        return f"has parameters of {', '.join(wrong)}, but they must be float32. Set dtype, not param_dtype."
    if not rngs_used:
        return "does not use its rngs, so it would be the same for every seed. Pass them to its layers."
    return None


def _paths(module: nnx.Module) -> set[str]:
    return {".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(module))}
