"""slurm.sh: the call of sbatch, and what the job does for each exit code, with a simulated Slurm."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
TOOL = """#!{python} -IS
import json, os, sys
name = os.path.basename(sys.argv[0])
with open({calls!r}, "a") as file:
    file.write(json.dumps([name, *sys.argv[1:]]) + "\\n")
if name == "squeue":
    print(os.environ.get("STATE", "RUNNING"))
if name == "sbatch":
    job = next(i for i, word in enumerate(sys.argv) if word.endswith("job.sh"))
    os.environ.update(SLURM_JOB_ID="7", SLURM_CPUS_PER_TASK="4")
    os.execvp("bash", ["bash", *sys.argv[job:]])
sys.exit(int(os.environ.get("CODE", "0")) if name == "srun" else 0)
"""
PRETRAIN = ("pretrain", "--config", "imagenet", "--workdir", "/shared/two words")


@pytest.fixture
def slurm(tmp_path):
    """Function that calls slurm.sh and returns its output and the calls of Slurm's programs."""
    calls = tmp_path / "calls.jsonl"
    for name in ("sbatch", "srun", "squeue", "scontrol"):
        (tmp_path / name).write_text(TOOL.format(python=sys.executable, calls=str(calls)))
        (tmp_path / name).chmod(0o755)

    def launch(*args, code=0, **settings):
        settings = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": sys.executable} | settings
        command = ["bash", ROOT / "launch" / "slurm.sh", *args]
        result = subprocess.run(command, env=settings, capture_output=True, text=True, cwd="/", check=False)
        assert result.returncode == code, result.stderr
        return result.stderr, [*map(json.loads, calls.read_text().splitlines())] if calls.exists() else []

    return launch


def test_a_process_per_gpu_is_started_with_the_arguments_unchanged(slurm):
    _, (sbatch, srun) = slurm(*PRETRAIN, NODES="2", GPUS="4", PARTITION="gpu")
    flags = {"--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4", "--partition=gpu", "--signal=TERM@120"}
    assert flags < set(sbatch) and not any(word.startswith("--account") for word in sbatch)
    assert {"--gpu-bind=none", "--kill-on-bad-exit=0"} < set(srun)
    command = [sys.executable, "-m", "barlow_jax", "pretrain", "--config.data.threads=4", *PRETRAIN[1:]]
    assert srun[-len(command) :] == command


@pytest.mark.parametrize("exit_code", ["143", "1", "134"])
def test_a_run_that_is_not_finished_is_requeued(slurm, exit_code):
    _, calls = slurm(*PRETRAIN, CODE=exit_code, code=int(exit_code))
    assert calls[-1] == ["scontrol", "requeue", "7"]


@pytest.mark.parametrize(
    ("exit_code", "settings"),
    [
        ("0", {}),
        ("2", {}),
        ("143", {"STATE": "COMPLETING"}),  # cancelled by the user, or requeued by Slurm itself
        ("1", {"MAX_RESTARTS": "3", "SLURM_RESTART_COUNT": "3"}),
    ],
)
def test_a_run_that_is_finished_wrong_cancelled_or_hopeless_is_not(slurm, exit_code, settings):
    _, calls = slurm(*PRETRAIN, CODE=exit_code, code=int(exit_code), **settings)
    assert "scontrol" not in {name for name, *_ in calls}


def test_a_dry_run_submits_nothing(slurm):
    assert "--workdir gs://bucket/run" in slurm("--dry-run", "pretrain", "--workdir", "gs://bucket/run")[0]
    output, calls = slurm("--dry-run", *PRETRAIN)
    assert output.startswith("+ sbatch ") and output.endswith("--workdir '/shared/two words'\n") and not calls


def test_all_wrong_settings_are_named_at_once(slurm):
    output, calls = slurm("pretrain", "--workdir", "runs/x", NODES="two", PYTHON="/none", code=2)
    assert all(f"  {name} is" in output for name in ("NODES", "PYTHON", "--workdir")) and not calls
    assert "command is missing" in slurm(code=2)[0]
    assert "--workdir is 's3://bucket/run'" in slurm("pretrain", "--workdir=s3://bucket/run", code=2)[0]
