"""Table and plot of a comparison, from fixed results."""

import numpy as np
from score_records import knn, result, score

from barlow_jax.reporting import comparison


def _run(top1, rank, **extra):
    linear = (score("probe", top1, label_fraction=0.1), score("probe", top1 + 5))
    scores = (*linear, knn(50.0), knn(40.0, k=5, distance="euclidean"))
    return result("pretrained", 9, *scores, representation_rank=rank, **extra)


ROWS = {
    "untrained": [_run(10.0, 3.0), _run(12.0, 5.0)],
    "vicreg": [
        _run(80.0, 9.0, step_seconds=0.1, step_bytes=2e6),
        _run(86.0, 9.0, step_seconds=0.3, step_bytes=4e6),
    ],
}


def test_a_cell_is_the_mean_and_the_standard_deviation_over_seeds():
    head, untrained, vicreg = comparison.table(ROWS).splitlines()
    assert head.split("  ")[-1].strip() == "MB" and "linear 10%" in head and "20-NN 100%" in head
    std = np.std([80.0, 86.0], ddof=1)
    assert f"83.0 ± {std:.1f}" in vicreg and f"88.0 ± {std:.1f}" in vicreg
    assert "0.200 ± 0.141" in vicreg and vicreg.endswith("3.0 ± 1.4")
    assert untrained.startswith("untrained") and untrained.split()[-1] == "-", (
        "the untrained encoder has no training step"
    )


def test_one_seed_has_no_standard_deviation():
    table = comparison.table({name: runs[:1] for name, runs in ROWS.items()})
    assert "±" not in table.split("\n", 1)[1] and " 80.0" in table


def test_the_plot_has_a_panel_for_each_label_fraction(tmp_path):
    from PIL import Image

    sizes, num_error_bars = {}, {}
    for fractions in ((1.0,), (0.1, 1.0)):
        rows = {
            name: [
                run | {"scores": [s for s in run["scores"] if s["label_fraction"] in fractions]}
                for run in runs
            ]
            for name, runs in ROWS.items()
        }
        comparison.draw(rows, tmp_path / "plot.png", "digits")
        sizes[len(fractions)] = Image.open(tmp_path / "plot.png").size
        comparison.draw(rows | {"one seed": ROWS["vicreg"][:1]}, tmp_path / "plot.svg", "digits")
        num_error_bars[len(fractions)] = (tmp_path / "plot.svg").read_text().count('<g id="LineCollection')
    assert num_error_bars == {1: 2, 2: 4}, "for the methods of several seeds"
    assert sizes[2][0] == 2 * sizes[1][0] and sizes[2][1] == sizes[1][1]
