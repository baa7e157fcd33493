def test_what_a_save_costs_is_measured_and_nothing_is_left(run_command, tmp_path):
    result, said = run_command(
        "bench", "checkpoint", "--state-mb", 8, "--step-seconds", 0.25, "--workdir", tmp_path
    )
    assert 7e6 < result["state_bytes"] < 9e6
    assert 0 < result["blocked_seconds"] < result["saved_seconds"]
    assert result["restore_seconds"] > 0 and result["verify_seconds"] > 0
    assert result["steps_between_saves"] == 1_281_167 // 2048
    blocks, every = result["blocked_seconds"], result["steps_between_saves"]
    assert result["blocked_fraction"] == blocks / (blocks + every * 0.25)
    least = result["step_seconds_for_5_percent"]
    assert abs(blocks / (blocks + every * least) - 0.05) < 1e-9
    assert "state bytes" in said and " MB" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]


def test_of_the_state_of_a_config_and_without_a_step_time(run_command, config_file):
    result, _ = run_command("bench", "checkpoint", "--config", config_file, "--state-mb", 0)
    assert 0 < result["state_bytes"] < 1e6 and result["steps_between_saves"] == round(0.5 * 11)
    assert "blocked_fraction" not in result and result["step_seconds_for_5_percent"] > 0
