"""Trial of a config: the memory of its compiled train step, and the seconds of a few real steps."""

import contextlib
from functools import partial
import statistics
import time
from typing import NamedTuple

import jax

from barlow_jax.config.schema import Config
from barlow_jax.data import splits
from barlow_jax.data.sampler import SampleRange
from barlow_jax.distributed import exchange
from barlow_jax.experiment import lowering
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.training import compilation_cache
from barlow_jax.training.prefetch import DevicePrefetcher

_MIN_STEPS, _MAX_STEPS, _SECONDS = 3, 40, 8.0  # that are timed


class Trial(NamedTuple):
    """Costs of a train step."""

    memory: int  # bytes of each device
    compile_seconds: float
    step_seconds: float | None  # None if no step was executed


def run(config: Config, source: splits.Split, *, steps: bool) -> Trial:
    """Compile the train step of a config; with `steps`, also execute and time some, with their data."""
    experiment = Experiment.from_config(config)
    sampler = experiment.sampler(source.num_examples)
    with compilation_cache.persistent(config.train.compilation_cache):
        started = time.monotonic()
        compiled = lowering.lower(experiment, sampler, "step")[0].compile()
        compile_seconds = time.monotonic() - started
        memory = lowering.memory(compiled)
        if not steps:
            return Trial(memory, compile_seconds, None)
        state, times = experiment.init(sampler)(jax.random.key(config.seed)), []
        sample_range = SampleRange(sampler, 0, _MAX_STEPS, experiment.shard)
        batches = source.train_batches(config.data, config.recipe.views, sample_range)
        with contextlib.closing(DevicePrefetcher(batches, experiment.layout.shard)) as prefetcher:
            while len(times) < _MAX_STEPS:
                now = time.monotonic()
                state, metrics = compiled(state, prefetcher.next())
                jax.block_until_ready(metrics)
                times.append(time.monotonic() - now)
                if exchange.call_on_first(partial(_is_enough, times)):
                    break
    # The first step waits for the first batch. All processes use the time of process 0.
    microseconds = exchange.call_on_first(lambda: int(1e6 * statistics.mean(times[1:])))
    return Trial(memory, compile_seconds, microseconds / 1e6)


def _is_enough(times: list[float]) -> int:
    return int(len(times) > _MIN_STEPS and sum(times) >= _SECONDS)
