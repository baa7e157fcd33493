"""What the host hands over where the accelerator augments: images in the corner of a canvas, and their shapes.

A batch's `views` then are `canvas`, `[B, side, side, 3]` uint8 levels, `shape`, `[B, 2]` int32 heights and widths,
and `position`, `[B]` uint32: an image's place in all that the run sees, which its random numbers come from.
An image larger than the canvas is cropped and resized by the host: its shape is (0, 0), and its canvas holds
the finished crops of all views, in shelves.
"""

from collections.abc import Sequence

CANVAS, SHAPE, POSITION = "canvas", "shape", "position"


def shelves(sizes: Sequence[int], side: int) -> list[tuple[int, int]] | None:
    """(top, left) of squares of these sizes, from left to right and then down; None where they do not fit."""
    places, top, left, height = [], 0, 0, 0
    for size in sizes:
        if left + size > side:
            top, left, height = top + height, 0, 0
        if size > side or top + size > side:
            return None
        places.append((top, left))
        left, height = left + size, max(height, size)
    return places
