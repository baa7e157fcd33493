"""ablate through the entry point, two runs of a few steps."""

import json

import pytest
from score_records import by_fraction

from barlow_jax.__main__ import main
from barlow_jax.commands import ablate
from barlow_jax.config.validation import Facts
from barlow_jax.papers.ablations import ABLATIONS, TABLES

SHORT = (
    "--config.train.num_epochs=0.5",
    "--config.optim.warmup_epochs=0.1",
    "--config.monitor.every_epochs=0",
    "--config.probe.label_fractions=0.1,1",
    "--config.probe.subset_repeats=1",
)


@pytest.mark.slow
def test_a_group_is_run_and_told_beside_the_paper(run_command, config_file, tmp_path):
    argv = ("ablate", "--config", config_file, "--only", "correlation", "--workdir", tmp_path, *SHORT)
    results, said = run_command(*argv)
    rows = {row["name"]: row for row in results["rows"]}
    assert list(rows) == ["untrained", "baseline", "auto"]
    assert rows["auto"]["changes"] == {"objective.barlow_twins.off_diagonal": "auto"}
    assert rows["baseline"]["published"] == {"top1": 71.4, "top5": 90.2}
    assert all(set(by_fraction(rows[name])) == {0.1, 1.0} for name in rows)
    table = said.strip().splitlines()[-4:]
    assert table[2].split()[0] == "baseline" and table[2].split()[-1] == "71.4"
    saved = json.loads((tmp_path / "correlation-auto" / "config.json").read_text())
    assert saved["objective"]["barlow_twins"]["off_diagonal"] == "auto"

    again, said = run_command(*argv)
    assert again["rows"][1:] == results["rows"][1:] and "images/s" not in said, "finished runs are read"
    untrained, repeated = (out["rows"][0] | {"date": None} for out in (results, again))
    assert repeated == untrained
    _, said = run_command(*argv, "--config.optim.learning_rate=0.5", code=2)
    assert "holds a run with config.optim.learning_rate = 0.2, but the new value is 0.5" in said


def test_what_is_the_base_or_does_not_fit_is_told_and_not_run(small_config, typed, tmp_path):
    config, facts = typed(small_config), Facts(8, {"train": 1437})

    def skipped(group, name):
        (ablation,) = (a for a in ABLATIONS if (a.group, a.name) == (group, name))
        return ablate.row(ablation, config, tmp_path, facts)["skipped"]

    assert skipped("depth", "2") == "same as the baseline"
    assert "has only 1437 images" in skipped("batch_size", "4096")
    assert not list(tmp_path.iterdir())


def test_an_unknown_group_is_named(run_command, config_file, tmp_path):
    _, said = run_command("ablate", "--config", config_file, "--only", "los", "--workdir", tmp_path, code=2)
    assert f"there is no group 'los'. Choose from {', '.join(TABLES['barlow_twins'].groups)}" in said


def test_the_table_is_that_of_the_configs_method(run_command, config_file, tmp_path):
    argv = ("ablate", "--config", config_file, "--workdir", tmp_path / "run")
    _, said = run_command(*argv, "--table", "vicreg", code=2)
    assert "--table vicreg: config.objective.name is barlow_twins" in said
    _, said = run_command(*argv, "--table", "vicreg", "--only", "loss", code=2)
    assert "there is no group 'loss'" in said and not (tmp_path / "run").exists()


def test_the_help_names_every_group(capsys):
    with pytest.raises(SystemExit):
        main(["ablate", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert all(group in said for table in TABLES.values() for group in table.groups)
