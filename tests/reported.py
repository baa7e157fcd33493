"""Synthetic runs and model inspections for tests of the report, with numbers as in the quickstart."""

import pathlib

import numpy as np
import score_records
from score_records import result, score

from barlow_jax.config import overrides, records
from barlow_jax.evals.correlation import EDGES, Correlation
from barlow_jax.evals.spectrum import Spectrum
from barlow_jax.reporting.schema import ModelInspection, Neighbors, Projection, Run, Snapshot

DEFAULTS = records.flatten(overrides.default_config().to_dict())
CHANGES = {
    "data.name": "digits",
    "data.image_size": 8,
    "network.encoder": "resnet8",
    "network.projector": (512, 512),
    "train.batch_size": 64,
    "train.num_epochs": 80.0,
    "optim.name": "adamw",
}


def run(name="digits", *, changes=(), rows=20, **fields):
    """Return a healthy run; `fields` replace those of its record."""
    changes = CHANGES | dict(changes)
    defaults = {
        "name": name,
        "workdir": pathlib.Path("runs") / name,
        "config": DEFAULTS | changes,
        "changed": {key: (DEFAULTS[key], value) for key, value in changes.items()},
        "provenance": [entry()],
        "status": status(),
        "metrics": metrics(rows),
        "results": {"evaluate": evaluate()},
    }
    return Run(**defaults | fields)


def metrics(rows=20, **columns):
    """Return rows 100 steps apart, and one row of the k-NN evaluation; `columns` replace values."""
    table = []
    for row in range(rows):
        done = (row + 1) / rows
        values = {
            "step": 100 * (row + 1),
            "epoch": 4.0 * (row + 1),
            "loss": 400.0 - 270.0 * done,
            "invariance": 0.5 - 0.4 * done,
            "redundancy": 25.0,
            "diagonal_mean": 0.3 + 0.5 * done,
            "off_diagonal_rms": 0.2,
            "embedding_spread": 0.9,
            "embedding_std_mean": 0.9,
            "embedding_std_min": 0.4,
            "gradient_norm": 100.0,
            "skipped_steps": 0.0,
            "learning_rate_weights": 0.002 * (1 - done),
            "learning_rate_biases": 0.002 * (1 - done),
            "images_per_second": 900.0,
            "data_wait_fraction": 0.01,
            "decode_failures": 0,
        }
        table.append(values | {name: column[row] for name, column in columns.items()})
    return [*table, {"step": 100 * rows, "knn_top1": 0.98}]


def status(**figures):
    return {
        "state": "finished",
        "reason": None,
        "step": 2000,
        "num_steps": 2000,
        "epoch": 80.0,
        "images_per_second": 900.0,
        "loss": 130.0,
        "checkpoint": {"step": 2000, "time": "2026-01-02 03:06:27 UTC"},
        "starts": 1,
        "restarts": 0,
        "decode_failures": 0,
        "skipped_steps": 0,
        "lost_seconds": 0.0,
        "useful_seconds": 3240.0,
        "wall_seconds": 3600.0,
        "goodput": 0.9,
        "host": "here",
        "pid": 1,
        "started": "2026-01-02 02:06:27 UTC",
        "updated": "2026-01-02 03:06:27 UTC",
        "updated_unix": 1.7e9,
    } | figures


def entry(**more):
    return {
        "version": "0.1.0",
        "commit": "0123456789abcdef+",
        "python": "3.12.3",
        "platform": "Linux",
        "packages": {"jax": "0.10.2"},
        "devices": {"kind": "TPU v5e", "count": 4, "processes": 1},
        "command": ["pretrain", "--workdir", "runs/my digits"],
        "starts": 1,
        "first": "2026-01-02T02:06:27+00:00",
        "last": "2026-01-02T02:06:27+00:00",
    } | more


def evaluate(linear=98.9, knn=98.6):
    def scores(linear, knn):
        probe = [score("probe", linear - 5, "top1", 0.1), score("probe", linear)]
        neighbors = [score_records.knn(knn - 4, 0.1), score_records.knn(knn)]
        euclidean = score_records.knn(knn, k=5, distance="euclidean")
        return [*probe, score("probe", 99.9, "top5"), *neighbors, euclidean]

    tuned = [score("finetune", 73.9, "top1", 0.01), score("finetune", 93.4, "top5", 0.01)]
    evaluations = [
        result("pixels", -1, *scores(95.3, 97.5)),
        result("untrained", 0, *scores(88.3, 80.6), *tuned),
        result(
            "pretrained", 2000, *scores(linear, knn), *tuned, not_measured={"voc07": "it is not prepared"}
        ),
    ]
    return {"evaluations": evaluations}


def plan(**more):
    return {
        "topology": "v5e:2x2",
        "chips": 4,
        "hosts": 1,
        "part": "step",
        "batch_size": 64,
        "projector": "replicated",
        "form": "direct",
        "fits": True,
        "step_s": 0.05,
        "bound": "compute",
        "images_per_second": 1280.0,
        "peak_bytes": 3_000_000_000,
        "hours": 0.5,
        "chip_hours": 2.0,
    } | more


def inspection(*, images=24, size=8, embeddings=True):
    rng = np.random.default_rng(0)
    snapshots = [_snapshot(step, embeddings, rng) for step in (0, 1000, 2000)]
    pictures = rng.integers(0, 256, (images, size, size, 3), np.uint8)
    labels = np.arange(images) % 10
    nearest = np.arange(8 * 6).reshape(8, 6) % images
    neighbors = Neighbors(
        pictures[:8], labels[:8], pictures[nearest], labels[nearest], np.full(nearest.shape, 0.9)
    )
    points = rng.normal(size=(images, 2))
    projection = Projection("PCA, 40% of the variance", points, labels, pictures)
    views = {"original": pictures[:4], "a": pictures[4:8], "b": pictures[8:12]}
    return ModelInspection(snapshots, views, neighbors, [projection])


def _snapshot(step, embeddings, rng):
    fractions = np.exp(-np.arange(64) / 9)
    fractions /= fractions.sum()
    matrix = np.clip(rng.normal(0, 0.2, (64, 64)) + np.eye(64) * step / 2500, -1, 1)
    counts = [np.histogram(values, EDGES)[0] for values in (np.diagonal(matrix), matrix)]
    of_embeddings = [Spectrum(fractions, 20.0), Correlation(matrix, 8, *counts)] if embeddings else []
    return Snapshot(step, Spectrum(fractions, 25.0), *of_embeddings)
