"""`bench loss` through the entry point."""

import pytest


def test_the_forms_are_timed_against_each_other(run_command, tmp_path):
    result, said = run_command("bench", "loss", "--rows", 16, "--widths", "32,64", "--workdir", tmp_path)
    assert [row["form"] for row in result["rows"]] == ["all-reduce", "direct", "gram"] * 2
    assert all(row["seconds"] > 0 for row in result["rows"])
    summed, _, gram = result["rows"][3:]
    assert summed["collectives"]["all-reduce"]["bytes"] >= 4 * 64 * 64
    assert gram["temporary_bytes"] < summed["temporary_bytes"] and gram["flops"] < summed["flops"]
    assert (tmp_path / "results" / "bench-loss.png").stat().st_size > 10_000
    assert "MB of temporaries" in said


@pytest.mark.slow
def test_for_a_topology_it_compiles_and_says_what_does_not_fit(run_command):
    result, said = run_command("bench", "loss", "--rows", 64, "--widths", 131072, "--topology", "v5e:2x2")
    fits = {row["form"]: row["fits"] for row in result["rows"]}
    assert fits["gram"] and not fits["all-reduce"] and "does not fit" in said
    assert not any("seconds" in row for row in result["rows"])


def test_mistakes_are_named(run_command):
    for argv, words in (
        (("--rows", "16,x"), "--rows is '16,x'"),
        (("--rows", "12"), "--rows 12 --widths 1024: both must be divisible by the 8 devices"),
    ):
        assert words in run_command("bench", "loss", *argv, code=2)[1]
