"""timm loads the exports: same features, same preprocessing of image files, same k-NN accuracy."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from score_records import by_fraction
from sklearn.datasets import load_sample_image

from barlow_jax.config.overrides import from_tree
from barlow_jax.config.schema import Data
from barlow_jax.data import splits
from barlow_jax.data.host_views import evaluation_crop
from barlow_jax.data.sampler import ProcessShard
from barlow_jax.evals.knn import knn
from barlow_jax.interop import export_timm
from barlow_jax.types import FeatureTable
from barlow_jax.workdir.saved_run import saved_config

pytestmark = pytest.mark.interop
LOAD = """
import timm, torch
model = timm.create_model("local-dir:{out}", pretrained=True).eval()
config = timm.data.resolve_model_data_config(model)
"""
FORWARD = (
    LOAD
    + """
mean, std = (torch.tensor(config[key]).reshape(3, 1, 1) for key in ("mean", "std"))
images = torch.from_numpy(given[0]).permute(0, 3, 1, 2)
with torch.no_grad():
    give(torch.cat([model((part / 255 - mean) / std) for part in images.split(256)]).numpy())
"""
)
SMALL = Data(image_size=64, eval_resize=64)
EVERY_KIND = [
    (SMALL, {"encoder": "resnet18"}),
    (SMALL, {"encoder": "resnet50"}),
    (SMALL, {"encoder": "resnet10"}),
    (SMALL, {"encoder": "resnet50", "width": 32}),
    (Data(image_size=48, eval_resize=48), {"encoder": "vit_tiny", "patch": 8}),
    (Data(), {"encoder": "vit_small"}),
]


def _written(given, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    export_timm.write(given, out)
    return out


@pytest.mark.parametrize(
    ("data", "network"), EVERY_KIND, ids=lambda value: "" if isinstance(value, Data) else str(value)
)
def test_the_features_are_ours(trained, features, other_tool, images, relative, tmp_path, data, network):
    given = trained(data, **network)
    out, batch = _written(given, tmp_path), images(data.image_size)
    theirs = other_tool("timm", FORWARD.format(out=out), batch)
    ours = features(given, batch)
    assert ours.shape == (3, given.num_features) and np.ptp(ours) > 0.1
    assert relative(theirs, ours) < 1e-4


@pytest.mark.parametrize("network", [{"encoder": "resnet10"}, {"encoder": "resnet50", "width": 16}], ids=str)
def test_what_the_config_says_is_what_timm_makes_of_it(trained, other_tool, tmp_path, network):
    """The feature map's size, the width, a new classifier for fine-tuning, and every key taken."""
    given = trained(Data(image_size=97, eval_resize=110), **network)
    code = (
        LOAD
        + """
grid = model.forward_features(torch.zeros(1, *config["input_size"])).shape[-2:]
tuned = timm.create_model("local-dir:{out}", pretrained=True, num_classes=7).eval()
said = model.pretrained_cfg
assert tuned(torch.zeros(1, 3, 97, 97)).shape == (1, 7)
assert dict(tuned.named_modules())[said["classifier"]].weight.shape[0] == 7
assert isinstance(dict(model.named_modules())[said["first_conv"]], torch.nn.Conv2d)
give(np.array([model.num_features, model.num_classes, *grid, *said["pool_size"]]))
"""
    ).format(out=_written(given, tmp_path))
    np.testing.assert_array_equal(other_tool("timm", code), [given.num_features, 0, 4, 4, 4, 4])


@pytest.mark.parametrize(("size", "resize"), [(224, 256), (32, 36), (97, 97), (60, 91)])
@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_preprocessing_equals_the_evaluations(trained, other_tool, tmp_path, size, resize, name):
    """Compare timm's transform with the evaluation crop and normalization of this package."""
    given = trained(Data(image_size=size, eval_resize=resize), encoder="resnet10")
    picture = load_sample_image(name)[: 427 - size % 7, : 640 - size % 5]
    code = (
        LOAD
        + """
from PIL import Image
give(timm.data.create_transform(**config)(Image.fromarray(given[0])).numpy())
"""
    ).format(out=_written(given, tmp_path))
    theirs = other_tool("timm", code, picture)
    cropped = np.asarray(evaluation_crop(picture, resize_to=resize, size=size))
    scaled = theirs.transpose(1, 2, 0) * given.normalize.std + given.normalize.mean
    # Pillow rounds its weights to 8 bits, so values differ by at most 1, as in the test of the crop itself.
    difference = np.abs(255 * scaled - cropped)
    assert difference.max() < 1.01 and np.mean(difference > 0.01) < 0.01


def _run(*argv):
    """Run a command in a process of its own, with XLA's optimizations; return its results."""
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-m", "barlow_jax", *map(str, argv)]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_knn_accuracy_through_timm_is_ours(config_file, other_tool, tmp_path):
    """A run on the digits at 32 pixels, through the commands' entry points."""
    other_tool("timm", "give(np.zeros(1))")  # before the minute of training
    run, out = tmp_path / "run", tmp_path / "out"
    # Trained long enough for cosines to spread. After a few steps they are all near 1, and the seventh digit
    # of a feature, which is all that differs, decides which of two tied images is the twentieth neighbor.
    flags = [
        f"--config.{key}"
        for key in (
            "data.image_size=32",
            "data.eval_resize=32",
            "network.encoder=resnet10",
            "network.stem=imagenet",
            "network.width=64",
            "network.projector=128,128",
            "monitor.every_epochs=0",
            "train.batch_size=64",
            "train.num_epochs=3",
            "checkpoint.every_epochs=3",
            "optim.name=adamw",
            "optim.learning_rate=2e-3",
            "optim.bias_learning_rate=none",
            "recipe.views.a.flip.probability=0",
            "recipe.views.b.flip.probability=0",
            "recipe.views.a.crop.min_area=0.4",
            "recipe.views.b.crop.min_area=0.4",
        )
    ]
    _run("pretrain", "--config", config_file, "--workdir", run, *flags)
    ours = _run("knn", "--workdir", run)
    _run("export", "--workdir", run, "--format", "timm", "--out", out)
    config, problems = from_tree(saved_config(run))
    assert not problems
    tables = []
    for split in (config.data.train_split, config.data.eval_split):
        source = splits.open_split(config.data, split)
        batches = source.eval_batches(config.data, batch_size=config.eval_batch_size, shard=ProcessShard())
        batch = jax.tree.map(lambda *parts: np.concatenate(parts), *batches)
        real = batch.index >= 0
        theirs = other_tool("timm", FORWARD.format(out=out), batch.views["eval"][real])
        tables.append(FeatureTable(theirs, batch.labels[real], batch.index[real]))
    measured = knn(config, *tables)
    assert ours["step"] == 66 and by_fraction(ours, k=20)[1.0] > 30  # chance is 10
    assert [score.to_json() for score in measured] == ours["scores"]
