"""Through the entry point, compiled by libtpu for chips that are not here."""

import pytest

SMALL = ("--config.mesh.projector=sharded", "--config.train.batch_size=64")


def test_a_plan_of_the_step_says_what_it_costs(run_command, config_file, tmp_path):
    result, said = run_command(
        "plan", "--config", config_file, "--topology", "v5e:2x2", *SMALL, "--workdir", tmp_path
    )
    assert result["fits"] and result["chips"] == 4 and result["projector"] == "sharded"
    assert result["step_s"] == max(result[f"{name}_s"] for name in ("compute", "memory", "interconnect"))
    assert result["parameter_bytes"] <= result["argument_bytes"]
    assert result["steps"] == 44 and result["hours"] == pytest.approx(44 * result["step_s"] / 3600)
    assert result["collectives"]["all-gather"]["count"] >= 2, "each layer's input is gathered for each view"
    for words in ("on the wire", "bound by", "chip-hours", "pairs per second", "peak"):
        assert words in said
    assert (tmp_path / "results" / "plan.json").is_file()


@pytest.mark.slow
def test_microbatches_compute_as_much_and_one_forward_pass_more(run_command, config_file):
    argv = ("plan", "--config", config_file, "--topology", "v5e:2x2", *SMALL)
    once, _ = run_command(*argv)
    twice, _ = run_command(*argv, "--config.train.microbatches=2")
    assert 1.1 < twice["flops"] / once["flops"] < 1.6


def test_a_sweep_is_a_table(run_command, config_file):
    argv = ("plan", "--config", config_file, "--part", "loss", "--images-per-chip", 16)
    result, said = run_command(*argv, "--sweep", "v5e:2x2,v4:2x2x2")
    assert [row["batch_size"] for row in result["rows"]] == [64, 128]
    assert [row["chips"] for row in result["rows"]] == [4, 8]
    assert said.count("\n") >= 3 and "v4:2x2x2" in said


def test_a_batch_is_so_many_images_a_chip(run_command, config_file):
    argv = ("plan", "--config", config_file, "--part", "loss", "--topology", "v5e:2x2")
    result, _ = run_command(*argv, "--images-per-chip", 12)
    assert result["batch_size"] == 48


def test_what_does_not_fit_exits_with_three_and_says_what_would(run_command, config_file):
    result, said = run_command(
        "plan",
        "--config",
        config_file,
        "--topology",
        "v5e:2x2",
        "--part",
        "loss",
        "--config.objective.form=direct",
        "--config.mesh.embeddings=rows",
        "--config.network.projector=131072",
        code=3,
    )
    assert not result["fits"] and "objective.form=gram" in said and "of the 15.75G" in said


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "--topology is missing"),
        (["--topology", "v9:2x2"], "'v9:2x2'"),
        (
            ["--topology", "v5e:2x2", "--config.train.batch_size=63"],
            "63, but must be divisible by the 4 devices",
        ),
        (["--sweep", "train.batch_size=64"], "needs a --topology"),
        (
            ["--sweep", "v5e:2x2", "--config.train.batch_size=63"],
            "63, but must be divisible by the 4 devices",
        ),
    ],
)
def test_mistakes_are_named(run_command, config_file, argv, words):
    _, said = run_command("plan", "--config", config_file, *argv, code=2)
    assert words in said
