import pathlib

import pytest
import reported
from score_records import knn, result

from barlow_jax.report import cost, health, scores, summary
from barlow_jax.report.health import BAD, GOOD, LOOK, NONE


@pytest.mark.parametrize(
    ("linear", "knn", "sign"), [(98.9, 98.6, GOOD), (98.9, 97.0, LOOK), (80.0, 98.6, BAD), (88.3, 98.6, BAD)]
)
def test_an_encoder_is_held_against_the_untrained_one_and_the_pixels(linear, knn, sign):
    """88.3 and 80.6 without training, 95.3 and 97.5 of the pixels."""
    found = summary.good(reported.run(results={"evaluate": reported.evaluate(linear, knn)}))
    assert health.worst(found) == sign
    assert f"linear, 100% of labels: {linear}%, against 95.3% of raw pixels and 88.3%" in found[1].words


def test_published_numbers_are_beside_those_of_their_data_set():
    run = reported.run(changes={"data.name": "cifar10"}, results={"evaluate": reported.evaluate(91.0)})
    assert "linear, top-1 91.0% (paper: 92.1%)" in summary.good(run)[-1].words
    assert "report nothing on digits" in summary.good(reported.run())[-1].words


def test_without_an_evaluation_there_is_the_k_nn_of_the_metrics_and_the_command():
    found = summary.good(reported.run(results={}))
    assert health.worst(found) == NONE
    assert [check.words for check in found] == [
        "k-NN while training: 98.0% at step 2,000, 98.0% at the end.",
        "No evaluation beside baselines yet: python -m barlow_jax evaluate --workdir runs/digits",
    ]


def test_programs_of_one_evaluation_count_where_evaluate_has_none():
    alone = result("untrained", 0, knn(44.0))
    run = reported.run(results={"knn": result("pretrained", 9, knn(88.0)), "knn-untrained": alone})
    (headline,) = scores.headlines(run)
    assert headline == ("knn", "k-NN 20, 100% of labels", {"untrained": 44.0, "pretrained": 88.0})
    both = reported.run(results={"evaluate": reported.evaluate(), "knn-untrained": alone})
    assert scores.headlines(both)[0].values["untrained"] == 80.6


def test_cost_is_wall_time_by_chips_by_price():
    """An hour on four chips."""
    spent = cost.of(reported.run(), 1.5)
    assert (spent.chip_hours, spent.price, cost.goodput(spent)) == (4.0, 6.0, 0.9)
    run = reported.run(status=reported.status(restarts=2, lost_seconds=90.0), provenance=[])
    spent = cost.of(run, 1.5)
    assert spent.chip_hours is None and spent.price is None
    assert "2 restarts, which cost 90 s." in cost.sentences(spent, 1.5)


def test_an_older_run_says_its_time_in_its_results():
    run = reported.run(status=None, results={"pretrain": {"step": 9, "seconds": 7200.0}})
    assert cost.of(run, None).chip_hours == 8.0


def test_starts_on_other_chips_are_not_kept_silent():
    entries = [reported.entry(devices={"kind": "TPU", "count": 8}), reported.entry()]
    told = cost.sentences(cost.of(reported.run(provenance=entries), None), None)
    assert any("earlier starts had another number of chips" in words for words in told)


def test_the_command_can_be_copied_to_a_shell():
    run = reported.run(results={}, workdir=pathlib.Path("my runs/one"))
    assert summary.good(run)[-1].words.endswith("--workdir 'my runs/one'")
