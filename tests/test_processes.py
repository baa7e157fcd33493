"""Several processes, as Slurm would start them: the same run as one process on as many devices."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np

CONFIG = str(pathlib.Path(__file__).parents[1] / "configs" / "digits.py")


def _start(workdir, devices, rank=None, job=0):
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0",
    }
    if rank is not None:
        environment |= {
            "SLURM_JOB_ID": str(job), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2",
            "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_STEP_NUM_NODES": "1",
            "SLURM_JOB_NUM_NODES": "1",
        }  # fmt: skip
    argv = [
        "pretrain", "--config", CONFIG, "--workdir", str(workdir), "--config.train.log_every_steps=1",
        "--config.train.max_steps=4", "--config.monitor.every_epochs=0", "--config.network.width=8",
        f"--config.distributed={'false' if rank is None else 'true'}",
    ]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "barlow_jax", *argv],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def _losses(workdir):
    return [json.loads(line)["loss"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_give_what_one_gives(tmp_path):
    # The job's number becomes the port at which the processes meet.
    job = os.getpid()
    two = [_start(tmp_path / "two", devices=2, rank=rank, job=job) for rank in range(2)]
    said = [_finish(process) for process in two]
    _finish(_start(tmp_path / "one", devices=4))
    assert json.loads(said[0])["step"] == 4 and said[1] == "", "process 0 speaks for all"
    one, both = _losses(tmp_path / "one"), _losses(tmp_path / "two")
    assert len(one) == 4
    np.testing.assert_allclose(both, one, rtol=1e-5)
