"""`bench step`: time, throughput, utilization, memory and kernels of the configured train step.

Every step gets the same synthetic batch, which is already on the devices: no data set is needed.
"""

import argparse
from collections.abc import Callable, Sequence
import statistics
import time
from typing import Any

import jax
import numpy as np

from barlow_jax.commands.benchmarks.augment import rows_per_device, synthetic_views
from barlow_jax.config.recipe import SECOND_VIEW
from barlow_jax.config.schema import Config
from barlow_jax.data.padded_images import POSITION
from barlow_jax.data.sampler import EpochSampler
from barlow_jax.errors import UserError, first_line
from barlow_jax.experiment import lowering
from barlow_jax.experiment.cost_estimate import num_images, plan
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import log
from barlow_jax.io.paths import Path
from barlow_jax.planning import kernels
from barlow_jax.planning.chips import CHIPS, chip_name
from barlow_jax.planning.formatting import format_bytes, format_ms
from barlow_jax.planning.hlo import HloModule
from barlow_jax.planning.roofline import DoesNotFit, compile_new
from barlow_jax.planning.tpu import Topology
from barlow_jax.types import Batch, TrainState

_WARM_UP, _PROFILED = 3, 3  # steps
# Steps are timed in windows of a second, without waiting for the single step, as in training.
_WINDOW_SECONDS, _MIN_WINDOWS, _MAX_WINDOWS, _MAX_SECONDS = 1.0, 3, 10, 20.0
_COMPARED = {  # names of the estimate: title, name of the measurement
    "step_s": ("step, full overlap", "step_seconds", format_ms),
    "serial_step_s": ("step, no overlap", "step_seconds", format_ms),
    "peak_bytes": ("peak memory", "peak_memory_bytes", format_bytes),
}


def run(config: Config, workdir: Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Return the measurements; with `--against plan`, also the estimate for the same devices."""
    topology = Topology.local() if args.against else None
    rows_per_device(config, jax.device_count())
    experiment = Experiment.from_config(config)
    sampler = experiment.sampler(num_images(config.data) or config.train.batch_size)
    try:
        result, compiled = _measure(experiment, sampler)
    except (jax.errors.JaxRuntimeError, DoesNotFit) as error:
        if not isinstance(error, DoesNotFit) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(
            f"the step needs more memory than the devices have: {first_line(error)}. Use a smaller "
            "config.train.batch_size, or a larger config.train.microbatches."
        ) from error
    log.info("\n".join(_lines(result)))
    if topology:
        result["plan"] = predicted = plan(config, topology, compiled=compiled)
        result["against_plan"] = _compare(result, predicted)
    return result


def _measure(experiment: Experiment, sampler: EpochSampler) -> tuple[dict[str, Any], jax.stages.Compiled]:
    """Return the measurements and the compiled step."""
    device, count, config = jax.devices()[0], jax.device_count(), experiment.config
    log.info(f"train step of {config.train.batch_size} images on {count} x {device.device_kind}")
    started = time.perf_counter()
    lowered, _ = lowering.lower(experiment, sampler, "step")
    traced = time.perf_counter()
    compiled = compile_new(lowered)
    compile_seconds = time.perf_counter() - traced
    state = experiment.init(sampler)(jax.random.key(config.seed))
    batch = jax.device_put(_synthetic_batch(lowered.args_info[0][1], config), experiment.layout.batch)
    state, seconds, steps = _time(compiled, state, batch)
    profile = None
    if device.platform != "cpu":  # of which the profiler records no kernels
        profile = kernels.profile(lambda: _run(compiled, state, batch, _PROFILED), _PROFILED)
    result = {
        "devices": f"{count} x {device.device_kind}",
        "batch_size": config.train.batch_size,
        "steps_timed": steps,
        **_rates(config, seconds, _model_flops(config, sampler), device.device_kind, count),
        "trace_seconds": traced - started,
        "compile_seconds": compile_seconds,
        "program_bytes": lowering.memory(compiled),
    }
    if "peak_bytes_in_use" in (stats := device.memory_stats() or {}):
        result["peak_memory_bytes"] = stats["peak_bytes_in_use"]
    return result | (profile or {}), compiled


def _rates(
    config: Config, seconds: Sequence[float], model_flops: float, device_kind: str, count: int
) -> dict[str, float]:
    """Return time and throughput of a step; the utilization only of devices whose peak is known."""
    step = statistics.median(seconds)
    rates = {
        "step_seconds": step,
        "step_seconds_min": min(seconds),
        "step_seconds_max": max(seconds),
        "images_per_second": config.train.batch_size / step,
        "views_per_second": len(config.views) * config.train.batch_size / step,
        "model_flops": model_flops,
        "model_flops_per_second": model_flops / step,
    }
    if name := chip_name(device_kind):
        peak = CHIPS[name].flops
        rates |= {"peak_flops": peak, "model_flop_utilization": model_flops / step / (count * peak)}
    return rates


def _synthetic_batch(abstract: Batch, config: Config) -> Batch:
    rows = np.arange(config.train.batch_size, dtype=np.int32)
    views = synthetic_views(abstract.views, config)
    if POSITION in views:
        views[POSITION] = rows.astype(np.uint32)
    if config.network.reads_text:
        views[SECOND_VIEW] = np.ones_like(views[SECOND_VIEW])
    return Batch(views, labels=np.zeros_like(rows), index=rows)


def _model_flops(config: Config, sampler: EpochSampler) -> float:
    """Return the operations of all products of a step, forward and backward, on all devices together.

    The augmentation and what microbatches and remat compute again are not counted: they are a cost of the
    implementation, not of the model.
    """
    plain = {"data.augment_on": "host", "data.cache": "none", "train.microbatches": 1, "network.remat": False}
    lowered, _ = lowering.lower(Experiment.from_config(config.replace(plain)), sampler, "step")
    return HloModule.parse(lowered.as_text("hlo")).product_flops({})


def _run(step: Callable, state: TrainState, batch: Batch, steps: int) -> tuple[TrainState, float]:
    """Make some steps; return the new state and the seconds of a step."""
    started = time.perf_counter()
    for _ in range(steps):
        state, metrics = step(state, batch)
    jax.block_until_ready(metrics)
    return state, (time.perf_counter() - started) / steps


def _time(step: Callable, state: TrainState, batch: Batch) -> tuple[TrainState, list[float], int]:
    """Return the state, the seconds of a step in each window, and the number of steps in all windows."""
    state, _ = _run(step, state, batch, _WARM_UP - 1)
    state, once = _run(step, state, batch, 1)
    per_window, seconds = max(1, round(_WINDOW_SECONDS / once)), []
    end = time.perf_counter() + _MAX_SECONDS
    while len(seconds) < _MIN_WINDOWS or (len(seconds) < _MAX_WINDOWS and time.perf_counter() < end):
        state, mean = _run(step, state, batch, per_window)
        seconds.append(mean)
    return state, seconds, per_window * len(seconds)


def _compare(result: dict[str, Any], predicted: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Log and return predicted and measured values; the step takes between full overlap and none."""
    rows = {}
    log.info(f"{'against plan':<24}{'predicted':>12}{'measured':>12}{'ratio':>12}")
    for name, (title, measured, text) in _COMPARED.items():
        if (estimate := predicted.get(name)) and (value := result.get(measured)):
            ratio = value / estimate
            rows[name] = {"predicted": estimate, "measured": value, "measured_over_predicted": ratio}
            log.info(f"{title:<24}{text(estimate):>12}{text(value):>12}{ratio:>12.4g}")
    return rows


def _lines(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table; what the devices do not report is named."""
    step, low, high = (format_ms(result[f"step_seconds{end}"]) for end in ("", "_min", "_max"))
    rows = {
        "step": f"{step}, median of {result['steps_timed']} steps; {low} to {high}",
        "images": f"{result['images_per_second']:.1f} per second, {result['views_per_second']:.1f} views",
        "model flops": f"{result['model_flops'] / 1e9:.4g} G, "
        f"{result['model_flops_per_second'] / 1e9:.4g} G per second",
        "utilization": "not available: the peak of these devices is not known",
        "compilation": f"{result['compile_seconds']:.1f} s, after {result['trace_seconds']:.1f} s of tracing",
        "memory of the program": f"{format_bytes(result['program_bytes'])} per device",
        "peak memory": "not available: these devices do not report it",
        "kernels": "not available: jax's profiler does not record them on these devices",
    }
    if "peak_flops" in result:
        peak = f"{result['peak_flops'] / 1e12:.0f} TFLOP/s (bfloat16) per device"
        rows["utilization"] = f"{result['model_flop_utilization']:.1%} of {peak}"
    if "peak_memory_bytes" in result:
        rows["peak memory"] = f"{format_bytes(result['peak_memory_bytes'])} of the first device"
    if "kernels" in result:
        total = format_ms(result["kernel_seconds"])
        rows["kernels"] = f"{result['launches']:.0f} launches and {total} per step; those with the most time:"
    lines = [f"{name:<24}{text}" for name, text in rows.items()]
    for kernel in result.get("kernels", ()):
        part = f"{kernel['seconds'] / result['kernel_seconds']:.1%}"
        cells = f"{format_ms(kernel['seconds']):>14}{part:>8}{kernel['launches']:>7.0f} x"
        lines.append(f"{cells}  {kernel['name'][:90]}")
    return lines
