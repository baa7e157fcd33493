"""Show the progress of a run, whether it is alive, and the time lost by restarts."""

import argparse
import socket
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.io import log
from barlow_jax.io.paths import Path
from barlow_jax.training import verdict
from barlow_jax.workdir import lock

COMMAND = Command(examples=("status --workdir runs/digits",), checks="runs", single_process=True)


def check(args: argparse.Namespace, config: Config | None) -> list[str]:
    """Refuse overrides of a config."""
    return [f"--config.{key}: status reads no config. Leave it out." for key, _ in args.overrides]


def run(config: Config, workdir: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Show the fields of `verdict.read_status`, and return them. Safe while the run is running."""
    status, holder = verdict.read_status(workdir), lock.holder(workdir)
    if status["state"] is None:
        message = (
            f"{workdir}: status.json is missing or not readable; checkpoints of steps {status['checkpoints']}"
        )
        log.info(message + (f"; {holder} is running" if holder else ""))
        return status
    for name, value in _table(workdir, status, holder):
        log.info(f"{name:<18}{value}")
    return status


def _table(workdir: Path, status: dict[str, Any], holder: str | None) -> list[tuple[str, str]]:
    saved, rate, loss = status["checkpoint"], status["images_per_second"], status["loss"]
    step, num_steps = status["step"], status["num_steps"]
    useful, wall = _duration(status["useful_seconds"]), _duration(status["wall_seconds"])
    return [
        ("run", str(workdir)),
        ("state", status["state"] + (f": {status['reason']}" if status["reason"] else "")),
        ("process", _process(status, holder)),
        ("updated", f"{_duration(status['age_seconds'])} ago ({status['updated']})"),
        ("step", f"{step} of {num_steps} ({step / max(num_steps, 1):.0%})"),
        ("epoch", f"{status['epoch']:.2f}"),
        ("rate", "-" if rate is None else f"{rate:.0f} images/s"),
        ("loss", "-" if loss is None else f"{loss:.4g}"),
        ("last checkpoint", f"step {saved['step']}, {saved['time']}" if saved else "none"),
        ("restarts", f"{status['restarts']}, which cost {_duration(status['lost_seconds'])}"),
        ("decode failures", str(status["decode_failures"])),
        ("skipped steps", str(status["skipped_steps"])),
        ("verdict", status["verdict"]["text"]),
        ("goodput", f"{status['goodput']:.1%}: {useful} in useful steps, of {wall} since the first start"),
    ]


def _process(status: dict[str, Any], holder: str | None) -> str:
    if holder:
        return f"alive: {holder}"
    name = f"process {status['pid']} on {status['host']}"
    if status["alive"] is None:
        return f"{name}; whether it is alive is unknown on {socket.gethostname()}"
    return f"{name} " + ("ended" if status["state"] in ("finished", "stopped") else "was killed or lost")


def _duration(seconds: float) -> str:
    """Format as "3 d 04:05:06", "04:05:06" or "12 s"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    days, rest = divmod(round(seconds), 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days} d {clock}" if days else clock
