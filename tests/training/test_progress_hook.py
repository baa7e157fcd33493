import json

import pytest

from barlow_jax.training.progress_hook import Progress
from barlow_jax.workdir.metrics import MetricsWriter


def _rows(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_progress_reports_rates_and_the_data_wait_fraction(tmp_path, capsys, monkeypatch):
    clock = iter([100.0, 110.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    writer = MetricsWriter(tmp_path, first_step=0)
    progress = Progress(
        writer,
        first_step=0,
        num_steps=100,
        batch_size=256,
        epoch=lambda step: step / 20,
        data_wait_s=lambda: 2.5,
        learning_rates=lambda step: {"learning_rate_weights": step / 10},
        decode_failures=lambda done: done // 10,
    )
    monkeypatch.undo()
    monkeypatch.setattr("barlow_jax.training.progress_hook.time.monotonic", lambda: 110.0)
    progress(50, None, {"loss": 3.0, "skipped_steps": 4})
    progress.close()
    writer.close()
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
    monkeypatch.setattr("barlow_jax.training.progress_hook.time.monotonic", lambda: clock[0])
    waited = [0.0]
    writer = MetricsWriter(tmp_path, first_step=7)
    progress = Progress(
        writer,
        first_step=7,
        num_steps=100,
        batch_size=256,
        epoch=lambda step: step / 20,
        data_wait_s=lambda: waited[0],
        learning_rates=lambda step: {},
        decode_failures=lambda done: 0,
    )
    for number, fraction in enumerate(fractions):
        clock[0] += 100.0
        waited[0] += 100.0 * fraction
        progress(10 * (number + 1), None, {"loss": 3.0})
    progress.close()
    writer.close()
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
