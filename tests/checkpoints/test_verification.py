"""What is said of a checkpoint's folder: damage of every kind, and arrays of another network."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
import pytest

from barlow_jax.checkpoints.restoring import abstract_state, open_checkpoints
from barlow_jax.checkpoints.verification import Verdict, examine, reason
from barlow_jax.config.schema import Network as NetworkConfig
from barlow_jax.io import checksums
from barlow_jax.networks.network import Network
from barlow_jax.training.step import init_state
from barlow_jax.types import Objective


def _init(width=2, projector=(4, 4)):
    network = Network(NetworkConfig(encoder="resnet8", width=width, stem="cifar", projector=projector))
    return jax.jit(
        partial(init_state, network=network, objective=Objective(None), optimizer=optax.trace(0.9))
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    with open_checkpoints(workdir) as checkpoints:
        checkpoints.save(_init()(jax.random.key(1)))
    return workdir / "checkpoints" / "0"


@pytest.fixture(scope="module")
def abstract():
    return abstract_state(_init()).parts()


def test_what_was_saved_is_good_whole_and_in_part(saved, abstract):
    assert examine(saved, abstract) == Verdict((), verified=True)
    part = {name: {"encoder": abstract[name]["encoder"]} for name in ("params", "batch_stats")}
    assert examine(saved, part, part=True).problems == ()
    assert examine(saved, part).problems[0].endswith("is there, and not in this network")


def test_every_file_that_holds_some_of_the_state_is_covered(saved):
    noted = (saved / checksums.FILE).read_text()
    uncovered = {
        path.name
        for path in saved.rglob("*")
        if path.is_file() and path.relative_to(saved).as_posix() not in noted
    }
    assert uncovered == {checksums.FILE, "_CHECKPOINT_METADATA", "commit_success.txt"}


@pytest.mark.parametrize(
    ("width", "projector", "words"),
    [
        (4, (4, 4), "params.encoder.conv.kernel is float32[3,3,3,2] there, float32[3,3,3,4] in this network"),
        (2, (4, 4, 4), "params.projector.layers.2.kernel is missing there, float32[4,4] in this network"),
        (2, (4,), "params.projector.layers.1.kernel is there, and not in this network"),
    ],
)
def test_arrays_of_another_network_are_named_with_both_shapes(saved, width, projector, words):
    problems = examine(saved, abstract_state(_init(width, projector)).parts()).problems
    assert any(words in problem for problem in problems)


def test_another_dtype_is_named(saved, abstract):
    halved = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), abstract["params"])
    problems = examine(saved, abstract | {"params": halved}).problems
    assert (
        "params.encoder.conv.kernel is float32[3,3,3,2] there, bfloat16[3,3,3,2] in this network" in problems
    )


def test_a_few_problems_are_told_and_the_others_counted():
    assert Verdict(tuple("abcde"), verified=True).says == "a; b; c; and 2 more"
    assert Verdict((), verified=True).says == "good"
    assert "cannot be verified" in Verdict((), verified=False).says


def test_an_empty_folder_is_damaged_and_no_exception(tmp_path, abstract):
    verdict = examine(tmp_path, abstract)
    assert not verdict.verified and verdict.says.startswith("cannot be read (")


@pytest.mark.parametrize(
    "said",
    [
        "OUT_OF_RANGE: Failed to write 5 bytes to file 4: File too large [os_error_code='27'] [source locations='a.cc:1']",
        'OUT_OF_RANGE: Error writing \'{"path": "d/1", "x": true}\' [os_error_code=\'27\']: Failed to write 5 bytes',
    ],
)
def test_a_failure_is_told_by_the_systems_word_wherever_the_message_has_its_number(said):
    assert reason(ValueError(said)) == "File too large"
    assert reason(ValueError("one line\nmore")) == "ValueError: one line"
