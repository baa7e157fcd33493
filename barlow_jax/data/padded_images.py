"""Format in which the host passes decoded images to the accelerator: padded to squares, with their shapes.

The `views` of such a batch are `canvas`, `[B, side, side, 3]` uint8, with an image in the top left corner of
each, `shape`, `[B, 2]` int32 heights and widths, and `position`, `[B]` uint32 global positions of the images
in the run (`EpochSampler.batch`), which seed their augmentation. The host crops and resizes an image that is
larger than the canvas: its shape is (0, 0), and its canvas holds the finished crops of all views, packed by
`pack_crops`. With `config.data.name` images the canvas has `config.data.channels` and `pixel_dtype`.
"""

from collections.abc import Sequence

from barlow_jax.errors import UserError

CANVAS, SHAPE, POSITION = "canvas", "shape", "position"


def pack_crops(sizes: Sequence[int], side: int) -> list[tuple[int, int]] | None:
    """Return (top, left) of square crops of these sizes, packed in rows; None if they do not fit."""
    corners, top, left, height = [], 0, 0, 0
    for size in sizes:
        if left + size > side:
            top, left, height = top + height, 0, 0
        if size > side or top + size > side:
            return None
        corners.append((top, left))
        left, height = left + size, max(height, size)
    return corners


def check_fits(height: int, width: int, canvas: int, name: str) -> None:
    """Check that a whole image fits on the canvas.

    Raises:
      UserError: it does not.
    """
    if max(height, width) > canvas:
        raise UserError(
            f"config.data.canvas: {name} has {height} x {width} pixels, which do not fit into "
            f"{canvas} x {canvas}, and config.data.cache=decoded keeps whole images; set "
            f"config.data.canvas to {max(height, width)} or more"
        )
