"""Study of `adapt`: k-NN and linear accuracy on the target before, after, and with each safeguard alone.

    python launch/adaptation_study.py --workdir runs/adaptation --pairs digits --seeds 5
    python launch/adaptation_study.py --workdir runs/adaptation --tfds /data/tfds --seeds 5

Resumable: the same command goes on where it was interrupted, and more pairs, seeds or variants add to the
table in WORKDIR/table.md. `adapt` gets the target without its labels.
"""

import argparse
import contextlib
import io
import json
import pathlib

import numpy as np

from barlow_jax.__main__ import main
from barlow_jax.config.schema import Data
from barlow_jax.data import splits
from barlow_jax.data.sampler import ProcessShard

OFF = {"freeze": 0, "encoder_rate": 1, "layer_decay": 1, "anchor": "none"}
# Overrides of config.adapt, and train.average_decay; {}: the defaults.
VARIANTS = {
    "naive": (OFF, 0),
    "all": ({}, 0.99),
    "warm-up": (OFF | {"freeze": 0.1}, 0),
    "layer rates": (OFF | {"layer_decay": 0.8}, 0),
    "anchor weights": (OFF | {"anchor": "weights"}, 0),
    "anchor features": (OFF | {"anchor": "features"}, 0),
    "average": (OFF, 0.99),
}
SOURCES = {"self-supervised": "{}", "supervised": "classification:{}"}
# Config, pixels, classes of the source, epochs of the source, epochs on the target.
PAIRS = {
    "digits": ("digits", 8, 10, 25, 20),
    "animals": ("cifar10_cpu", 16, 6, 15, 10),
    "negatives": ("cifar10_cpu", 16, 10, 15, 10),
    "few": ("digits", 8, 10, 25, 200),
}
ARRAYS = ("data.name=images", "data.augment_on=device", "data.cache=decoded", "data.eval_split=test")
ALONE = "distributed.detect=false"  # jax looks for other processes only before its first computation
IMAGES = {"train": 4000, "test": 2000}  # of CIFAR-10, of each role

Split = tuple[np.ndarray, np.ndarray]  # images and labels


def digits(_tfds: str | None) -> dict[str, dict[str, Split]]:
    """Return digits, and other digits turned by up to 60 degrees with noise, by role and split."""
    from scipy import ndimage
    from sklearn.datasets import load_digits

    data, rng = load_digits(), np.random.default_rng(0)
    order = rng.permutation(len(data.images))
    images, labels = 255 / 16 * data.images[order], data.target[order]
    turned = np.stack([ndimage.rotate(x, rng.uniform(-60, 60), reshape=False, order=1) for x in images])
    noisy = turned + rng.normal(0, 60, turned.shape)
    parts = {"train": slice(0, 1437), "test": slice(1437, None)}
    return {
        role: {
            name: (np.clip(x[part], 0, 255).astype(np.uint8), labels[part]) for name, part in parts.items()
        }
        for role, x in (("source", images), ("target", noisy))
    }


def few(_tfds: str | None) -> dict[str, dict[str, Split]]:
    """Return digits, and 128 others of the same kind, by role and split: little to learn, much to lose."""
    source = digits(None)["source"]
    images, labels = source["test"]
    target = {"train": (images[:128], labels[:128]), "test": (images[128:], labels[128:])}
    return {"source": source, "target": target}


def cifar10(tfds: str | None) -> dict[str, Split]:
    """Return CIFAR-10 at 16 pixels by split, in a random order."""
    data, found = Data(name="cifar10", data_dir=tfds, image_size=32, eval_resize=32), {}
    for name in IMAGES:
        batches = splits.open_split(data, name).eval_batches(data, batch_size=1000, shard=ProcessShard())
        rows = [(batch.views["eval"], batch.labels) for batch in batches]
        images, labels = (np.concatenate(part) for part in zip(*rows, strict=True))
        order = np.random.default_rng(0).permutation(len(images))
        halves = images.reshape(-1, 16, 2, 16, 2, 3).mean((2, 4)).round().astype(np.uint8)
        found[name] = halves[order], labels[order]
    return found


def animals(tfds: str | None) -> dict[str, dict[str, Split]]:
    """Return CIFAR-10's animals, and its vehicles, by role and split."""
    found: dict[str, dict[str, Split]] = {"source": {}, "target": {}}
    for name, (images, labels) in cifar10(tfds).items():
        is_vehicle = np.isin(labels, (0, 1, 8, 9))
        for role, chosen in (("source", ~is_vehicle), ("target", is_vehicle)):
            _, classes = np.unique(labels[chosen], return_inverse=True)
            found[role][name] = images[chosen][: IMAGES[name]], classes[: IMAGES[name]]
    return found


def negatives(tfds: str | None) -> dict[str, dict[str, Split]]:
    """Return CIFAR-10, and other images of it as gray negatives of half the contrast, by role and split."""
    found: dict[str, dict[str, Split]] = {"source": {}, "target": {}}
    for name, (images, labels) in cifar10(tfds).items():
        first, second = slice(0, IMAGES[name]), slice(IMAGES[name], 2 * IMAGES[name])
        gray = images[second].mean(-1, keepdims=True).repeat(3, -1)
        found["source"][name] = images[first], labels[first]
        found["target"][name] = (191.5 - gray / 2).round().astype(np.uint8), labels[second]
    return found


def prepare(folder: pathlib.Path, pair: str, tfds: str | None) -> None:
    """Write the arrays of a pair, those of the target also without labels."""
    if (folder / "unlabeled" / "test.npz").exists():
        return
    make = {"digits": digits, "animals": animals, "negatives": negatives, "few": few}[pair]
    for role, parts in make(tfds).items():
        for name, (images, labels) in parts.items():
            for out in (role, "unlabeled") if role == "target" else (role,):
                (folder / out).mkdir(parents=True, exist_ok=True)
                more = {} if out == "unlabeled" else {"labels": labels}
                np.savez(folder / out / f"{name}.npz", images=images, **more)


def run(*words: object, allowed: tuple[int, ...] = (0,)) -> dict:
    """Run a command, and return its results."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main([str(word) for word in words])
    if code not in allowed:
        raise SystemExit(f"{' '.join(map(str, words))}: exit code {code}")
    return json.loads(out.getvalue().splitlines()[-1])


def evaluate(name: str, encoder: object, folder: pathlib.Path, config: list[str]) -> dict[str, float]:
    """Return the accuracies of an encoder on the target, which are measured once."""
    cache = folder / f"{name}.json"
    if not cache.exists():
        scores = {}
        for command in ("knn", "probe"):
            flags = (f"--config.{command}.label_fractions=1", "--config.knn.k=20")
            results = run(command, "--encoder", encoder, "--workdir", folder / name, *config, *flags)
            scores[command] = next(s["value"] for s in results["scores"] if s["metric"] == "top1")
        cache.write_text(json.dumps(scores))
    return json.loads(cache.read_text())


def study(
    root: pathlib.Path, pair: str, source: str, seed: int, variants: list[str], scale: float
) -> dict[str, dict[str, float]]:
    """Train and evaluate the variants from one source; return accuracies by variant."""
    base, pixels, classes, *epochs = PAIRS[pair]
    folder, data = root / f"{pair}-{source}-{seed}", root / pair

    def config(name: str, split: str, *more: str) -> list[str]:
        keys = (
            *ARRAYS,
            ALONE,
            f"data.data_dir={data / split}",
            f"data.canvas={pixels}",
            f"seed={seed}",
            *more,
        )
        keys = (*keys, f"data.image_size={pixels}", f"data.eval_resize={pixels}", "network.width=16")
        return ["--config", name, *(f"--config.{key}" for key in keys)]

    def length(epochs: float) -> list[str]:
        keys = ("monitor.every_epochs", "checkpoint.every_epochs", "checkpoint.keep_every_epochs")
        fixed = [f"train.num_epochs={epochs}", f"optim.warmup_epochs={epochs / 10}", "monitor.sinks="]
        return [*fixed, *(f"{key}={epochs / 4}" for key in keys)]

    of_source, of_target = (length(scale * number) for number in epochs)
    of_source += [f"network.num_classes={classes}"] if source == "supervised" else []
    start, target = folder / "source", config(base, "target")
    run("pretrain", "--workdir", start, *config(SOURCES[source].format(base), "source", *of_source))
    rows = {"before": evaluate("before", start, folder, target)}
    scratch = root / f"{pair}-scratch-{seed}"  # of both sources
    run("pretrain", "--workdir", scratch, *config(base, "unlabeled", *of_target))
    rows["from scratch"] = evaluate("scratch", scratch, scratch, target)
    for name in variants:
        keys, decay = VARIANTS[name]
        workdir = folder / f"{name}-run".replace(" ", "-")
        words = [f"train.average_decay={decay}", *(f"adapt.{k}={v}" for k, v in keys.items())]
        words = config(base, "unlabeled", *of_target, *words)
        results = run("adapt", "--weights", start, "--workdir", workdir, *words, allowed=(0, 4))
        rows[name] = evaluate(name.replace(" ", "-"), workdir, folder, target)
        if name in ("naive", "all"):
            chosen = "naive, best candidate" if name == "naive" else "adapt"
            rows[chosen] = evaluate(f"{name}-chosen", results["folder"], folder, target)
    return rows


def table(cells: dict[tuple[str, str, int], dict[str, dict[str, float]]]) -> str:
    """Return the mean accuracies, the mean and smallest change of k-NN, and how many runs are not worse."""
    lines = [
        "| pair | source | variant | k-NN | linear | change of k-NN, mean (min) | at or above the start |",
        "|---" * 7 + "|",
    ]
    for pair, source in dict.fromkeys(key[:2] for key in cells):
        group = [rows for key, rows in cells.items() if key[:2] == (pair, source)]
        for name in group[0]:
            knn, linear = (np.array([rows[name][kind] for rows in group]) for kind in ("knn", "probe"))
            change = knn - np.array([rows["before"]["knn"] for rows in group])
            numbers = f"{knn.mean():.1f} | {linear.mean():.1f} | {change.mean():+.1f} ({change.min():+.1f})"
            lines.append(
                f"| {pair} | {source} | {name} | {numbers} | {np.sum(change >= 0)} of {len(change)} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=[*PAIRS])
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=[*SOURCES])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=[*VARIANTS])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all epochs, to try the script")
    parser.add_argument("--tfds", help="folder of CIFAR-10 in TFDS's format")
    args = parser.parse_args()
    found = {}
    for seed in range(args.seeds):
        for pair in args.pairs:
            prepare(args.workdir / pair, pair, args.tfds)
            for source in args.sources:
                rows = study(args.workdir, pair, source, seed, args.variants, args.scale)
                found[pair, source, seed] = rows
                (args.workdir / "table.md").write_text(table(found) + "\n")
