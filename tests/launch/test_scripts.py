"""Launch scripts in dry runs, their help, and shellcheck."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "launch").rglob("*.sh"))
SHELLCHECK = shutil.which("shellcheck", path=str(pathlib.Path(sys.executable).parent))


def _dry_run(script, *args):
    result = subprocess.run(
        ["bash", ROOT / "launch" / script, "--dry-run", *args],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    return [line.removeprefix("+ ") for line in result.stderr.splitlines()]


def test_quickstart_pretrains_evaluates_and_reports_with_the_overrides():
    *_, pretrain, evaluate, report = _dry_run("quickstart.sh", "--config.seed=3")
    assert pretrain.endswith("-m barlow_jax pretrain --config digits --workdir runs/digits --config.seed=3")
    assert evaluate.endswith("-m barlow_jax evaluate --workdir runs/digits")
    assert report.endswith("-m barlow_jax report --workdir runs/digits")


def test_test_script_installs_the_test_extra_and_runs_ruff_mypy_and_pytest():
    *_, install, check, check_format, types, pytest_line = _dry_run("test.sh", "-k", "lars")
    assert check.endswith("-m ruff check") and check_format.endswith("-m ruff format --check")
    assert types.endswith("-m mypy")
    assert install.endswith("-e .[test]") and pytest_line.endswith(
        "-m pytest -q -n 2 --dist worksteal -k lars"
    )


def test_scripts_and_commands_in_the_readme_exist():
    page = (ROOT / "launch" / "README.md").read_text()
    names = set(re.findall(r"bash (launch/\S+\.sh)", page))
    assert names and all((ROOT / name).is_file() for name in names)
    for script, command in re.findall(r"(tpu|gke)\.sh (?:--dry-run )?(\w+)", page):
        path = {"tpu": "tpu.sh", "gke": "gke/gke.sh"}[script]
        usage = subprocess.run(["bash", ROOT / "launch" / path], capture_output=True, text=True, check=True)
        assert re.search(rf"^  {command}\b", usage.stdout, re.MULTILINE), command


@pytest.mark.parametrize(
    "script",
    [
        "quickstart.sh",
        "test.sh",
        "prepare_data.sh",
        "check_accelerator.sh",
        "slurm.sh",
        "tpu.sh",
        "gke/gke.sh",
    ],
)
def test_help_prints_the_usage_and_runs_nothing(script):
    command = ["bash", ROOT / "launch" / script, "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert f"Usage: bash launch/{script}" in result.stdout and "Example" in result.stdout
    assert "set -euo" not in result.stdout and result.stderr == ""


@pytest.mark.parametrize(
    "script", [*SCRIPTS, *(ROOT / "tests").rglob("*.sh"), ROOT / ".ci" / "run"], ids=lambda p: p.name
)
def test_shellcheck_finds_nothing(script):
    assert SHELLCHECK, "shellcheck comes with the test extra"
    result = subprocess.run([SHELLCHECK, "-x", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert not result.stdout
