"""Text of `config.data.value_range`: which pixel values become 0 and 1."""

import numpy as np

DTYPE, AUTO = "dtype", "auto"


def parse_limits(text: str, channels: int) -> np.ndarray | None:
    """Return `[channels, 2]` float32 lowest and highest pixel values; None for the words dtype and auto.

    >>> parse_limits("0,4095", 2).tolist()
    [[0.0, 4095.0], [0.0, 4095.0]]

    Raises:
      ValueError: the text is no such value; the message is a clause.
    """
    if text in (DTYPE, AUTO):
        return None
    try:
        numbers = [float(part) for part in text.strip().strip("()[]").split(",")]
    except ValueError:
        raise ValueError("must be dtype, auto, or numbers: low,high") from None
    if len(numbers) not in (2, 2 * channels):
        raise ValueError(f"{len(numbers)} numbers are neither 2 nor 2 for each of {channels} channels")
    limits = np.broadcast_to(np.array(numbers, np.float32).reshape(-1, 2), (channels, 2))
    if not (np.isfinite(limits).all() and (limits[:, 0] < limits[:, 1]).all()):
        raise ValueError("each low must be below its high, and both finite")
    return limits


def format_limits(limits: np.ndarray) -> str:
    """Return the text of limits; `parse_limits` returns the same float32 values.

    >>> format_limits(np.array([[0, 4095], [0.5, 1]]))
    '0,4095,0.5,1'
    """
    return ",".join(f"{value:.9g}" for value in np.ravel(limits))
