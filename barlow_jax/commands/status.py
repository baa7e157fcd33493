"""Show the progress of a run, whether it is alive, and the time lost by restarts."""

import argparse
import pathlib
import socket
import sys
import time
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.workdir import lock, saved_run

COMMAND = Command(examples=("status --workdir runs/digits",), checks="runs", single_process=True)


def check(args: argparse.Namespace, config: Config | None) -> list[str]:
    """Refuse overrides of a config."""
    return [f"--config.{key}: status reads no config; leave it out" for key, _ in args.overrides]


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """The figures of `status.json`, without its marks; `alive` is None where that cannot be told from here."""
    del config, args
    figures = saved_run.saved_status(workdir)
    holder = lock.holder(workdir)
    if figures is None:
        steps = saved_run.checkpoint_steps(workdir)
        alive = holder is not None
        told = "no (readable) status.json" + (f"; {holder} is at work" if alive else "")
        print(f"{workdir}: {told}; checkpoints of steps {steps}", file=sys.stderr)
        return {"state": None, "alive": alive, "checkpoints": steps}
    del figures["marks"]
    here = figures["host"] == socket.gethostname()
    figures["alive"] = True if holder else False if here else None
    figures["age_seconds"] = max(0.0, time.time() - figures["updated_unix"])
    for name, value in _table(workdir, figures, holder):
        print(f"{name:<18}{value}", file=sys.stderr)
    return figures


def _table(workdir: pathlib.Path, it: dict[str, Any], holder: str | None) -> list[tuple[str, str]]:
    saved = it["checkpoint"]
    return [
        ("run", str(workdir)),
        ("state", it["state"] + (f": {it['reason']}" if it["reason"] else "")),
        ("process", _process(it, holder)),
        ("figures", f"{_span(it['age_seconds'])} old ({it['updated']})"),
        ("step", f"{it['step']} of {it['num_steps']} ({it['step'] / max(it['num_steps'], 1):.0%})"),
        ("epoch", f"{it['epoch']:.2f}"),
        ("rate", "-" if it["images_per_second"] is None else f"{it['images_per_second']:.0f} images/s"),
        ("loss", "-" if it["loss"] is None else f"{it['loss']:.4g}"),
        ("last checkpoint", f"step {saved['step']}, {saved['time']}" if saved else "none"),
        ("restarts", f"{it['restarts']}, which cost {_span(it['lost_seconds'])}"),
        ("broken images", str(it["decode_failures"])),
        ("skipped steps", str(it["skipped_steps"])),
        (
            "goodput",
            f"{it['goodput']:.1%}: {_span(it['useful_seconds'])} in steps that count, of {_span(it['wall_seconds'])} "
            "since the first start",
        ),
    ]


def _process(it: dict[str, Any], holder: str | None) -> str:
    if holder:
        return f"alive: {holder}"
    if it["alive"] is None:
        return f"process {it['pid']} on {it['host']}; from {socket.gethostname()} it cannot be told whether it is alive"
    ended = "ended" if it["state"] in ("finished", "stopped") else "gone: killed, or its machine was lost"
    return f"process {it['pid']} on {it['host']} {ended}"


def _span(seconds: float) -> str:
    """ "3 d 04:05:06", "04:05:06" or "12 s"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    days, rest = divmod(round(seconds), 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days} d {clock}" if days else clock
