"""Inputs of both sides of the comparison: NumPy arrays that are generated from names, so that none is stored.

They are computed from a bit generator's raw words, whose stream NumPy never changes. They are float32, so
that both sides, in either precision, start from the same numbers.
"""

import zlib

import numpy as np

# Shapes of the cases. Weights are torch's `[out, in, ...]`, images torch's `[B, 3, height, width]`.
OFF_DIAGONAL_WEIGHT = 0.0051
LOSS_SHAPES = ((24, 40), (40, 24), (8, 96))  # N, D
PEAKS = {
    "weights": 1.6,
    "biases": 0.0384,
}  # of the learning rates: 0.2 and 0.0048 for each 256 of 2048 images
LARS_SHAPES = {
    "conv": (5, 4, 3, 3),
    "dense": (7, 6),
    "zero": (4, 4),
    "scale": (5,),
    "bias": (7,),
    "zero_bias": (3,),
}
LARS_STEPS = 20
LARS_WARMUP = 4
WEIGHT_DECAYS = (1e-6, 1e-2)
EPOCHS, WARMUP_EPOCHS, STEPS_PER_EPOCH, BATCH_SIZE = 30, 10, 7, 2048
PROJECTOR = (24, 40, 32, 16)  # H, two hidden widths, D
PROJECTOR_ROWS = 12
RESNET50_IMAGES = (4, 3, 48, 48)
TWINS = {"encoder": "resnet10", "width": 8, "projector": (48, 32)}
TWINS_IMAGES = (16, 3, 32, 32)
TWINS_STEPS = 4


def uniform(name: str, shape: tuple[int, ...], low: float = -1.0, high: float = 1.0) -> np.ndarray:
    """Return float32 uniforms that depend on the name."""
    words = np.random.PCG64(zlib.crc32(name.encode())).random_raw(int(np.prod(shape)))
    unit = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return (low + (high - low) * unit).astype(np.float32).reshape(shape)


def weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a state dict's tensor: He's std for matrices and kernels, BatchNorms off their defaults."""
    leaf = key.rpartition(".")[2]
    if leaf == "running_var":
        return uniform(key, shape, 0.5, 1.5)
    if leaf in ("running_mean", "bias"):
        return uniform(key, shape, -0.2, 0.2)
    if len(shape) == 1:
        return uniform(key, shape, 0.5, 1.5)
    bound = np.sqrt(6 / np.prod(shape[1:]))
    return uniform(key, shape, -bound, bound)


def images(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return noise of std 1."""
    return uniform(name, shape, -np.sqrt(3), np.sqrt(3))


def embeddings(rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two `[N, D]` arrays that agree in part."""
    common, *noise = (uniform(f"{name} {rows}x{width}", (rows, width)) for name in ("common", "a", "b"))
    return common + noise[0], common + noise[1]


def direction(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return random signs; a difference's squared inner product with them is on average its squared norm."""
    return np.where(uniform(f"direction of {key}", shape) < 0, -1.0, 1.0)


def lars_gradient(name: str, step: int) -> np.ndarray:
    """Return the gradient at a step; zero at some steps, and always for the bias that must stay at zero."""
    shape = LARS_SHAPES[name]
    silent = name == "zero_bias" or (name in ("dense", "bias") and step % 5 == 0)
    return uniform(f"gradient of {name} at {step}", shape) * np.float32(not silent)


def lars_start(name: str) -> np.ndarray:
    return uniform(name, LARS_SHAPES[name]) * np.float32("zero" not in name)


def summary(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return `[tensors, 2]` float64: each norm and inner product with the direction, in the keys' order."""
    pairs = [
        (np.asarray(array, np.float64), direction(key, np.shape(array))) for key, array in arrays.items()
    ]
    return np.array([(np.linalg.norm(array), np.vdot(array, signs)) for array, signs in pairs])
