"""Check an accelerator through the commands of the package; called by check_accelerator.sh."""

import argparse
from collections.abc import Callable, Iterator
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

SECONDS = 480  # for everything on an accelerator
SMALL_SECONDS = 3600  # on a CPU that may be busy
COMMAND = [sys.executable, "-m", "barlow_jax"]
# Two runs of one program give the same bits only without kernels that add in any order.
DETERMINISTIC = "--xla_gpu_exclude_nondeterministic_ops=true"
DEVICES = """
import json, jax
from barlow_jax.planning.chips import chip_name
device = jax.devices()[0]
limit = (device.memory_stats() or {}).get("bytes_limit")
print(json.dumps({"platform": device.platform, "kind": device.device_kind, "count": jax.device_count(),
                  "peak_known": chip_name(device.device_kind) is not None, "memory_bytes": limit,
                  "jax": jax.__version__}))
"""
RESNET50_BYTES = 26e9  # of 256 pairs of 224 pixels: 22.6 GB on an H100
TINY = {"network.encoder": "resnet8", "network.width": 4, "network.stem": "cifar", "data.image_size": 16}
TINY |= {"data.eval_resize": 16, "data.canvas": 32, "network.projector": "32,32", "probe.num_epochs": 2}
# Without the ops that compile slowly
TINY |= {f"recipe.views.{view}.{op}.probability": 0 for view in "ab" for op in ("jitter", "blur")}


class PartError(Exception):
    """A part of the check failed."""


class Check:
    """The parts of the check, their time limit, and their results."""

    def __init__(self, out: pathlib.Path, *, dry_run: bool):
        self.out, self.dry_run, self.started, self.limit = out, dry_run, time.monotonic(), SECONDS
        self.environment = dict(os.environ)
        self.results: dict[str, Any] = {"ok": True, "parts": {}}
        # This process compares arrays on the CPU: the accelerator may serve only one process at a time.
        os.environ["JAX_PLATFORMS"] = "cpu"

    def run(self, *args: object, code: int = 0, until: Callable[[], bool] | None = None) -> dict[str, Any]:
        """Run a command and return its results; with `until`, send SIGTERM as soon as that is true."""
        argv = [*map(str, args)]
        print("+", shlex.join(argv), file=sys.stderr, flush=True)
        if self.dry_run:
            return {}
        with open(self.out / "log.txt", "a+") as log:
            process = subprocess.Popen(
                argv, env=self.environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
            try:
                while until and not until() and process.poll() is None and self.seconds_left > 0:
                    time.sleep(0.005)
                if until:
                    process.send_signal(signal.SIGTERM)
                stdout, _ = process.communicate(timeout=max(0.0, self.seconds_left))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise PartError(f"not finished {self.limit} s after the start of the check") from None
        if process.returncode != code:
            last = "\n".join((self.out / "log.txt").read_text().splitlines()[-5:])
            raise PartError(f"exit code {process.returncode} instead of {code}: {last}")
        return json.loads(stdout.splitlines()[-1]) if stdout else {}

    def part(self, name: str, measure: Callable[[], dict[str, Any]]) -> None:
        """Run a part and keep its result, or the reason why it failed; write all results so far."""
        began = time.monotonic()
        try:
            result = {"ok": True} | measure()
        except PartError as error:
            result = {"ok": False, "reason": str(error)}
        self.results["parts"][name] = result | {"wall_seconds": round(time.monotonic() - began, 1)}
        self.results["ok"] &= result["ok"]
        self.results["wall_seconds"] = round(time.monotonic() - self.started, 1)
        if not self.dry_run:
            (self.out / "accelerator.json").write_text(json.dumps(self.results, indent=2))

    @property
    def seconds_left(self) -> float:
        """Seconds until the time limit of the check."""
        return self.started + self.limit - time.monotonic()


def main() -> int:
    """Run all parts; return the exit code."""
    parser = argparse.ArgumentParser(prog="launch/check_accelerator.sh")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/accelerator"))
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"--out: {args.out} exists. Remove it, or name another folder.")
    check = Check(args.out, dry_run=args.dry_run)
    if not args.dry_run:
        write_images(args.out / "images")
    try:
        device = check.run(sys.executable, "-c", DEVICES) or {"platform": "gpu", "count": 1}
    except PartError as error:
        sys.exit(f"error: jax finds no device: {error}")
    check.results |= {"device": device, "small": args.small or device["platform"] == "cpu"}
    if check.results["small"]:
        check.limit = SMALL_SECONDS
    run_parts(check, device["count"], device.get("memory_bytes") or RESNET50_BYTES)
    if not args.dry_run:
        print(json.dumps(check.results))
    return not check.results["ok"]


def run_parts(check: Check, num_devices: int, memory_bytes: float) -> None:
    """Run the benchmarks, the two training runs and the evaluations."""
    small, workdir = check.results["small"], check.out / "run"
    base = {"data.name": "images", "train.compilation_cache": check.out / "compiled"} | (
        TINY if small else {}
    )
    # A benchmark takes from its data set only the number of images, at least a batch.
    blank = base | {"data.data_dir": check.out / "blank", "data.eval_split": "train"}
    if not check.dry_run:
        blank["data.data_dir"].mkdir()
        pixels = np.zeros([256 * num_devices, 32, 32, 3], np.uint8)
        np.savez_compressed(blank["data.data_dir"] / "train.npz", images=pixels)
    rows = 256 if memory_bytes >= RESNET50_BYTES else 64
    # Without the augmentation, as the published measurements of ResNet-50's step are.
    imagenet = blank | {"train.batch_size": (8 if small else rows) * num_devices, "data.augment_on": "host"}
    cifar = blank | {"train.batch_size": (8 if small else 256) * num_devices}
    per_step = (32 if small else 256) // num_devices * num_devices
    train = base | {"train.batch_size": per_step, "train.max_steps": 40 if small else 200}
    train |= {"data.data_dir": check.out / "images", "data.eval_split": "test"}
    train |= {"train.num_epochs": 200, "train.log_every_steps": 2 if small else 5, "monitor.every_epochs": 20}
    bench, pretrain = [*COMMAND, "bench", "step"], [*COMMAND, "pretrain", "--config", "cifar10"]
    if check.results["device"].get("peak_known", True):
        bench += ["--against", "plan"]
    check.part("bench_resnet50", lambda: check.run(*bench, "--config", "imagenet", *flags(imagenet)))
    check.part("bench_resnet18", lambda: check.run(*bench, "--config", "cifar10", *flags(cifar)))
    if check.results["device"]["platform"] == "gpu":
        check.environment["XLA_FLAGS"] = f"{check.environment.get('XLA_FLAGS', '')} {DETERMINISTIC}".strip()
    check.part("pretrain", lambda: check.run(*pretrain, "--workdir", workdir, *flags(train)))
    check.part("resume", lambda: resume(check, [*pretrain, *flags(train)], workdir))
    for name in ("knn", "probe"):
        check.part(name, lambda name=name: check.run(*COMMAND, name, "--workdir", workdir))


def flags(settings: dict[str, object]) -> list[str]:
    """Return the overrides of a command."""
    return [f"--config.{key}={value}" for key, value in settings.items()]


def resume(check: Check, pretrain: list[str], untouched: pathlib.Path) -> dict[str, Any]:
    """Stop a run with SIGTERM, resume it, and compare its losses and its last checkpoint with another run."""
    workdir = check.out / "stopped_run"
    rows = workdir / "metrics.jsonl"
    check.run(
        *pretrain, "--workdir", workdir, code=143, until=lambda: rows.exists() and rows.stat().st_size > 0
    )
    if check.dry_run:
        return check.run(*pretrain, "--workdir", workdir)
    stopped = max(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())
    check.run(*pretrain, "--workdir", workdir)
    different = [*differences(workdir, untouched)]
    if different:
        raise PartError(f"stopped at step {stopped} and resumed, but {'; '.join(different[:3])}")
    return {"stopped_at_step": stopped, "bitwise": True}


def differences(one: pathlib.Path, other: pathlib.Path) -> Iterator[str]:
    """Yield a phrase for each loss and each array of the last checkpoint that differs in its bits."""
    losses, arrays = zip(
        *((losses_of(workdir), last_arrays(workdir)) for workdir in (one, other)), strict=True
    )
    if losses[0] != losses[1]:
        yield "the losses differ"
    if arrays[0].keys() != arrays[1].keys():
        yield "the checkpoints hold other arrays"
    for name in arrays[0].keys() & arrays[1].keys():
        if arrays[0][name].tobytes() != arrays[1][name].tobytes():
            yield f"{name} differs"


def losses_of(workdir: pathlib.Path) -> dict[int, float]:
    """Return the logged losses by step."""
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def last_arrays(workdir: pathlib.Path) -> dict[tuple, np.ndarray]:
    """Return all arrays of the newest checkpoint."""
    import jax
    import orbax.checkpoint as ocp

    step = max(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())
    folder = workdir.absolute() / "checkpoints" / str(step) / "default"
    handler = ocp.PyTreeCheckpointHandler()
    shapes = handler.metadata(folder).tree
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
    tree = handler.restore(folder, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    return {name: np.asarray(array) for name, array in ocp.tree.to_flat_dict(tree).items()}


def write_images(folder: pathlib.Path) -> None:
    """Write scikit-learn's digits as RGB images of 32 pixels: train.npz and test.npz."""
    folder.mkdir(parents=True)
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    images = np.repeat(images[..., None], 3, axis=-1)
    for name, part in (("train", slice(1437)), ("test", slice(1437, None))):
        np.savez(folder / f"{name}.npz", images=images[part], labels=digits.target[part])


if __name__ == "__main__":
    sys.exit(main())
