"""Quality, headline scores and cost of a run."""

import pathlib

import pytest
import reported
from score_records import knn, result

from barlow_jax.reporting import cost, health, summary_section
from barlow_jax.reporting.health import FAILURE, INFO, OK, WARNING
from barlow_jax.reporting.summary_section import headline_scores


@pytest.mark.parametrize(
    ("linear", "knn", "severity"),
    [(98.9, 98.6, OK), (98.9, 97.0, WARNING), (80.0, 98.6, FAILURE), (88.3, 98.6, FAILURE)],
)
def test_an_encoder_is_compared_with_the_untrained_one_and_the_pixels(linear, knn, severity):
    """The baselines are 88.3 and 80.6 (untrained), 95.3 and 97.5 (pixels)."""
    checks = summary_section.quality(reported.run(results={"evaluate": reported.evaluate(linear, knn)}))
    assert health.worst(checks) == severity
    assert f"linear, 100% of labels: {linear}% (raw pixels 95.3%, untrained encoder 88.3%)." == checks[1].text


def test_published_numbers_are_those_of_the_data_set():
    run = reported.run(changes={"data.name": "cifar10"}, results={"evaluate": reported.evaluate(91.0)})
    assert "(solo-learn, online) 91.0% (paper: 92.1%)" in summary_section.quality(run)[-1].text
    run.config["objective.name"] = "w_mse"
    run.config.update({f"recipe.views.{name}.crop.min_area": 0.2 for name in "abcd"})
    text = summary_section.quality(run)[-1].text  # of four views, in each column of its table
    assert "(W-MSE's paper) 91.0% (paper: 92.0%)" in text and "98.6% (paper: 89.9%)" in text
    assert "No published results for digits" in summary_section.quality(reported.run())[-1].text
    run = reported.run(
        changes={"data.name": "imagenet2012:5.1.0"}, results={"evaluate": reported.evaluate(71.0)}
    )
    assert "linear, top-1 71.0% (paper: 73.2%)" in summary_section.quality(run)[-1].text


def test_without_an_evaluation_the_quality_is_the_online_k_nn_and_a_command():
    checks = summary_section.quality(reported.run(results={}))
    assert health.worst(checks) == INFO
    assert [check.text for check in checks] == [
        "k-NN during training: first 98.0%, last 98.0%, best 98.0%.",
        "Not evaluated yet. To compare with the baselines, run: "
        "python -m barlow_jax evaluate --workdir runs/digits",
    ]


def test_results_of_single_commands_count_if_evaluate_has_none():
    single = result("untrained", 0, knn(44.0))
    run = reported.run(results={"knn": result("pretrained", 9, knn(88.0)), "knn-untrained": single})
    (headline,) = headline_scores(run)
    assert (headline.score.command, headline.name) == ("knn", "k-NN 20, 100% of labels")
    assert headline.values == {"untrained": 44.0, "pretrained": 88.0}
    both = reported.run(results={"evaluate": reported.evaluate(), "knn-untrained": single})
    assert headline_scores(both)[0].values["untrained"] == 80.6


def test_cost_is_wall_time_times_chips_times_price():
    """The run took one hour on four chips."""
    run = reported.run(device_hour_price=1.5)
    spent = cost.run_cost(run)
    assert (spent.device_hours, spent.price) == (4.0, 6.0)
    assert cost.facts(run)["Goodput"].startswith("90.0% (54 min 00 s")
    status = reported.status(restarts=2, lost_seconds=90.0)
    run = reported.run(status=status, provenance=[], device_hour_price=1.5)
    spent = cost.run_cost(run)
    assert spent.device_hours is None and spent.price is None
    assert cost.facts(run)["Restarts"] == "2 (90 s lost)" and "Price" not in cost.facts(run)


def test_hours_are_chip_hours_on_tpus_alone_and_a_cpu_is_one_device():
    """JAX shows one CPU as any number of devices."""
    for kind, unit, hours in (
        ("TPU v4", "chip", 4.0),
        ("NVIDIA H100 80GB HBM3", "device", 4.0),
        ("cpu", "device", 1.0),
    ):
        entry = reported.entry(devices={"kind": kind, "count": 4, "processes": 1})
        run = reported.run(provenance=[entry], device_hour_price=1.5)
        spent = cost.run_cost(run)
        assert (spent.unit, spent.device_hours, spent.price) == (unit, hours, 1.5 * hours)
        text = " ".join(" ".join(fact) for fact in cost.facts(run).items())
        assert ("hip-hour" in text) == (unit == "chip") and f"per {unit}-hour" in text


def test_without_a_status_the_time_is_that_of_the_results():
    run = reported.run(status=None, results={"pretrain": {"step": 9, "seconds": 7200.0}})
    assert cost.run_cost(run).device_hours == 8.0


def test_starts_on_a_different_number_of_chips_are_named():
    entries = [reported.entry(devices={"kind": "TPU", "count": 8}), reported.entry()]
    facts = cost.facts(reported.run(provenance=entries))
    assert "earlier starts used a different number of chips" in facts["Chip-hours"]


def test_the_command_is_quoted_for_a_shell():
    run = reported.run(results={}, workdir=pathlib.Path("my runs/one"))
    assert summary_section.quality(run)[-1].text.endswith("--workdir 'my runs/one'")


@pytest.mark.parametrize("num_classes", [None, 1])
def test_data_without_two_classes_have_no_accuracy_and_no_advice_to_measure_one(num_classes):
    data = {"name": "images", "num_classes": num_classes}
    rows = [row for row in reported.metrics() if "knn_top1" not in row]
    run = reported.run(results={"pretrain": {"step": 9, "data": data}}, metrics=rows)
    (check,) = summary_section.quality(run)
    assert check.severity == INFO and "%" not in check.text and "evaluate" not in check.text
