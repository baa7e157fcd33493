"""The launch scripts, without running what they run."""

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


def test_quickstart_pretrains_evaluates_and_reports_and_passes_overrides_on():
    *_, pretrain, evaluate, report = _dry_run("quickstart.sh", "--config.seed=3")
    assert pretrain.endswith(
        "-m barlow_jax pretrain --config configs/digits.py --workdir runs/digits --config.seed=3"
    )
    assert evaluate.endswith("-m barlow_jax evaluate --workdir runs/digits")
    assert report.endswith("-m barlow_jax report --workdir runs/digits")


def test_test_script_installs_the_test_extra_and_runs_pytest():
    *_, install, pytest_line = _dry_run("test.sh", "-k", "lars")
    assert install.endswith("-e .[test]") and pytest_line.endswith(
        "-m pytest -q -n 2 --dist worksteal -k lars"
    )


def test_the_page_names_scripts_and_commands_that_are_there():
    page = (ROOT / "launch" / "README.md").read_text()
    named = set(re.findall(r"bash (launch/\S+\.sh)", page))
    assert named and all((ROOT / name).is_file() for name in named)
    for script, command in re.findall(r"(tpu|gke)\.sh (?:--dry-run )?(\w+)", page):
        path = {"tpu": "tpu.sh", "gke": "gke/gke.sh"}[script]
        usage = subprocess.run(["bash", ROOT / "launch" / path], capture_output=True, text=True, check=True)
        assert re.search(rf"^  {command}\b", usage.stdout, re.MULTILINE), command


@pytest.mark.parametrize(
    "script", [*SCRIPTS, *(ROOT / "tests").rglob("*.sh"), ROOT / ".ci" / "run"], ids=lambda p: p.name
)
def test_shellcheck_finds_nothing(script):
    assert SHELLCHECK, "shellcheck comes with the test extra"
    result = subprocess.run([SHELLCHECK, "-x", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert not result.stdout
