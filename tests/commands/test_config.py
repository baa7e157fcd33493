"""`config` describes keys and groups, and suggests a name for a key that does not exist."""

import json

import pytest

from barlow_jax.__main__ import main


def test_a_key_has_its_default_range_and_documentation(run_command):
    results, stderr = run_command("config", "optim.learning_rate", "--config.optim.learning_rate=0.3")
    assert results == {"optim.learning_rate": 0.3}
    for line in ("value: 0.3", "default: 0.2", "values: a number > 0", "per 256 images"):
        assert line in stderr


def test_a_group_has_its_keys(run_command):
    results, _ = run_command("config", "config.recipe.views.b.blur")
    assert results == {
        "recipe.views.b.blur.probability": 0.1,
        "recipe.views.b.blur.min_sigma": 0.1,
        "recipe.views.b.blur.max_sigma": 2.0,
    }


def test_the_help_of_a_command_lists_its_config_keys(capsys):
    with pytest.raises(SystemExit):
        main(["probe", "--help"])
    assert "  probe.num_epochs = 100 (an integer >= 1, epochs)\n" in capsys.readouterr().out


def test_all_keys_are_listed(run_command):
    results, stderr = run_command("config")
    assert results["num_keys"] > 100
    assert (
        "  train.batch_size = 2048\n" in stderr and "transfer.<name>.probe.KEY: the keys of probe." in stderr
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["optim.lr"], "config.optim.lr does not exist. Did you mean config.optim.learning_rate?"),
        (["optim", "--workdir", "x"], "--workdir"),
    ],
)
def test_a_mistake_exits_with_2(run_command, argv, message):
    _, stderr = run_command("config", *argv, code=2)
    assert message in stderr


def test_the_reference_is_written_as_markdown(run_command, tmp_path):
    results, _ = run_command("config", "--markdown", tmp_path / "config.md")
    assert json.loads(json.dumps(results)) == {"markdown": str(tmp_path / "config.md")}
    assert "| `train.batch_size` | `2048` | an integer >= 2 |" in (tmp_path / "config.md").read_text()
