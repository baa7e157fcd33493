"""The order of the training data as a function: what a step sees depends on (seed, step) alone."""

import dataclasses
import functools

import numpy as np


@dataclasses.dataclass(frozen=True)
class Order:
    """Every epoch is a fresh permutation; the images that do not fill its last batch sit it out."""

    seed: int
    num_examples: int
    batch_size: int

    @property
    def steps_per_epoch(self) -> int:
        return self.num_examples // self.batch_size

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Example indices `[B]` and global positions `[B]` of a step (from 0).

        A position counts every image that the run has ever been given, and seeds its augmentation.
        """
        epoch, step_of_epoch = divmod(step, self.steps_per_epoch)
        rows = np.arange(self.batch_size)
        order = _permutation(self.seed, epoch, self.num_examples)
        return order[step_of_epoch * self.batch_size + rows], step * self.batch_size + rows


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(num_examples)
