"""Resolution of a command line: all problems in one message, exit code 2, and nothing started."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from barlow_jax import commands
from barlow_jax.__main__ import main
from barlow_jax.cli import parsing, resolve
from barlow_jax.config.overrides import default_config, to_config_dict

DIGITS = str(pathlib.Path(__file__).parents[2] / "configs" / "digits.py")


def _refused(capsys, *argv):
    assert main(list(argv)) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    return err


def test_all_problems_are_in_one_message(capsys, tmp_path):
    err = _refused(
        capsys,
        "pretrain",
        "--config",
        DIGITS,
        "--workdir",
        str(tmp_path / "run"),
        "--workdri",
        "--config.seed",
        "--config.optm.learning_rate=1",
        "--config.train.batch_size=3001",
        "--config.network.width=wide",
        "--config.data.image_size=99",
    )
    assert err.splitlines()[0] == "error: 7 problems"
    for words in (
        "--workdri is no argument",
        "--config.seed needs a value",
        "Did you mean config.optim.learning_rate?",
        "config.network.width is 'wide'",
        "config.train.batch_size is 3001, but must be divisible by the 8 devices",
        "split 'train' of digits has only 1437 images",
        "config.data.image_size is 99",
    ):
        assert words in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ["pretrain", "--workdir", "/nowhere/run"],
            "/nowhere/run holds no run (config.json is missing). Pass --config",
        ),
        (["probe"], "--workdir is missing"),
        (["pretrain", "--config", DIGITS], "--workdir is missing"),
        (["pretrain", "--config", "configs/digit.py", "--workdir", "x"], "configs/digit.py does not exist"),
        (["pretrain", "--config", DIGITS, "--workdir", DIGITS], "is not a folder"),
        (["pretrain", "--config", DIGITS, "--workdir", "ftp://bucket/run"], "the schemes of buckets"),
        (["pretrain", "--config", DIGITS, "--workdir", "x", "extra"], "extra is no argument"),
        (
            ["pretrain", "--config", DIGITS, "--workdir", "x", "--config.data.name=didgits"],
            "did you mean 'digits'?",
        ),
    ],
)
def test_a_problem_is_named_with_its_remedy(capsys, argv, words):
    assert words in _refused(capsys, *argv)


@pytest.mark.parametrize("argv", [["--config.seed=1"], ["--config.seed", "1"]])
def test_an_override_is_written_with_or_without_an_equals_sign(capsys, argv):
    assert main(["pretrain", "--config", DIGITS, "--dry-run", *argv]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["seed"] == 1


def _python(code, *args):
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)


def test_a_wrong_config_is_refused_before_tensorflow_is_imported(tmp_path):
    code = (
        "import sys; from barlow_jax.__main__ import main; code = main(sys.argv[1:]); "
        "slow = {'tensorflow', 'flax', 'orbax'} & set(sys.modules); assert not slow, slow; sys.exit(code)"
    )
    result = _python(
        code, "pretrain", "--config", DIGITS, "--workdir", str(tmp_path / "x"), "--config.train.x=1"
    )
    assert result.returncode == 2 and result.stderr.startswith("error: 1 problem\n"), result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("argv", [["--help"], ["pretrain", "--help"], ["bench", "--help"], ["--version"]])
def test_help_imports_nothing_slow(argv):
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "barlow_jax", *argv],
        capture_output=True,
        text=True,
        check=True,
    )
    assert " jax\n" not in result.stderr and "tensorflow" not in result.stderr
    if argv == ["--help"]:
        assert all(f"    {name} " in result.stdout for name in ("pretrain", "probe", "knn", "evaluate"))


def test_no_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as error:
        main([])
    assert error.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_an_unreadable_config_is_the_only_problem(capsys, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    err = _refused(capsys, "pretrain", "--config", "configs/digit.py", "--workdir", str(tmp_path))
    assert err.startswith("error: 1 problem\n")


def test_a_workdir_with_an_invalid_config_is_named(capsys, tmp_path):
    (tmp_path / "config.json").write_text("{")
    assert "config.json is damaged" in _refused(capsys, "knn", "--workdir", str(tmp_path))


def test_a_key_newer_than_the_run_has_its_default_and_can_be_overridden(tmp_path):
    saved = default_config().to_dict()
    del saved["finetune"], saved["transfer"]
    (tmp_path / "config.json").write_text(json.dumps(saved))
    argv = ["finetune", "--workdir", str(tmp_path), "--config.finetune.num_epochs=3", "--dry-run"]
    module, args, _ = parsing.parse(commands, argv)
    config, _, problems = resolve.resolve(module, args)
    assert config.finetune.num_epochs == 3 and set(config.transfer) == {"places205", "voc07", "inat18"}
    assert not [problem for problem in problems if "finetune" in problem or "transfer" in problem]


def test_an_automatic_value_range_is_measured_once(tmp_path):
    """A run that resumes has the numbers of its config.json, whatever its images are by then."""
    images, workdir, config_file = tmp_path / "images", tmp_path / "run", tmp_path / "config.py"
    for path in (images, workdir):
        path.mkdir()
    for number in range(16):
        np.save(images / f"{number}.npy", np.full((8, 8), 100 + number % 2, np.uint16))
    config_file.write_text(
        "from barlow_jax.config.overrides import default_config\n\n\ndef get_config():\n"
        "    config = default_config()\n"
        "    config.data.name, config.data.augment_on = 'images', 'device'\n"
        "    config.data.pixel_dtype = 'float32'\n"
        "    config.data.value_range, config.data.eval_split = 'auto', 'held_out'\n"
        "    config.train.batch_size = 8\n    return config\n"
    )
    argv = ["show-views", "--config", str(config_file), f"--config.data.data_dir={images}"]

    def resolved(*more, num_problems=0):
        module, args, _ = parsing.parse(commands, [*argv, *more])
        config, _, problems = resolve.resolve(module, args)
        assert len(problems) == num_problems, problems
        return config

    config = resolved()
    assert config.data.value_range == "100,101,100,101,100,101"
    (workdir / "config.json").write_text(json.dumps(to_config_dict(config).to_dict()))
    for number in range(16):
        np.save(images / f"{number}.npy", np.full((8, 8), 7, np.uint16))
    assert resolved("--workdir", str(workdir)) == config
    assert resolved().data.value_range == "7,8,7,8,7,8"
    # Images that the config does not fit are reported before anything starts.
    resolved("--config.data.pixel_dtype=uint8", "--config.data.value_range=dtype")
    for number in range(16):
        (images / f"{number}.npy").unlink()
        np.save(images / f"float{number}.npy", np.zeros((8, 8), np.float32))
    resolved("--config.data.pixel_dtype=uint8", "--config.data.value_range=dtype", num_problems=1)
    resolved("--config.data.value_range=0,1,2", num_problems=1)
    resolved("--config.data.data_dir=/nowhere", num_problems=1)
