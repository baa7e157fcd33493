"""compare through the entry point: a method beside the base, a few steps each."""

import shutil

import pytest
from score_records import by_fraction

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


def test_methods_are_trained_alike_told_in_one_table_and_read_when_they_are_done(run_command, base, tmp_path):
    runs = tmp_path / "runs"
    argv = _compare(base, "barlow_twins,simclr", runs)
    results, said = run_command(*argv, *SHORT)
    rows = results["rows"]
    assert list(rows) == ["untrained", "barlow_twins", "simclr"]
    for (run,) in rows.values():
        for command in ("probe", "knn"):
            assert set(by_fraction(run, command=command)) == {0.1, 1.0}
        assert 1 <= run["representation_rank"] <= 16  # of a ResNet-8 of width 4
    for name in ("barlow_twins", "simclr"):
        (run,) = rows[name]
        assert 1 <= run["embedding_rank"] <= 16 and 0 <= run["embedding_std"] <= 1.001
        assert run["step_seconds"] > 0 and run["step_bytes"] > 128 * 2 * 8 * 8 * 3
    table = said.splitlines()[-4:]
    assert [line.split()[0] for line in table] == ["mean", *rows]
    assert f"{by_fraction(rows['simclr'][0], command='probe')[1.0]:.1f}" in table[-1].split()
    assert (runs / "compare.png").read_bytes().startswith(b"\x89PNG")

    # Interrupted before one of them was judged: that one is, from its checkpoint, and the other is read.
    (runs / "simclr-0" / "results" / "compare.json").unlink()
    again, said = run_command(*argv, *SHORT)
    assert "images/s" not in said, "finished runs are not trained again"
    assert again["rows"]["simclr"][0]["scores"] == rows["simclr"][0]["scores"]
    assert all(again["rows"][name] == rows[name] for name in ("untrained", "barlow_twins"))

    _, said = run_command(*argv, *SHORT, "--config.optim.learning_rate=0.5", code=2)
    assert "holds a run with config.optim.learning_rate = 0.2, but the new value is 0.5" in said


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
