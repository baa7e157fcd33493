"""Every config file: a lab note, and a config that can run."""

import pathlib
import re

import pytest

from barlow_jax.configdict import from_tree, load_config_file
from barlow_jax.validate import Facts, validate

CONFIGS = sorted((pathlib.Path(__file__).parents[1] / "configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_config_is_valid(path):
    config_dict, problems = load_config_file(str(path))
    assert not problems
    config, problems = from_tree(config_dict.to_dict())
    assert not problems
    assert not validate(config, Facts(num_devices=8))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_config_is_a_lab_note(path):
    note = re.match(r'"""(.*?)"""', path.read_text(), re.DOTALL).group(1)
    assert "Expected" in note and "Hardware:" in note
    assert f"python -m barlow_jax pretrain --config configs/{path.name} --workdir" in note


def test_imagenet_is_the_papers_recipe():
    """Numbers of the official code, section 2.2 and appendix A of the paper."""
    config, _ = from_tree(load_config_file(str(CONFIGS[0].with_name("imagenet.py")))[0].to_dict())
    assert (config.train.num_epochs, config.train.batch_size) == (1000, 2048)
    assert (config.optim.name, config.optim.learning_rate, config.optim.bias_learning_rate) == (
        "lars",
        0.2,
        0.0048,
    )
    assert (config.optim.momentum, config.optim.weight_decay, config.optim.trust_coefficient) == (
        0.9,
        1e-6,
        0.001,
    )
    assert (config.optim.warmup_epochs, config.optim.final_scale) == (10, 0.001)
    assert (config.objective.off_diagonal_weight, config.objective.scale) == (0.0051, 1)
    assert (config.network.encoder, config.network.width, config.network.stem) == ("resnet50", 64, "imagenet")
    assert config.network.projector == (8192, 8192, 8192) and config.network.projector_batch_norm
    assert (config.data.image_size, config.data.eval_resize) == (224, 256)
    a, b = config.recipe.views["a"], config.recipe.views["b"]
    assert (a.crop.min_area, a.crop.max_area, a.crop.method) == (0.08, 1.0, "bicubic")
    assert (a.flip.probability, a.grayscale.probability, a.rotate.probability) == (0.5, 0.2, 0)
    jitter = a.jitter
    assert (jitter.probability, jitter.brightness, jitter.contrast) == (0.8, 0.4, 0.4)
    assert (jitter.saturation, jitter.hue) == (0.2, 0.1)
    assert (a.blur.probability, b.blur.probability, a.blur.min_sigma, a.blur.max_sigma) == (
        1.0,
        0.1,
        0.1,
        2.0,
    )
    assert (a.solarize.probability, b.solarize.probability, b.solarize.threshold) == (0.0, 0.2, 128)
    probe = config.probe
    assert (probe.num_epochs, probe.batch_size, probe.learning_rate) == (100, 256, 0.3)
    assert (probe.momentum, probe.weight_decay, probe.augment, probe.standardize) == (0.9, 1e-6, True, False)
