"""Every command of the documentation runs, at small size, and so does the Python of docs/python_api.md."""

import itertools
import logging
import pathlib
import re
import shutil

import numpy as np
from PIL import Image
import pytest
from test_readme import PAGES, ROOT, _code_blocks, _command_lines

# What a machine without network and accelerators cannot run; the reason, and the tests that cover it.
NOT_RUN = {
    "launch/README.md": "needs a cloud: tests/launch, against a simulated one",
    "--topology": "compiles for a TPU, in minutes: tests/commands/test_plan.py, tests/commands/benchmarks",
    "--sweep": "likewise",
    "--config.monitor.sinks=tensorboard,wandb": "needs an extra and an account: tests/workdir/test_sinks.py",
    "--grid": "trains 69 runs: tests/commands/test_compare.py",
    "--coordinator": "needs several hosts: tests/commands/test_two_processes.py",
    "--weights": "needs released weights: tests/commands/test_import_.py",
    "gs://my-bucket/runs/digits": "needs a bucket: tests/commands/test_buckets.py",
    "transfer": "needs VOC07, which is downloaded: tests/commands/test_transfer.py",
    "--config imagenet": "needs ImageNet",
    "--config cifar10": "needs CIFAR-10, which is downloaded",
    "--config cifar10_cpu": "needs CIFAR-10, which is downloaded",
    "--config cifar10_fast:cpu": "needs CIFAR-10, which is downloaded",
    "--config vicreg:cifar10": "needs CIFAR-10, which is downloaded",
}
SMALL = [
    "network.encoder=resnet8",
    "network.width=4",
    "network.stem=cifar",
    "network.dtype=float32",
    "network.projector=16,16",
    "train.max_steps=2",
    "train.batch_size=16",
    "train.compilation_cache=none",
    "data.image_size=8",
    "data.eval_resize=8",
    "data.canvas=32",
    "eval_batch_size=64",
    "monitor.max_images=64",
    "probe.augment=false",
]
SMALL_EVALUATIONS = [
    "probe.num_epochs=1",
    "probe.min_steps=0",
    "probe.subset_repeats=1",
    "knn.subset_repeats=1",
    "finetune.num_epochs=1",
    "finetune.subset_repeats=1",
]
EVALUATIONS = ("probe", "knn", "finetune", "evaluate", "ablate", "compare")
REPLACED = {  # several runs by one, what skipped commands write, other widths, and placeholders
    " --seeds 3": "",
    "runs/compare": "runs/compare --seeds 1 --objectives vicreg",
    "runs/methods": "runs/methods --seeds 1 --objectives vicreg",
    "--only loss,asymmetry": "--only asymmetry",
    "bench input": "bench input --images 50",
    "config KEY": "config seed",
    "runs runs": "runs runs/digits",
    "WORKDIR": "runs/digits",
    "adapted/adapted-4000": "adapted",
    "joint_head=256,128,128": "joint_head=16,16",
}


def not_run(page, words):
    """Return why a command is not run; None if it is."""
    names = [str(page.relative_to(ROOT)), *words]
    if "--config.data.name=images" not in words:  # own images with the config of another data set
        names += [f"{flag} {value}" for flag, value in itertools.pairwise(words)]
    return next((reason for name, reason in NOT_RUN.items() if name in names), None)


def arguments(words, folder, images, finished):
    """Return the arguments of a command with its files in `folder`, at small size."""
    line = " ".join(words)
    for old, new in REPLACED.items():
        line = line.replace(old, new)
    words = line.replace("<root>", str(images)).replace("<folder>", str(images / "train")).split()
    command = words[0]
    has_config = "--config" in words or ("--images" in words and command != "embed")
    for index, word in enumerate(words):
        if word.startswith("runs/"):
            run = folder / word.split("/")[1]
            if command == "pretrain" and has_config and "--resume" not in words:
                shutil.rmtree(run, ignore_errors=True)
            elif not run.exists() and not (has_config and words[index - 1] == "--workdir"):
                shutil.copytree(finished, run)
            words[index] = str(folder / re.sub(r"/checkpoints/\d+", "/checkpoints/22", word[5:]))
        elif words[index - 1] in ("--out", "--markdown"):
            words[index] = str(folder / word)
    changes = SMALL if has_config or line.startswith("bench") else []
    changes = [*changes, *(SMALL_EVALUATIONS if command in EVALUATIONS else [])]
    given = [word.partition("=")[0] for word in words]
    options = [f"--config.{change}" for change in changes]
    # The documented value of a key counts, unless it would be slow.
    return words + [o for o in options if o.partition("=")[0] not in given or "max_steps" in o]


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Folder <split>/<class>/<image> of 64 small images per split."""
    root, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split in ("train", "val", "validation", "test"):
        for number in range(64):
            path = root / split / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_runs(page, tmp_path, images, finished, run_command, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(tmp_path)
    own = [block for block in _code_blocks(page, "python") if "class ConvNet" in block]
    (tmp_path / "my_nets.py").write_text("\n".join(own))
    for words in _command_lines(page):
        if not not_run(page, words):
            run_command(*arguments(words, tmp_path, images, finished))


def test_most_commands_are_run():
    lines = [(page, words) for page in PAGES for words in _command_lines(page)]
    assert sum(not not_run(*line) for line in lines) > 40
    reasons = {not_run(*line) for line in lines}
    assert reasons == {None, *NOT_RUN.values()}, "a reason without a command"


@pytest.mark.slow  # tests/api tests each function
def test_the_python_of_the_page_runs(finished, config_file, monkeypatch, tmp_path):
    (tmp_path / "digits.py").write_bytes(pathlib.Path(config_file).read_bytes())
    monkeypatch.setattr("barlow_jax.config.shipped.FOLDER", tmp_path)
    shutil.copytree(finished, tmp_path / "runs" / "digits")
    monkeypatch.chdir(tmp_path)
    names, logger = {"print": lambda *_: None}, logging.getLogger("barlow_jax")
    level = logger.level
    try:
        for block in _code_blocks(ROOT / "docs" / "python_api.md", "python"):
            exec(block, names)
    finally:
        logger.setLevel(level)  # the page changes it
    assert names["features"].shape == (4, names["encoder"].width)
    assert names["run"].workdir == pathlib.Path("runs/digits") and names["table"].features.shape[0] == 360
    assert (tmp_path / "runs" / "digits" / "report.html").is_file()
