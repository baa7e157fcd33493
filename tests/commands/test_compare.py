"""compare through the entry point: a method beside the base, a few steps each."""

import argparse
import json
import shutil

import pytest
from score_records import by_fraction, knn, result, score

from barlow_jax.commands import compare
from barlow_jax.config import overrides
from barlow_jax.errors import RunError, UserError
from barlow_jax.reporting.study import read_grid

SIBLING = """
from barlow_jax.config.overrides import adapt_to_data


def change(config):
    config.objective.name = "{method}"


def get_config(data):
    return adapt_to_data(__file__, data, {{"small": change}})
"""
SHORT = (
    "--config.train.num_epochs=0.5",
    "--config.optim.warmup_epochs=0.1",
    "--config.monitor.every_epochs=0",
    "--config.train.log_every_steps=1",
    "--config.probe.subset_repeats=1",
    "--config.knn.subset_repeats=1",
    "--config.probe.num_epochs=1",
    "--config.train.max_steps=4",
)


@pytest.fixture
def base(tmp_path, config_file):
    """A base, and the methods' configs beside it."""
    folder = tmp_path / "configs"
    folder.mkdir()
    shutil.copy(config_file, folder / "small.py")
    for method in ("simclr", "vicreg"):
        (folder / f"{method}.py").write_text(SIBLING.format(method=method))
    return folder / "small.py"


def _compare(base, objectives, workdir):
    return ("compare", "--config", base, "--objectives", objectives, "--seeds", "1", "--workdir", workdir)


@pytest.mark.parametrize(
    "methods", [["simclr"], pytest.param(["barlow_twins", "simclr"], marks=pytest.mark.slow)]
)
def test_methods_are_trained_alike_told_in_one_table_and_read_when_they_are_done(
    run_command, base, tmp_path, methods
):
    runs = tmp_path / "runs"
    argv = _compare(base, ",".join(methods), runs)
    results, said = run_command(*argv, *SHORT)
    rows = results["rows"]
    assert list(rows) == ["untrained", *methods]
    for (run,) in rows.values():
        for command in ("probe", "knn"):
            assert set(by_fraction(run, command=command)) == {0.1, 1.0}
        assert 1 <= run["representation_rank"] <= 16  # of a ResNet-8 of width 4
    for name in methods:
        (run,) = rows[name]
        assert 1 <= run["embedding_rank"] <= 16 and 0 <= run["embedding_std"] <= 1.001
        assert run["step_seconds"] > 0 and run["step_bytes"] > 128 * 2 * 8 * 8 * 3
    table = said.splitlines()[-2 - len(methods) :]
    assert [line.split()[0] for line in table] == ["mean", *rows]
    assert f"{by_fraction(rows['simclr'][0], command='probe')[1.0]:.1f}" in table[-1].split()
    assert (runs / "compare.png").read_bytes().startswith(b"\x89PNG")

    # Interrupted before one of them was judged: that one is, from its checkpoint, and the other is read.
    (runs / "simclr-0" / "results" / "compare.json").unlink()
    again, said = run_command(*argv, *SHORT)
    assert "images/s" not in said, "finished runs are not trained again"
    assert again["rows"]["simclr"][0]["scores"] == rows["simclr"][0]["scores"]
    assert all(again["rows"][name] == rows[name] for name in ("untrained", *methods[:-1]))

    _, said = run_command(*argv, *SHORT, "--config.optim.learning_rate=0.5", code=2)
    assert "holds a run with config.optim.learning_rate = 0.2, but the new value is 0.5" in said


@pytest.mark.slow
def test_the_best_checkpoint_has_results_of_its_own(run_command, base, tmp_path):
    """It is the only one, so it has the same scores."""
    argv = (*_compare(base, "simclr", tmp_path), *SHORT)
    (newest,) = run_command(*argv)[0]["rows"]["simclr"]
    argv += ("--checkpoint", "best")
    assert "config.monitor.every_epochs is 0" in run_command(*argv, code=2)[1]
    with (tmp_path / "simclr-0" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "view_retrieval_top1": 0.5}\n')
    (best,) = run_command(*argv, "--config.monitor.every_epochs=1")[0]["rows"]["simclr"]
    assert best["scores"] == newest["scores"]
    assert (tmp_path / "simclr-0" / "results" / "compare-best.json").is_file()


@pytest.mark.parametrize(
    ("objectives", "words"),
    [
        (
            "simclr,foo",
            "--objectives foo: the method's config file {folder}/foo.py is missing. Choose from "
            "barlow_twins, simclr, vicreg",
        ),
        ("other", "other.py does not support 'small'. Use other.py:digits"),
    ],
)
def test_a_method_that_is_not_beside_the_base_is_named_with_the_remedy(
    run_command, base, tmp_path, objectives, words
):
    (base.parent / "other.py").write_text(SIBLING.format(method="byol").replace('"small"', '"digits"'))
    _, said = run_command(*_compare(base, objectives, tmp_path / "runs"), *SHORT, code=2)
    assert words.format(folder=base.parent) in said
    assert not list(tmp_path.glob("runs/*-0")), "before anything is trained"


def test_a_grid_is_the_product_of_lists_and_a_list_of_grids(tmp_path):
    grid = [
        {"seed": [1, 2], "optim.momentum": 0.5},
        {"network.projector": ["16,16", [8, 8]], "data.data_dir": None},
    ]
    file = tmp_path / "grid.json"
    file.write_text(json.dumps(grid))
    cells = [{"seed": "1", "optim.momentum": "0.5"}, {"seed": "2", "optim.momentum": "0.5"}]
    cells += [{"network.projector": text, "data.data_dir": "none"} for text in ("16,16", "[8, 8]")]
    assert read_grid(str(file)) == read_grid(json.dumps(grid)) == cells
    for wrong in ("[]", "[1]", "{", str(tmp_path / "missing.json")):
        with pytest.raises(UserError, match="--grid"):
            read_grid(wrong)


@pytest.fixture
def trained(monkeypatch):
    """Configs of the runs that a study has trained, by name; the learning rate decides the scores."""
    configs = {}

    def train_and_evaluate(config, run_dir, name, evaluate):
        if config.optim.learning_rate == 9.0:
            raise RunError("the loss is not finite")
        configs[run_dir.name] = config
        (run_dir / "checkpoints" / "4").mkdir(parents=True, exist_ok=True)
        row = {"step": 4, "rankme": config.optim.learning_rate, "knn_top1": 0.5}
        (run_dir / "metrics.jsonl").write_text(json.dumps(row))
        return result("pretrained", 4, score("probe", 100 * config.optim.learning_rate), knn(50.0))

    monkeypatch.setattr("barlow_jax.experiment.pretraining.train_and_evaluate", train_and_evaluate)
    return configs


def test_a_grid_of_runs_becomes_a_study(run_command, base, tmp_path, trained):
    grid = (
        '[{"objective.name": "vicreg", "optim.learning_rate": [0.1, 0.2, 0.3, 9]}, {"train.num_epochs": 1}]'
    )
    argv = ("compare", "--config", base, "--workdir", tmp_path / "study", "--seeds", "2", "--grid", grid)
    results, _ = run_command(*argv, "--config.network.width=8")
    assert [run["method"] for run in results["runs"]] == ["vicreg"] * 8 + ["barlow_twins"] * 2
    assert [("failed" in run) for run in results["runs"]] == [False] * 6 + [True] * 2 + [False] * 2
    assert {config.network.width for config in trained.values()} == {8}, "overrides hold for every run"
    twins, other = (trained[run["run"]] for run in results["runs"][-2:])
    assert (twins.seed, other.seed, twins.train.num_epochs, twins.objective.name) == (
        0,
        1,
        1.0,
        "barlow_twins",
    )
    table = next(iter(results["statistics"].values()))
    assert table["rankme"]["vicreg"] == pytest.approx(1.0) and table["rankme"]["barlow_twins"] is None
    text = (tmp_path / "study" / "study.md").read_text()
    assert all(f"| {run['run']}: " in text for run in results["runs"])
    assert (
        json.loads((tmp_path / "study" / "results" / "compare.json").read_text())["runs"] == results["runs"]
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--grid", '{"optim.lr": [1, 2]}'), "optim.learning_rate"),
        (("--grid", '{"objective.name": "foo"}'), "foo.py is missing"),
        (("--grid", '{"train.batch_size": [128, 100]}'), "config.train.batch_size is 100"),
        (("--grid", "missing.json"), "missing.json"),
        (("--grid", "{}", "--objectives", "vicreg"), "--objectives"),
    ],
)
def test_a_grid_that_cannot_run_is_refused_before_the_first_run(
    run_command, base, tmp_path, trained, flags, words
):
    argv = ("compare", "--config", base, "--workdir", tmp_path / "study", *flags)
    assert words in run_command(*argv, code=2)[1] and not trained


def test_methods_are_trained_on_the_data_set_of_the_bases_argument():
    base, _ = overrides.from_tree(overrides.load_config_file("cifar10:cifar100")[0].to_dict())
    args = argparse.Namespace(config="cifar10:cifar100", overrides=[], grid=None)
    for name in ("barlow_twins", "vicreg"):
        config = compare.method_config(name, base, args)
        assert (config.objective.name, config.data.name) == (name, "cifar100")
