"""Order of the data as a function: what a step reads depends on (seed, step) alone."""

import dataclasses
import functools

import numpy as np

_NUM_REPLACEMENTS = 100  # candidates, of which one must be readable


@dataclasses.dataclass(frozen=True)
class ProcessShard:
    """The rows of every global batch that this process reads."""

    process: int = 0
    processes: int = 1

    def rows(self, batch_size: int) -> slice:
        """Return this process's rows of a global batch.

        Raises:
          ValueError: the batch does not divide over the processes.
        """
        if batch_size % self.processes:
            raise ValueError(f"a batch of {batch_size} does not divide over {self.processes} processes")
        size = batch_size // self.processes
        return slice(self.process * size, (self.process + 1) * size)


@dataclasses.dataclass(frozen=True)
class Segment:
    """Start of the part of a run that has one config: what the run had done by then."""

    step: int = 0  # updates
    epoch: float = 0.0  # epochs, for the schedules
    permutations: int = 0  # epochs begun
    position: int = 0  # images read


@dataclasses.dataclass(frozen=True)
class EpochSampler:
    """Epoch sampler: a permutation of the data set per epoch, derived from the seed.

    The images that do not fill the last batch of an epoch are left out of that epoch. A segment begins a new
    epoch, whose permutation and positions no earlier segment has used.
    """

    seed: int
    num_examples: int
    batch_size: int  # of the global batch
    segment: Segment = Segment()

    @property
    def steps_per_epoch(self) -> int:
        """Number of whole batches in an epoch."""
        return self.num_examples // self.batch_size

    @property
    def schedule_offset(self) -> int:
        """Difference of a schedule's step, which counts epochs of this batch size, from the run's step."""
        return round(self.segment.epoch * self.steps_per_epoch) - self.segment.step

    def epoch(self, step: int) -> float:
        """Return the number of epochs after `step` updates."""
        return (step + self.schedule_offset) / self.steps_per_epoch

    def next_segment(self, step: int) -> Segment:
        """Return the segment that begins after `step` updates."""
        segment, steps = self.segment, step - self.segment.step
        return Segment(
            step,
            self.epoch(step),
            segment.permutations - (-steps // self.steps_per_epoch),
            segment.position + steps * self.batch_size,
        )

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return example indices `[B]` and global positions `[B]` of a step (from 0).

        A position counts the images that the run has read since its first step. It seeds the augmentation.
        """
        steps, rows = step - self.segment.step, np.arange(self.batch_size)
        epoch, step_of_epoch = divmod(steps, self.steps_per_epoch)
        permutation = _permutation(self.seed, self.segment.permutations + epoch, self.num_examples)
        position = self.segment.position + steps * self.batch_size
        return permutation[step_of_epoch * self.batch_size + rows], position + rows


@dataclasses.dataclass(frozen=True, eq=False)
class SampleRange:
    """The samples that a process reads in training steps `first_step` to `num_steps - 1`."""

    sampler: EpochSampler
    first_step: int
    num_steps: int
    shard: ProcessShard = ProcessShard()
    examples: np.ndarray | None = None  # [n] indices into the split that the sampler permutes; none: all

    @property
    def steps(self) -> range:
        """The steps in order."""
        return range(self.first_step, self.num_steps)

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return indices into the split and global positions of this process's rows of a step."""
        rows = self.shard.rows(self.sampler.batch_size)
        index, position = self.sampler.batch(step)
        return self._in_split(index[rows]), position[rows]

    def replacements(self, position: int) -> np.ndarray:
        """Return `[100]` indices into the split; the first readable image replaces an undecodable one.

        They are sampled uniformly from (seed, position), so they are the same after a restart and on any
        number of processes.
        """
        rng = np.random.default_rng((self.sampler.seed, position))
        return self._in_split(rng.integers(self.sampler.num_examples, size=_NUM_REPLACEMENTS))

    def _in_split(self, index: np.ndarray) -> np.ndarray:
        return index if self.examples is None else self.examples[index]


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationRange:
    """The examples that a process reads in an evaluation, in their given order, the last batch padded."""

    examples: np.ndarray  # [n] indices into the split
    batch_size: int  # of the global batch
    shard: ProcessShard = ProcessShard()

    @property
    def steps(self) -> range:
        """The steps in order."""
        return range(-(-len(self.examples) // self.batch_size))

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return indices into the split of this process's rows of a step, and whether each is real.

        The rows that pad the last batch hold the first example, and are not real.
        """
        rows = (step * self.batch_size + np.arange(self.batch_size))[self.shard.rows(self.batch_size)]
        is_real = rows < len(self.examples)
        return self.examples[np.where(is_real, rows, 0)], is_real


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(num_examples)
