"""The programs: what each does, and what must be known before it starts."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Program:
    """One of `python -m barlow_jax NAME`."""

    summary: str
    # What its command line is held against: files of runs alone, whatever their configs; also the config's types; also
    # whether the config can run; also the data set and the devices.
    checks: Literal["files", "types", "config", "data"] = "data"
    alone: bool = False  # of one process
    workdir: bool = True  # needs one
    encoder: bool = False  # takes --encoder
    module: str = ""  # in commands/, where it has another name
    results: str = "features"  # the flag whose value tells one result of it from another


PROGRAMS = {
    "pretrain": Program("pretrain an encoder; goes on from the newest checkpoint"),
    "probe": Program("linear probe of the newest checkpoint's encoder", encoder=True),
    "knn": Program("weighted cosine k-NN, and Euclidean, on the newest checkpoint's encoder", encoder=True),
    "finetune": Program(
        "encoder and a new classifier on a share of the labels (semi-supervised)", encoder=True
    ),
    "transfer": Program("linear classifiers or SVMs on other data sets, the encoder frozen", encoder=True),
    "retrieve": Program(
        "images by their captions and captions by their images: R@K of a run on image and text"
    ),
    "evaluate": Program(
        "probe, knn, finetune and transfer beside honest baselines, and the papers' tables", encoder=True
    ),
    "embed": Program(
        "features of a split, or of the images in any folder, as .npz or .parquet; and who is near whom",
        encoder=True,
    ),
    "ablate": Program("the paper's ablations of a base config, one run after the other, in one table"),
    "compare": Program("all methods on equal terms: trained one after the other, judged alike, in one table"),
    "export": Program(
        "the encoder of a run in the form that another tool reads: orbax, torchvision, timm, jax, savedmodel",
        checks="config",
        alone=True,
        workdir=False,
        encoder=True,
        results="format",
    ),
    "import": Program(
        "released weights (torchvision, timm, the official Barlow Twins) as an encoder, or as the start of a run",
        checks="config",
        alone=True,
        module="import_",  # `import` is a word of Python's
    ),
    "status": Program(
        "where a run is, whether it is alive, and what its restarts have cost", checks="files", alone=True
    ),
    "report": Program(
        "one HTML file of one run or several: health, results, cost, and what the network makes of images",
        checks="files",
        alone=True,
    ),
    "verify": Program("check every checkpoint of a run, to the bit", checks="types", alone=True),
    "show-views": Program(
        "a contact sheet of images and their views, as the network is given them",
        alone=True,
        workdir=False,
        module="show_views",
    ),
    "plan": Program(
        "compile the train step for a TPU topology, and say what it costs and how long it takes",
        alone=True,
        workdir=False,
    ),
    "bench": Program(
        "time and memory of the loss; speed of the input pipeline and the device's augmentation; cost of checkpoints",
        alone=True,
        workdir=False,
        results="what",
    ),
}
