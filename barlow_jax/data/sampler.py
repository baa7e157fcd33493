"""The order of the training data as a function: what a step sees depends on (seed, step) alone."""

import dataclasses
import functools

import numpy as np

_DRAWS = 100  # of which one must be readable


@dataclasses.dataclass(frozen=True)
class ProcessShard:
    """Which rows of every global batch this process reads."""

    process: int = 0
    processes: int = 1

    def rows(self, batch_size: int) -> slice:
        if batch_size % self.processes:
            raise ValueError(f"a batch of {batch_size} does not divide over {self.processes} processes")
        size = batch_size // self.processes
        return slice(self.process * size, (self.process + 1) * size)


@dataclasses.dataclass(frozen=True)
class EpochSampler:
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


@dataclasses.dataclass(frozen=True, eq=False)
class SampleRange:
    """What a process reads of an order: its rows of the batches of steps `first_step` to `num_steps - 1`."""

    sampler: EpochSampler
    first_step: int
    num_steps: int
    shard: ProcessShard = ProcessShard()
    examples: np.ndarray | None = (
        None  # [n] indices into the split, which the order runs over; none: all of it
    )

    @property
    def steps(self) -> range:
        return range(self.first_step, self.num_steps)

    @property
    def num_rows(self) -> int:
        """Of this process, a step."""
        rows = self.shard.rows(self.sampler.batch_size)
        return rows.stop - rows.start

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """This process's rows of `EpochSampler.batch`, the indices those in the split."""
        rows = self.shard.rows(self.sampler.batch_size)
        index, position = self.sampler.batch(step)
        return self._in_split(index[rows]), position[rows]

    def stand_ins(self, position: int) -> np.ndarray:
        """`[100]` indices into the split: the first whose image is readable takes a broken one's place.

        They are drawn uniformly from (seed, position), so they are the same after a restart and on any number of
        processes.
        """
        draws = np.random.default_rng((self.sampler.seed, position))
        return self._in_split(draws.integers(self.sampler.num_examples, size=_DRAWS))

    def _in_split(self, index: np.ndarray) -> np.ndarray:
        return index if self.examples is None else self.examples[index]


def padded(
    step: int, batch_size: int, shard: ProcessShard, examples: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A process's rows of a step through `examples` `[n]` as they stand: indices, and whether each is real.

    The last batch is padded with the first example, which is not real there.
    """
    place = (step * batch_size + np.arange(batch_size))[shard.rows(batch_size)]
    real = place < len(examples)
    return examples[np.where(real, place, 0)], real


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(num_examples)
