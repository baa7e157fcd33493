"""The order of the training data as a function: what a step sees depends on (seed, step) alone."""

import dataclasses
import functools

import numpy as np

_DRAWS = 100  # of which one must be readable


@dataclasses.dataclass(frozen=True)
class Share:
    """Which rows of every global batch this process reads."""

    process: int = 0
    processes: int = 1

    def rows(self, batch_size: int) -> slice:
        if batch_size % self.processes:
            raise ValueError(f"a batch of {batch_size} does not divide over {self.processes} processes")
        size = batch_size // self.processes
        return slice(self.process * size, (self.process + 1) * size)


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

    def part(
        self, step: int, share: Share, examples: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """A process's rows of `batch`; where the order runs over `examples`, indices are those in the split."""
        rows = share.rows(self.batch_size)
        index, position = self.batch(step)
        index = index if examples is None else examples[index]
        return index[rows], position[rows]


def padded(step: int, batch_size: int, share: Share, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A process's rows of a step through `examples` `[n]` as they stand: indices, and whether each is real.

    The last batch is padded with the first example, which is not real there.
    """
    place = (step * batch_size + np.arange(batch_size))[share.rows(batch_size)]
    real = place < len(examples)
    return examples[np.where(real, place, 0)], real


def stand_ins(seed: int, position: int, num_examples: int) -> np.ndarray:
    """`[100]` numbers below `num_examples`: the first whose image is readable takes a broken one's place.

    They are drawn uniformly from (seed, position), so they are the same after a restart and on any number of
    processes.
    """
    return np.random.default_rng((seed, position)).integers(num_examples, size=_DRAWS)


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(num_examples)
