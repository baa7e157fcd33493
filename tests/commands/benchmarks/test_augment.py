import pytest

from barlow_jax.commands.benchmarks import augment

TINY = (
    "--config.data.canvas=24",
    "--config.data.image_size=8",
    "--config.data.eval_resize=8",
    "--config.network.encoder=resnet8",
    "--config.network.stem=cifar",
    "--config.network.projector=16",
)
OPS = ["crop", "flip", "jitter", "grayscale", "blur", "solarize"]


@pytest.mark.slow
def test_each_op_is_timed_with_those_before_it(run_command):
    result, said = run_command("bench", "augment", *TINY, "--config.train.batch_size=16")
    assert [row["operation"] for row in result["rows"]] == OPS, "nothing is ever rotated"
    assert all(row["seconds"] > 0 for row in result["rows"]) and result["images_per_device"] == 2
    assert "augmentation of 2 images per device on 8 x cpu" in said and "images per second" in said


@pytest.mark.slow  # two compilations for a TPU
def test_for_a_topology_it_is_a_share_of_the_train_step(run_command):
    off = [
        f"--config.recipe.views.{view}.{op}.probability=0"
        for view in "ab"
        for op in ("jitter", "solarize", "flip")
    ]
    argv = ("bench", "augment", *TINY, *off, "--config.train.batch_size=16", "--topology", "v5e:2x2")
    result, _ = run_command(*argv)
    crop, _, blur, within = result["rows"]
    assert 0 < crop["cycles"] < blur["cycles"] and within["operation"] == "all, in the step"
    ratio = blur["cycles"] / blur["fraction_of_step"]
    assert within["cycles"] > 0 and abs(within["cycles"] / within["fraction_of_step"] / ratio - 1) < 1e-9
    assert all(row["fraction_of_step"] > 0 for row in result["rows"])


def test_views_up_to_an_op_have_it_and_those_before_it(small_config, typed):
    for view in small_config.recipe.views.values():
        view.jitter.probability = 0.8
    stages = dict(augment._stages(typed(small_config)))
    assert list(stages) == ["crop", "flip", "jitter", "grayscale", "solarize"]
    assert stages["jitter"]["a"].jitter.probability == 0.8 and stages["jitter"]["a"].flip.probability == 0.5
    assert stages["jitter"]["a"].grayscale.probability == 0.0


def test_a_batch_that_does_not_divide_is_named(run_command):
    _, said = run_command("bench", "augment", *TINY, "--config.train.batch_size=12", code=2)
    assert "config.train.batch_size" in said and "12" in said
