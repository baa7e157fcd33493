"""Study of images with 13 channels of 16 bits: k-NN of pixels, of an untrained and of a pretrained encoder.

    python launch/bands_study.py --workdir runs/bands --seeds 3

Each image is a mixture of two materials, whose spectra are smooth and random, and the share of the first one
varies over the image by a texture. A class is a pair of materials and a texture. Brightness and the gain of
each channel vary between images. `pretrain --images` chooses all settings but the number of epochs.
"""

import argparse
import pathlib

import numpy as np
from scipy import ndimage

import barlow_jax as bj

CHANNELS, SIDE, MATERIALS = 13, 32, 4
# Materials, and the standard deviation in pixels, along and across, of the filter that makes the texture.
CLASSES = (((0, 1), (0.7, 0.7)), ((0, 1), (3, 3)), ((2, 3), (0.7, 0.7)), ((2, 3), (3, 3)), ((0, 2), (0.8, 6)))
IMAGES = {"train": 1000, "test": 500}


def image(spectra: np.ndarray, label: int, rng: np.random.Generator) -> np.ndarray:
    """Return a `[SIDE, SIDE, CHANNELS]` uint16 image of a class."""
    materials, sigma = CLASSES[label]
    field = ndimage.gaussian_filter(rng.normal(size=(2 * SIDE, 2 * SIDE)), sigma)
    field = ndimage.rotate(field, rng.uniform(0, 180), reshape=False, mode="wrap")
    field = field[SIDE // 2 : -SIDE // 2, SIDE // 2 : -SIDE // 2]
    share = 1 / (1 + np.exp(-2 * (field / field.std() + rng.normal(0, 0.5))))
    mixed = np.stack([share, 1 - share], axis=-1) @ spectra[list(materials)]
    gains = np.exp(rng.normal(0, 0.2) + rng.normal(0, 0.03, CHANNELS))
    return np.clip(4000 * (mixed * gains + rng.normal(0, 0.02, mixed.shape)), 0, 65535).astype(np.uint16)


def write_images(folder: pathlib.Path, seed: int) -> None:
    """Write `train.npz` and `test.npz`."""
    rng = np.random.default_rng(seed)
    spectra = ndimage.gaussian_filter1d(rng.uniform(0.1, 1, (MATERIALS, CHANNELS)), 1.5, axis=1)
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in IMAGES.items():
        labels = rng.permutation(np.arange(count) % len(CLASSES))
        np.savez(folder / name, images=[image(spectra, label, rng) for label in labels], labels=labels)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=25.0)
    args = parser.parse_args()
    print("| seed | pixels | untrained | pretrained |\n|---|---|---|---|")
    for seed in range(args.seeds):
        images, workdir = args.workdir / f"images-{seed}", args.workdir / f"run-{seed}"
        write_images(images, seed)
        keys = {"seed": seed, "train.num_epochs": args.epochs}
        run = bj.pretrain(bj.config_for_images(images, overrides=keys), workdir=workdir)
        sources = (run.knn(feature_source=source) for source in ("pixels", "untrained", "pretrained"))
        top1 = [scores.value("top1", k=20, distance="cosine") for scores in sources]
        print(f"| {seed} | {' | '.join(f'{value:.1f}' for value in top1)} |", flush=True)
