"""Verification of checkpoints: every kind of damage, and arrays of another network."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
import pytest

from barlow_jax.checkpoints.restore import abstract_state, open_checkpoints
from barlow_jax.checkpoints.verify import Verdict, examine, reason
from barlow_jax.config.schema import Network as NetworkConfig
from barlow_jax.io import checksums
from barlow_jax.networks.network import Network
from barlow_jax.training.step import StepParts, init_state
from barlow_jax.types import Objective


def _init(width=2, projector=(4, 4)):
    network = Network(NetworkConfig(encoder="resnet8", width=width, stem="cifar", projector=projector))
    return jax.jit(
        partial(init_state, parts=StepParts(network, Objective(None), optax.trace(0.9), normalize=dict))
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    with open_checkpoints(workdir) as checkpoints:
        checkpoints.save(_init()(jax.random.key(1)))
    return workdir / "checkpoints" / "0"


@pytest.fixture(scope="module")
def abstract():
    return abstract_state(_init()).nonempty_fields()


def test_an_undamaged_checkpoint_is_intact_completely_and_in_part(saved, abstract):
    assert examine(saved, abstract) == Verdict((), verified=True)
    part = {name: {"encoder": abstract[name]["encoder"]} for name in ("params", "batch_stats")}
    assert examine(saved, part, part=True).problems == ()
    assert examine(saved, part).problems[0].endswith("is in the checkpoint, but not in this network")


def test_every_file_that_holds_arrays_has_a_checksum(saved):
    entries = (saved / checksums.FILE).read_text()
    uncovered = {
        path.name
        for path in saved.rglob("*")
        if path.is_file() and path.relative_to(saved).as_posix() not in entries
    }
    assert uncovered == {checksums.FILE, "_CHECKPOINT_METADATA", "commit_success.txt"}


@pytest.mark.parametrize(
    ("width", "projector", "words"),
    [
        (
            4,
            (4, 4),
            "encoder.conv.kernel is float32[3,3,3,2] in the checkpoint, float32[3,3,3,4] in this network",
        ),
        (
            2,
            (4, 4, 4),
            "params.projector.layers.2.kernel is missing in the checkpoint, float32[4,4] in this network",
        ),
        (2, (4,), "params.projector.layers.1.kernel is in the checkpoint, but not in this network"),
    ],
)
def test_arrays_of_another_network_are_named_with_both_shapes(saved, width, projector, words):
    problems = examine(saved, abstract_state(_init(width, projector)).nonempty_fields()).problems
    assert any(words in problem for problem in problems)


def test_another_dtype_is_named(saved, abstract):
    halved = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), abstract["params"])
    problems = examine(saved, abstract | {"params": halved}).problems
    assert (
        "params.encoder.conv.kernel is float32[3,3,3,2] in the checkpoint, bfloat16[3,3,3,2] in this network"
        in problems
    )


def test_three_problems_are_listed_and_the_others_counted():
    assert Verdict(tuple("abcde"), verified=True).summary == "a; b; c; and 2 more"
    assert Verdict((), verified=True).summary == "intact"
    assert "cannot be verified" in Verdict((), verified=False).summary


def test_an_empty_folder_is_damaged_and_raises_no_exception(tmp_path, abstract):
    verdict = examine(tmp_path, abstract)
    assert not verdict.verified and verdict.summary.startswith("cannot be read (")


@pytest.mark.parametrize(
    "message",
    [
        "OUT_OF_RANGE: Failed to write 5 bytes to file 4: File too large [os_error_code='27'] "
        "[source locations='a.cc:1']",
        'OUT_OF_RANGE: Error writing \'{"path": "d/1", "x": true}\' [os_error_code=\'27\']: '
        "Failed to write 5 bytes",
    ],
)
def test_an_operating_system_error_is_found_by_its_code_in_a_long_message(message):
    assert reason(ValueError(message)) == "File too large"
    assert reason(ValueError("one line\nmore")) == "ValueError: one line"
