"""bench input through the entry point."""


def test_every_stage_is_timed_beside_decoding_and_the_official_pipeline(run_command, config_file, tmp_path):
    results, said = run_command(
        "bench", "input", "--config", config_file, "--images", 50, "--workdir", tmp_path
    )
    names = [row["stage"] for row in results["rows"]]
    assert names == ["read", "decode", "canvas", "transfer", "geometry", "color", "official"]
    assert all(row["pairs_per_cpu_second"] > 0 < row["pairs_per_second"] for row in results["rows"])
    assert (tmp_path / "results" / "bench-input.png").stat().st_size > 5_000
    assert "x official" in said and "official, on Pillow" in said


def test_mistakes_are_named(run_command, config_file):
    _, said = run_command("bench", "input", "--config", config_file, "--images", 10, code=2)
    assert "--images is 10, but must be at least 50" in said
    run_command(
        "bench",
        "input",
        "--config",
        config_file,
        "--config.data.name=images",
        "--config.data.pixel_dtype=float32",
        "--config.data.augment_on=device",
        code=2,
    )
    _, said = run_command("bench", "input", code=2)
    assert "--config is missing" in said
