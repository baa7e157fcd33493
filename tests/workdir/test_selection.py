"""The best checkpoint by each metric of `config.monitor.select_by`."""

import pytest

from barlow_jax.workdir import selection

ROWS = [
    {"step": 10, "loss": 3.0},
    {"step": 10, "rankme": 30.0, "lidar": 9.0, "alpha_req": 1.2, "view_retrieval_top1": 0.5},
    {"step": 20, "rankme": 20.0, "lidar": 12.0, "alpha_req": 0.9, "view_retrieval_top1": 0.5},
    {"step": 30, "rankme": 10.0, "lidar": 11.0, "alpha_req": 2.0, "view_retrieval_top1": 0.7},
    {"step": 40, "rankme": 99.0, "lidar": None, "alpha_req": None, "view_retrieval_top1": 0.9},
]
STEPS = [10, 20, 30]


@pytest.mark.parametrize(
    ("select_by", "best"),
    [("auto", 30), ("lidar", 20), ("rankme", 10), ("alpha_req", 20), ("view_retrieval", 30), ("knn", None)],
)
def test_the_best_of_the_checkpoints_and_the_newest_of_equal_ones(select_by, best):
    assert selection.best_step(ROWS, select_by, STEPS) == best


def test_labels_decide_where_there_are_any():
    rows = [
        *ROWS,
        {"step": 10, "knn_top1": 0.7},
        {"step": 30, "knn_top1": 0.8},
        {"step": 20, "knn_top1": None},
    ]
    assert selection.best_step(rows, "auto", STEPS) == 30
    assert selection.best_step(rows, "lidar", STEPS) == 20
    assert selection.scores(rows, "auto") == ("knn_top1", {10: 0.7, 30: 0.8})
