"""Every reader of a run's checkpoint, for encoders and projectors with and without BatchNorm."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.checkpoints.restore import abstract_state, open_checkpoints
from barlow_jax.config import overrides
from barlow_jax.config.architectures import VITS
from barlow_jax.data import splits
from barlow_jax.experiment import finetuning
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.experiment.pretrained import load
from barlow_jax.interop.formats import FORMATS
from barlow_jax.io import files
from barlow_jax.types import TrainState

STEP = 3
# Encoder, and whether the projector has BatchNorm.
NETWORKS = [("vit_tiny", True), ("vit_tiny", False), ("resnet8", True), ("resnet8", False)]
# Options of the commands that read a checkpoint.
FAST = {
    "knn": ("--config.knn.label_fractions=1",),
    "probe": ("--config.probe.label_fractions=1", "--config.probe.num_epochs=1"),
    "finetune": (
        "--config.finetune.label_fractions=0.1",
        "--config.finetune.num_epochs=1",
        "--config.finetune.subset_repeats=1",
    ),
    "embed": (),
    "verify": (),
    "report": (),
}
FAST["evaluate"] = (*FAST["knn"], *FAST["probe"], *FAST["finetune"])


@pytest.fixture(scope="module", autouse=True)
def _one_block():
    """Make `vit_tiny` a transformer of one block and 24 features."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VITS, "vit_tiny", VITS["vit_tiny"]._replace(width=24, blocks=1, heads=3))
        yield


@pytest.fixture(scope="module")
def make_run(tmp_path_factory, config_file):
    """Return a function that saves a state of noise like a run and returns workdir, state and experiment."""
    runs = {}

    def make(encoder, batch_norm):
        if (encoder, batch_norm) not in runs:
            tree = overrides.load_config_file(config_file)[0].to_dict()
            tree["network"] |= {"encoder": encoder, "patch": 4, "projector_batch_norm": batch_norm}
            config, problems = overrides.from_tree(tree)
            assert not problems
            experiment = Experiment.from_config(config, jax.devices()[:1])
            rng, abstract = (
                np.random.default_rng(0),
                abstract_state(experiment.init(experiment.sampler(1437))),
            )
            state = jax.tree.map(lambda x: rng.uniform(0, 0.1, x.shape).astype(x.dtype), abstract)
            workdir = tmp_path_factory.mktemp(encoder)
            with open_checkpoints(workdir) as checkpoints:
                checkpoints.save(state._replace(step=np.int32(STEP)))
            files.write_json(workdir / "config.json", tree)
            runs[encoder, batch_norm] = workdir, state, experiment
        return runs[encoder, batch_norm]

    return make


@pytest.mark.parametrize("network", NETWORKS)
def test_the_encoder_is_restored(make_run, network):
    workdir, state, _ = make_run(*network)
    encoder = load(workdir, devices=jax.devices()[:1])
    assert encoder.step == STEP and bool(encoder.batch_stats) == (network[0] == "resnet8")
    restored = {"encoder": encoder.params}, {"encoder": encoder.batch_stats} if encoder.batch_stats else {}
    jax.tree.map(np.testing.assert_array_equal, *jax.device_get((restored, state.encoder())))


def test_a_fine_tuned_encoder_is_tested(make_run):
    _, _, experiment = make_run("vit_tiny", True)
    test = splits.open_split(experiment.config.data, "test")
    head = {"kernel": np.eye(24, 10, dtype=np.float32), "bias": np.zeros(10, np.float32)}
    state = TrainState(
        jnp.int32(1), {"encoder": jnp.ones(24), "classifier": {"layer": head}}, {"projector": 0}, {}
    )

    def encode(params, stats, images):
        assert stats == {}
        return jnp.ones((len(images), 1)) * params["encoder"][None]

    accuracies, number = finetuning._test(
        experiment, functools.partial(encode, *state.encoder()), state, test
    )
    # Every logit is equal, so class 0 is predicted: 36 of the 360 test images.
    assert number == 360 and accuracies["top1"] == pytest.approx(36 / 360, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("command", FAST)
def test_each_command_reads_the_run(make_run, network, command, run_command, tmp_path):
    out = ("--out", tmp_path / "table.npz") if command == "embed" else ()
    results, _ = run_command(command, "--workdir", make_run(*network)[0], *FAST[command], *out)
    if command == "verify":
        assert results["intact"]
    elif command == "report":
        assert results["snapshots"] == [0, STEP]


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_written(make_run, network, name, run_command, tmp_path):
    applies = name != {"resnet8": "timm", "vit_tiny": "torchvision"}[network[0]]
    argv = ("--workdir", make_run(*network)[0], "--format", name, "--out", tmp_path / "out")
    run_command("export", *argv, code=0 if applies else 2)
    assert (tmp_path / "out").exists() == applies


@pytest.mark.slow
def test_a_run_is_trained_watched_and_resumed(tmp_path, config_file, run_command):
    network = ("--config.network.encoder=vit_tiny", "--config.network.patch=4")
    argv = ("pretrain", "--config", config_file, "--workdir", tmp_path, *network)
    run_command(*argv, "--config.train.max_steps=11")
    results, _ = run_command(*argv)
    assert (results["first_step"], results["step"]) == (11, 22) and results["knn_top1"] > 0.1
    run_command("knn", "--workdir", tmp_path, *FAST["knn"])
