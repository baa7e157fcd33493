"""Statistics of a study: hand-made numbers, and SciPy's rank correlation."""

import json

import numpy as np
import pytest
from scipy import stats
from score_records import knn, result, score

from barlow_jax.reporting import study


def _run(method, number, accuracy, *checkpoints):
    """A run whose checkpoints have the given rankme, alpha_req and k-NN accuracy."""
    rows = [
        {"step": i, "newest": i, "random": 0, "rankme": rank, "alpha_req": alpha, "knn_top1": knn_top1}
        for i, (rank, alpha, knn_top1) in enumerate(checkpoints)
    ]
    scores = result(
        "pretrained", 9, score("probe", accuracy), score("probe", 1.0, label_fraction=0.1), knn(30.0)
    )
    return {"run": f"{method}-{number}", "method": method, "changes": {}, "checkpoints": rows, **scores}


# Of VICReg, rankme orders the runs as the accuracy does; of BYOL, the other way round.
RUNS = [
    _run("vicreg", 0, 80.0, (5.0, 1.4, 0.70), (9.0, 1.2, 0.60)),
    _run("vicreg", 1, 90.0, (6.0, 0.9, 0.75), (10.0, 0.9, 0.80)),
    _run("vicreg", 2, 70.0, (3.0, 2.0, 0.50), (2.0, 2.0, 0.40)),
    _run("byol", 0, 60.0, (4.0, 1.5, 0.50), (8.0, 1.1, 0.90)),
    _run("byol", 1, 65.0, (7.0, 1.5, 0.60)),
    _run("byol", 2, 66.0, (1.0, None, None)),
]


def test_spearman_is_scipys_with_ties_and_without_what_was_not_measured():
    rng = np.random.default_rng(0)
    for n in (3, 10, 60):
        x, y = rng.integers(0, 6, n), rng.integers(0, 9, n)
        assert study.spearman(list(zip(x, y, strict=True))) == pytest.approx(
            stats.spearmanr(x, y).statistic, abs=1e-9
        )
    assert study.spearman([(1, 2), (2, 3), (None, 1), (3, 1)]) == -0.5
    assert study.spearman([(1, 2), (2, 3)]) is None, "two pairs always have an order"
    assert study.spearman([(1, 2), (1, 3), (1, 4)]) is None and study.spearman([]) is None


def test_regret_is_the_distance_to_the_best():
    assert study.regret([(1.0, 70.0), (3.0, 80.0), (2.0, 90.0)]) == 10.0
    assert study.regret([(1.0, 70.0), (1.0, 80.0), (0.0, 90.0)]) == 15.0, "the mean of equal ones"
    assert study.regret([(None, 95.0), (1.0, 70.0)]) == 25.0, "the best may lack the metric"
    assert study.regret([(None, 95.0), (None, 70.0)]) is None and study.regret([(1.0, 70.0)]) is None


def test_tables_have_each_method_all_runs_and_the_mean():
    correlation, regret, _, _, checkpoint = study.statistics(RUNS).values()
    assert correlation["rankme"] == {
        "vicreg": 1.0,
        "all runs": pytest.approx(1 - 6 * 18 / (6 * 35)),
        "byol": -1.0,
        "mean of methods": 0.0,
    }
    # |alpha - 1| of the newest checkpoints: 0.2, 0.1, 1.0, and 0.1, 0.5 of BYOL
    assert correlation["alpha_req"]["vicreg"] == 1.0 and correlation["alpha_req"]["byol"] is None
    assert not {"random", "lidar"} & correlation.keys(), "nothing to state"
    assert regret["rankme"] == {"vicreg": 0.0, "all runs": 0.0, "byol": 6.0, "mean of methods": 3.0}
    assert regret["random"]["vicreg"] == pytest.approx(10.0)
    # k-NN points below the best checkpoint: 10, 0, 0 of VICReg; 0 of BYOL, whose others have fewer than two
    assert checkpoint["rankme"]["vicreg"] == pytest.approx(10 / 3)
    assert checkpoint["newest"]["vicreg"] == pytest.approx(20 / 3)
    assert checkpoint["rankme"]["byol"] == 0.0 and checkpoint["random"]["byol"] == pytest.approx(20.0)
    assert "lidar" not in checkpoint and checkpoint["rankme"]["all runs"] == pytest.approx(2.5)


def test_runs_without_checkpoints_are_left_out_of_the_tables_but_listed():
    failed = {"run": "moco-0", "method": "moco", "changes": {"seed": "1"}, "scores": [], "checkpoints": []}
    tables = study.statistics([*RUNS, failed])
    assert tables == study.statistics(RUNS)
    text = study.markdown([*RUNS, failed], tables)
    assert len([line for line in text.splitlines() if line.startswith("| vicreg-")]) == 3
    assert "| moco-0: seed=1 | - |" in text
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    # All have the same k-NN accuracy, with which nothing correlates.
    assert titles == [title for title in tables if "with k-NN" not in title] + ["Runs"]
    assert not any(study.statistics([failed]).values())


def test_checkpoints_have_the_metrics_of_their_step(tmp_path):
    rows = [{"step": 5, "loss": 2.0}, {"step": 10, "loss": 1.0}, {"step": 10, "rankme": 7.5, "knn_top1": 0.5}]
    rows += [{"step": 15, "rankme": 8.0}, {"step": 20, "loss": 0.5}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for step in (5, 10, 20, 25):
        (tmp_path / "checkpoints" / f"{step}").mkdir(parents=True)
    (row,) = study.checkpoints(tmp_path)
    assert {name: value for name, value in row.items() if value is not None} == {
        **{"step": 10, "loss": 1.0, "rankme": 7.5, "knn_top1": 0.5, "random": 0, "newest": 10}
    }
