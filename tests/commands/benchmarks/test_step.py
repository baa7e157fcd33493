"""`bench step`, on CPUs and on CPUs that pass for GPUs."""

from functools import partial

import jax
import pytest

from barlow_jax.commands.benchmarks import step
from barlow_jax.experiment import lowering
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.planning import chips, roofline

TINY = {"network.encoder": "resnet8", "network.width": 4, "train.batch_size": 16}
SMALL = ("--config.train.batch_size=16", "--config.data.augment_on=device", "--config.data.canvas=8")
UNKNOWN = {"peak_flops", "model_flop_utilization", "peak_memory_bytes", "kernels", "plan"}


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Compile without optimizations, and time few steps."""
    options = {"xla_backend_optimization_level": 0}
    for module in (step, roofline):
        monkeypatch.setattr(module, "compile_new", lambda lowered: lowered.compile(options))
    monkeypatch.setattr(step, "_WINDOW_SECONDS", 0.01)


def test_a_step_is_measured_and_what_a_cpu_does_not_report_is_left_out(run_command, config_file, tmp_path):
    result, _ = run_command("bench", "step", "--config", config_file, *SMALL, "--workdir", tmp_path)
    assert 0 < result["step_seconds_min"] <= result["step_seconds"] <= result["step_seconds_max"]
    assert result["steps_timed"] >= 3 and result["program_bytes"] > 1e5
    assert not UNKNOWN & result.keys()
    assert (tmp_path / "results" / "bench-step.json").is_file()


def test_rates_are_those_of_the_median(typed, small_config):
    config = typed(small_config).replace({"train.batch_size": 64})
    rates = step._rates(config, [0.5, 0.1, 0.2], 989e12, "NVIDIA H100 80GB HBM3", 8)
    assert (rates["step_seconds"], rates["step_seconds_min"], rates["step_seconds_max"]) == (0.2, 0.1, 0.5)
    assert (rates["images_per_second"], rates["views_per_second"]) == (320, 640)
    assert rates["model_flop_utilization"] == pytest.approx(1 / 0.2 / 8)
    assert "model_flop_utilization" not in step._rates(config, [0.1], 1e12, "cpu", 8)


def test_a_measurement_is_compared_with_the_estimate(run_command, config_file, monkeypatch):
    monkeypatch.setitem(chips._KINDS, "cpu", "H100")
    rates = {
        "step_seconds_min": 1.0,
        "step_seconds_max": 3.0,
        "model_flops": 1e9,
        "model_flops_per_second": 5e8,
    }
    seconds = {"step_seconds": 2.0, "trace_seconds": 1.0, "compile_seconds": 1.0, "steps_timed": 3}
    rates |= {"images_per_second": 8.0, "views_per_second": 16.0}
    sizes = {
        "program_bytes": 1e6,
        "peak_memory_bytes": 8e6,
        "peak_flops": 989e12,
        "model_flop_utilization": 0.4,
    }
    kernel = {"name": "gemm", "seconds": 0.5, "launches": 2.0}
    sizes |= {"launches": 3.0, "kernel_seconds": 0.8, "kernels": [kernel]}
    monkeypatch.setattr(step, "_measure", lambda *_: (rates | seconds | sizes, None))
    monkeypatch.setattr(step, "plan", partial(step.plan, part="loss"))
    result, table = run_command("bench", "step", "--config", config_file, *SMALL, "--against", "plan")
    assert all(text in table for text in ("40.0%", "62.5%", "500.00 ms", "gemm", "8.0 MB"))
    plan, rows = result["plan"], result["against_plan"]
    assert plan["chips"] == 8 and plan["hbm_capacity"] == 80e9
    for name, measured in (("step_s", 2.0), ("serial_step_s", 2.0), ("peak_bytes", 8e6)):
        row = rows[name]
        assert (row["predicted"], row["measured"]) == (plan[name], measured)
        assert row["measured_over_predicted"] == pytest.approx(measured / plan[name])
    assert run_command("plan", "--config", config_file, *SMALL, "--part", "loss")[0]["chips"] == 8


def test_a_cpu_is_not_compared_with_an_estimate(run_command, config_file):
    for argv in (("bench", "step", "--against", "plan"), ("plan",)):
        _, said = run_command(*argv, "--config", config_file, *SMALL, code=2)
        assert "cpu" in said and "H100" in said


def _raise(error):
    raise error


@pytest.mark.parametrize(
    "error",
    [
        roofline.DoesNotFit("31.5G", "15.75G"),  # when a TPU's program is compiled
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory allocating 9 bytes"),  # a GPU's, run
    ],
)
def test_too_little_memory_is_an_error_with_a_remedy(run_command, config_file, monkeypatch, error):
    monkeypatch.setattr(step, "_measure", lambda *_: _raise(error))
    _, said = run_command("bench", "step", "--config", config_file, *SMALL, code=2)
    assert "train.microbatches" in said


def test_a_batch_that_does_not_divide_is_named(run_command, config_file):
    argv = ("bench", "step", "--config", config_file, "--config.train.batch_size=12")
    assert "config.train.batch_size is 12" in run_command(*argv, code=2)[1]


@pytest.mark.slow
def test_model_flops_leave_out_what_is_computed_again(typed, small_config):
    plain = typed(small_config).replace({"train.batch_size": 16})
    config = plain.replace({"data.augment_on": "device", "train.microbatches": 2, "network.remat": True})
    sampler = Experiment.from_config(config).sampler(16)

    def flops(config):
        lowered, _ = lowering.lower(Experiment.from_config(config), sampler, "step")
        return step.HloModule.parse(lowered.as_text("hlo")).product_flops({})

    assert step._model_flops(config, sampler) == flops(plain) < flops(config) / 1.3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "changes"),
    [
        ("digits", {"data.augment_on": "host"}),
        ("captioned_digits", {}),
        ("npid:digits", {}),
        ("deepcluster:digits", {}),
        ("moco:digits", {}),
        ("classification:digits", {}),
        ("digits", {"train.microbatches": 2, "data.augment_on": "device"}),
    ],
)
def test_every_kind_of_batch_is_made(run_command, config, changes):
    small = [f"--config.{key}={value}" for key, value in (TINY | changes).items()]
    result, _ = run_command("bench", "step", "--config", config, *small)
    assert result["step_seconds"] > 0
