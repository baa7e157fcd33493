"""Fixtures: a repository with the launch scripts, and a simulated cloud."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
HERE = pathlib.Path(__file__).parent


class Cloud:
    """Simulated cloud: its folder, its copy of the repository, and the settings of the scripts."""

    def __init__(self, folder: pathlib.Path, repository: pathlib.Path):
        self.folder, self.repo, self.bin = folder, folder / "repo", folder / "bin"
        self.bucket = folder / "gs" / "bucket"  # whose URL is gs://bucket
        self.mount = folder / "mount"
        self.mounted = {"BUCKET": "bucket", "MOUNT": str(self.mount)}  # settings
        shutil.copytree(repository, self.repo)
        self.commit = _git(self.repo, "rev-parse", "HEAD").strip()
        for name in ["cloud.py", "host_tool.sh"]:
            shutil.copy(HERE / name, folder)
        (folder / "host_tool.sh").chmod(0o755)
        self.bin.mkdir()
        for name in ["gcloud", "kubectl", "docker", "xpk"]:
            (self.bin / name).write_text(
                f'#!/bin/sh\nexec {sys.executable} -IS {folder}/cloud.py {name} "$@"\n'
            )
            (self.bin / name).chmod(0o755)
        (folder / "commands").mkdir()
        (folder / "host_bin").mkdir()
        for name in ["sudo", "hostname", "mountpoint", "curl", "gcloud"]:
            (folder / "host_bin" / name).symlink_to(folder / "host_tool.sh")
        self.settings = {
            "NAME": "slice",
            "PROJECT": "project",
            "ZONE": "zone",
            "ACCELERATOR": "v5litepod-16",
            "POLL": "0",
            "HOME": str(folder),
            "PATH": f"{self.bin}:{os.environ['PATH']}",
        }

    def plan(self, *lives):
        """Set what happens to the slices that are created, in order."""
        (self.folder / "plan.json").write_text(json.dumps(lives))

    def launch(self, script, *args, code=0, **settings):
        """Run a script, check its exit code, and return its output."""
        settings = {key: value for key, value in (self.settings | settings).items() if value is not None}
        result = subprocess.run(
            ["bash", self.repo / "launch" / script, *args],
            env=settings,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert result.returncode == code, result.stderr
        return result.stdout + result.stderr

    def create_by_hand(self):
        """Create a slice as a user of gcloud does, without the scripts."""
        command = [self.bin / "gcloud", "compute", "tpus", "queued-resources", "create", "slice"]
        subprocess.run(command, check=True)

    def calls(self, name):
        """Return the arguments of every call of a tool, in order."""
        file = self.folder / "calls.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [args for caller, *args in lines if caller == name]

    def runs(self):
        """Return the arguments of every process of `python -m barlow_jax`."""
        return [file.read_text().split("\0")[:-1] for file in (self.folder / "commands").iterdir()]

    def steps(self):
        """Return the steps that gcloud performed, without queries."""
        verbs = {"host.sh setup": "setup", "host.sh start": "start", "host.sh end": "end"}
        steps = []
        for args in self.calls("gcloud"):
            if args[3] in ("create", "delete", "scp"):
                steps.append(args[3])
            steps += [verb for text, verb in verbs.items() if any(text in arg for arg in args)]
        return steps


def _git(folder, *args):
    me = ["-c", "user.name=me", "-c", "user.email=me@example.com"]
    return subprocess.run(["git", *me, *args], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "launch", folder / "launch")
    _git(folder, "init", "--quiet", "--template=")
    _git(folder, "add", ".")
    _git(folder, "commit", "--quiet", "-m", "launch")
    return folder


@pytest.fixture
def cloud(tmp_path, repository):
    cloud = Cloud(tmp_path, repository)
    yield cloud
    for pid in tmp_path.glob("hosts/*/barlow_jax/run/pid"):
        subprocess.run(["kill", "-KILL", pid.read_text().strip()], capture_output=True, check=False)
