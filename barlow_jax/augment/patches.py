"""Patches of a 3 x 3 grid of a view (Noroozi and Favaro 2016, section 3).

A patch has three quarters of its cell's side, at a random place within the cell: 64 of 85 pixels in a view of
255. Neighbors are 0 to 42 pixels apart, so that lines which continue from one to the next give nothing away.
"""

import jax
import jax.numpy as jnp

from barlow_jax.config.recipe import PATCHES


def cut_patches(key: jax.Array, images: jax.Array, cells: jax.Array) -> dict[str, jax.Array]:
    """Return `[B, S, S, C]` patches by name, `patch0` and so on: a patch of each given cell.

    Args:
      key: Random key of the places within the cells.
      images: `[B, side, side, C]`, any dtype.
      cells: `[B, V]` int32 cells of each image, 0 to 8, row by row.

    >>> import jax, jax.numpy as jnp
    >>> images = jnp.arange(144).reshape(1, 12, 12, 1)
    >>> patches = cut_patches(jax.random.key(0), images, jnp.array([[8, 0]]))
    >>> print(patches["patch0"].shape, patches["patch0"].min() >= 8 * 12 + 8, patches["patch1"].max() < 40)
    (1, 3, 3, 1) True True
    """
    cell = images.shape[1] // 3
    play = cell // 4
    size = cell - play
    corners = jnp.stack([cells // 3, cells % 3], axis=2) * cell
    corners += jax.random.randint(key, corners.shape, 0, play + 1)

    def cut(image: jax.Array, corner: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (*corner, 0), (size, size, image.shape[2]))

    patches = jax.vmap(jax.vmap(cut, (None, 0)))(images, corners)
    return {name: patches[:, number] for number, name in enumerate(PATCHES[: cells.shape[1]])}
