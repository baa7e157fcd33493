import json
from types import SimpleNamespace

import pytest

from barlow_jax.experiment.hooks import Progress
from barlow_jax.workdir.metrics import MetricsWriter


def _make_run(path, first_step):
    """Run of 100 steps, 20 an epoch; the learning rate rises, and every tenth step has a decode failure."""
    return SimpleNamespace(
        first_step=first_step,
        num_steps=100,
        flat_config={"optim.warmup_epochs": 0.0, "objective.name": "byol"},
        experiment=SimpleNamespace(learning_rates=lambda sampler: {"weights": lambda step: step / 10}),
        sampler=SimpleNamespace(batch_size=256, steps_per_epoch=20, epoch=lambda step: step / 20),
        prefetcher=SimpleNamespace(wait_s=0.0),
        source=SimpleNamespace(decode_failures=SimpleNamespace(count_before=lambda step: step // 10)),
        writer=MetricsWriter(path, first_step=first_step),
        status=SimpleNamespace(log=lambda done, values: None),
        checkpoints=SimpleNamespace(check_save=lambda: None),
    )


def _rows(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_progress_reports_rates_and_the_data_wait_fraction(tmp_path, capsys, monkeypatch):
    clock = iter([100.0, 110.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    run = _make_run(tmp_path, first_step=0)
    progress = Progress(run)
    run.prefetcher.wait_s = 2.5
    monkeypatch.undo()
    monkeypatch.setattr("barlow_jax.experiment.hooks.time.monotonic", lambda: 110.0)
    progress(50, None, {"loss": 3.0, "skipped_steps": 4})
    progress.close()
    run.writer.close()
    (row,) = _rows(tmp_path)
    assert row["images_per_second"] == 50 * 256 / 10 and row["data_wait_fraction"] == 0.25
    assert row["epoch"] == 2.5 and row["learning_rate_weights"] == 4.5, "a skipped step does not count"
    assert row["decode_failures"] == 5
    line = capsys.readouterr().err
    assert "step 50/100  loss 3  1280 images/s  waiting for data 25%  00:10 left" in line


@pytest.mark.parametrize(
    ("fractions", "warned"),
    [
        ((0.5, 0.04, 0.05), None),  # while the pipeline starts, the devices always wait
        ((0.0, 0.04, 0.06, 0.5), "6%"),
        ((0.5, 0.2, 0.3), "20%"),
    ],
)
def test_devices_that_wait_for_data_cause_one_warning_with_the_remedies(
    tmp_path, capsys, monkeypatch, fractions, warned
):
    clock = [0.0]
    monkeypatch.setattr("barlow_jax.experiment.hooks.time.monotonic", lambda: clock[0])
    run = _make_run(tmp_path, first_step=7)
    progress = Progress(run)
    for number, fraction in enumerate(fractions):
        clock[0] += 100.0
        run.prefetcher.wait_s += 100.0 * fraction
        progress(10 * (number + 1), None, {"loss": 3.0})
    progress.close()
    run.writer.close()
    err = capsys.readouterr().err
    assert err.count("warning: the devices wait for data") == (warned is not None)
    if warned:
        assert f"wait for data {warned} of the time" in err
        for remedy in (
            "cores",
            "config.data.threads",
            "config.data.prefetch",
            "config.data.cache",
            "array_record",
            "config.data.image_size",
            "config.data.augment_on=device",
        ):
            assert remedy in err
