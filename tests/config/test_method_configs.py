"""Configs of the methods other than Barlow Twins: lab notes, validity, and the constants of their papers."""

import pathlib
import re
import string

import jax
import jax.numpy as jnp
import pytest

from barlow_jax.config.method_facts import METHODS
from barlow_jax.config.overrides import from_tree, load_config_file
from barlow_jax.config.records import flatten
from barlow_jax.config.validation import Facts, validate
from barlow_jax.data.sampler import EpochSampler
from barlow_jax.experiment import lowering
from barlow_jax.experiment.experiment import Experiment, run_info
from barlow_jax.objectives.registry import make_objective

FOLDER = pathlib.Path(__file__).parents[2] / "configs"
OTHERS = sorted(METHODS.keys() - {"barlow_twins"})  # Barlow Twins is the base
DATA = ("imagenet", "cifar10", "cifar10_cpu", "digits")


def load(name):
    """Return the flat config of `configs/<name>.py`, or of `<name>:<data>`."""
    stem, colon, data = name.partition(":")
    config_dict, problems = load_config_file(f"{FOLDER / stem}.py{colon}{data}")
    assert not problems
    return flatten(config_dict.to_dict())


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize("data", DATA)
def test_a_method_has_a_valid_config_for_each_data_set(method, data):
    config_dict, problems = load_config_file(f"{FOLDER / method}.py:{data}")
    assert not problems
    config, problems = from_tree(config_dict.to_dict())
    assert not problems
    assert not validate(config, Facts(num_devices=8))
    make_objective(config.objective, run_info(config))  # raises for queues and sub-batches that do not fit
    assert config.objective.name == method and config.objective.scale == 1
    assert config.data.name == load(data)["data.name"]


@pytest.mark.parametrize("method", OTHERS)
def test_a_methods_lab_note_has_a_command_for_each_data_set(method):
    note = re.match(r'r?"""(.*?)"""', (FOLDER / f"{method}.py").read_text(), re.DOTALL).group(1)
    for config in (method, f"{method}:cifar10", f"{method}:digits"):
        assert f"python -m barlow_jax pretrain --config {config} --workdir runs/" in note
    assert "Measured: digits" in note


@pytest.mark.parametrize("method", OTHERS)
def test_the_step_of_a_method_is_built_from_its_config(method):
    config, _ = from_tree(load_config_file(f"{FOLDER / method}.py:digits")[0].to_dict())
    lowered, state = lowering.lower(
        Experiment.from_config(config), EpochSampler(0, 1437, config.train.batch_size), "step"
    )
    assert lowered.out_info[1]["loss"].shape == ()
    for rows in jax.tree.leaves(state.memory):
        if rows.ndim == 2 and rows.dtype == jnp.float32:
            assert rows.shape[1] == config.network.projector[-1], "queues and banks are of embeddings"


def test_an_unsupported_data_set_is_an_error_that_lists_the_supported_ones():
    _, problems = load_config_file(f"{FOLDER / 'vicreg'}.py:mnist")
    (problem,) = problems
    assert (
        "ValueError: vicreg.py does not support 'mnist'. Use vicreg.py:imagenet, vicreg.py:cifar10" in problem
    )


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize("data", ["digits", "cifar10_cpu"])
def test_methods_are_compared_on_equal_terms(method, data):
    """Only heads, settings and learning rate differ from the base: data, views, encoder, epochs are equal."""
    base, config = load(data), load(f"{method}:{data}")
    own = (
        "objective.",
        "network.projector",
        "network.predictor",
        "network.prototypes",
        "network.num_classes",
        "network.joint_head",
        "optim.learning_rate",
    )
    own += ("recipe.views.b.",) * (METHODS[method].views == ("a",))
    own += ("recipe.views.a.crop.size", "recipe.views.b.crop.size") * bool(METHODS[method].joint_views)
    differ = {key for key in base | config if base.get(key) != config.get(key)}
    assert not {key for key in differ if not key.startswith(own)}


# Settings of each method's paper and official code, or of solo-learn, by `<method>[:<data>]`.
IMAGENET_RUN = {
    "network.encoder": "resnet50",
    "network.stem": "imagenet",
    "data.image_size": 224,
    "optim.bias_learning_rate": None,
    "optim.grad_scale": 1,
    "optim.momentum": 0.9,
}
LARS = {
    "optim.name": "lars",
    "optim.trust_coefficient": 0.001,
    "optim.trust_clip": False,
    "optim.warmup_epochs": 10,
}
SGD = {"optim.name": "sgd", "optim.warmup_epochs": 0, "optim.final_scale": 0}
CIFAR = {
    "network.encoder": "resnet18",
    "network.stem": "cifar",
    "data.image_size": 32,
    "optim.bias_learning_rate": None,
    "optim.grad_scale": 1,
}
# solo-learn: LARS with a clipped ratio.
SOLO = CIFAR | {
    "optim.final_scale": 0,
    "train.num_epochs": 1000,
    "train.batch_size": 256,
    "optim.warmup_epochs": 10,
}
SOLO_LARS = SOLO | {"optim.name": "lars", "optim.trust_coefficient": 0.02, "optim.trust_clip": True}


def views(names, **ops):
    return {
        f"recipe.views.{name}.{op.replace('__', '.')}": value for name in names for op, value in ops.items()
    }


def jitter(brightness, contrast, saturation, hue):
    parts = ("brightness", "contrast", "saturation", "hue")
    strengths = (brightness, contrast, saturation, hue)
    return {"jitter__probability": 0.8} | {f"jitter__{p}": s for p, s in zip(parts, strengths, strict=True)}


BARLOW_TWINS_OPS = jitter(0.4, 0.4, 0.2, 0.1) | {
    "crop__min_area": 0.08,
    "crop__max_area": 1,
    "crop__method": "bicubic",
    "flip__probability": 0.5,
    "grayscale__probability": 0.2,
    "blur__min_sigma": 0.1,
    "blur__max_sigma": 2.0,
    "solarize__threshold": 128,
}
SIMCLR_COLOR = jitter(0.8, 0.8, 0.8, 0.2) | {
    "grayscale__probability": 0.2,
    "blur__probability": 0.5,
    "solarize__probability": 0,
}
MOCO_COLOR = SIMCLR_COLOR | jitter(0.4, 0.4, 0.4, 0.1)
COLOR_FIRST = ("jitter", "grayscale", "crop", "rotate", "flip", "blur", "solarize", "normalize")
METHOD_SETTINGS = {
    "vicreg": IMAGENET_RUN
    | LARS
    | {
        "optim.learning_rate": 0.2,
        "optim.weight_decay": 1e-6,
        "optim.final_scale": 0.001,
        "train.num_epochs": 1000,
        "train.batch_size": 2048,
        "network.projector": (8192, 8192, 8192),
        "network.projector_biases": "hidden",
        "network.projector_batch_norm": True,
        "network.projector_output_norm": False,
        "objective.vicreg.invariance_weight": 25,
        "objective.vicreg.variance_weight": 25,
        "objective.vicreg.covariance_weight": 1,
        "objective.vicreg.variance_factor": "code",
        "objective.vicreg.epsilon": 1e-4,
        "objective.vicreg.target_std": 1,
        **views("ab", **BARLOW_TWINS_OPS),
        **views("a", blur__probability=1.0, solarize__probability=0.0),
        **views("b", blur__probability=0.1, solarize__probability=0.2),
        "probe.learning_rate": 0.02,
        "probe.weight_decay": 1e-6,
        "probe.num_epochs": 100,
        "finetune.encoder_learning_rate": 0.01,
        "finetune.head_learning_rate": 0.1,
    },
    "vicreg:cifar10": SOLO_LARS
    | {
        "optim.learning_rate": 0.3,
        "optim.weight_decay": 1e-4,
        "network.projector": (2048, 2048, 2048),
        "network.projector_biases": "all",
        **views(
            "ab",
            crop__min_area=0.2,
            blur__probability=0,
            solarize__probability=0.1,
            grayscale__probability=0.2,
            **jitter(0.4, 0.4, 0.2, 0.1),
        ),
    },
    "simclr": IMAGENET_RUN
    | LARS
    | {
        "optim.learning_rate": 0.3,
        "optim.weight_decay": 1e-6,
        "optim.final_scale": 0,
        "train.num_epochs": 1000,
        "train.batch_size": 4096,
        "objective.simclr.temperature": 0.1,
        "network.projector": (2048, 128),
        "network.projector_biases": "none",
        "network.projector_batch_norm": True,
        "network.projector_output_norm": True,
        **views("ab", crop__min_area=0.08, crop__method="bicubic", flip__probability=0.5, **SIMCLR_COLOR),
        "probe.learning_rate": 0.1,
        "probe.scale_learning_rate": True,
        "probe.batch_size": 4096,
        "probe.num_epochs": 90,
        "probe.nesterov": True,
        "probe.weight_decay": 0,
    },
    "simclr:cifar10": SOLO_LARS
    | {
        "optim.learning_rate": 0.4,
        "optim.weight_decay": 1e-4,
        "objective.simclr.temperature": 0.2,
        "network.projector": (2048, 256),
        "network.projector_batch_norm": False,
        "network.projector_biases": "all",
        **views("ab", crop__min_area=0.08, **SIMCLR_COLOR),
    },
    "byol": IMAGENET_RUN
    | LARS
    | {
        "optim.learning_rate": 0.2,
        "optim.weight_decay": 1.5e-6,
        "optim.final_scale": 0,
        "train.num_epochs": 1000,
        "train.batch_size": 4096,
        "objective.byol.target_momentum": 0.996,
        "objective.byol.variance_weight": 0,
        "objective.byol.covariance_weight": 0,
        "network.projector": (4096, 256),
        "network.predictor": (4096, 256),
        "network.projector_biases": "hidden",
        **views("ab", **BARLOW_TWINS_OPS),
        **views("a", blur__probability=1.0, solarize__probability=0.0),
        **views("b", blur__probability=0.1, solarize__probability=0.2),
    },
    "byol:cifar10": SOLO_LARS
    | {
        "optim.learning_rate": 1.0,
        "optim.weight_decay": 1e-5,
        "objective.byol.target_momentum": 0.99,
        "network.projector": (4096, 256),
        "network.predictor": (4096, 256),
        "network.projector_biases": "all",
        **views("ab", crop__min_area=0.08, blur__probability=0, **jitter(0.4, 0.4, 0.2, 0.1)),
        **views("a", solarize__probability=0),
        **views("b", solarize__probability=0.2),
    },
    "simsiam": IMAGENET_RUN
    | SGD
    | {
        "optim.learning_rate": 0.05,
        "optim.weight_decay": 1e-4,
        "train.num_epochs": 800,
        "train.batch_size": 512,
        "network.projector": (2048, 2048, 2048),
        "network.predictor": (512, 2048),
        "network.projector_biases": "none",
        "network.projector_output_norm": True,
        "objective.simsiam.variance_weight": 0,
        "objective.simsiam.covariance_weight": 0,
        **views("ab", crop__min_area=0.2, crop__method="bilinear", **MOCO_COLOR),
    },
    "simsiam:cifar10": CIFAR
    | SGD
    | {
        "optim.learning_rate": 0.03,
        "optim.weight_decay": 5e-4,
        "train.num_epochs": 800,
        "train.batch_size": 512,
        "network.projector": (2048, 2048),
        "network.predictor": (512, 2048),
        "network.projector_output_norm": True,
        **views("ab", **MOCO_COLOR | {"blur__probability": 0}),
    },
    "moco": IMAGENET_RUN
    | SGD
    | {
        "optim.learning_rate": 0.03,
        "optim.weight_decay": 1e-4,
        "train.num_epochs": 800,
        "train.batch_size": 256,
        "network.projector": (2048, 128),
        "network.projector_batch_norm": False,
        "network.projector_biases": "all",
        "objective.moco.temperature": 0.2,
        "objective.moco.target_momentum": 0.999,
        "objective.moco.queue_size": 65536,
        **views("ab", crop__min_area=0.2, crop__method="bilinear", **MOCO_COLOR),
        "probe.learning_rate": 30,
        "probe.schedule": "steps",
        "probe.milestones": (0.6, 0.8),
        "probe.decay": 0.1,
        "probe.weight_decay": 0,
        "probe.num_epochs": 100,
        "probe.batch_size": 256,
    },
    "moco:v1_imagenet": IMAGENET_RUN
    | SGD
    | {
        "optim.learning_rate": 0.03,
        "optim.weight_decay": 1e-4,
        "train.num_epochs": 200,
        "train.batch_size": 256,
        "network.projector": (128,),
        "objective.moco.temperature": 0.07,
        "objective.moco.target_momentum": 0.999,
        "objective.moco.queue_size": 65536,
        **views("ab", crop__min_area=0.2, grayscale__probability=0.2, **jitter(0.4, 0.4, 0.4, 0.4)),
        **views("ab", blur__probability=0, solarize__probability=0, jitter__probability=1),
        "probe.learning_rate": 30,
    },
    "moco:cifar10": SOLO
    | {
        "optim.name": "sgd",
        "optim.learning_rate": 0.3,
        "optim.weight_decay": 1e-4,
        "network.projector": (2048, 256),
        "network.projector_batch_norm": False,
        "network.projector_biases": "all",
        "objective.moco.temperature": 0.2,
        "objective.moco.target_momentum": 0.99,
        "objective.moco.queue_size": 32768,
        **views("ab", crop__min_area=0.08, **MOCO_COLOR),
    },
    "swav": IMAGENET_RUN
    | LARS
    | {
        "optim.learning_rate": 4.8 / 16,
        "optim.weight_decay": 1e-6,
        "optim.final_scale": 0.0048 / 4.8,
        "train.num_epochs": 800,
        "train.batch_size": 4096,
        "network.projector": (2048, 128),
        "network.projector_biases": "all",
        "network.prototypes": 3000,
        "objective.swav.temperature": 0.1,
        "objective.swav.epsilon": 0.05,
        "objective.swav.sinkhorn_iterations": 3,
        "objective.swav.queue_size": 0,
        "objective.swav.freeze_prototypes_epochs": 1,
        **views("ab", crop__min_area=0.14, crop__max_area=1, crop__size=None),
        **views("cdefgh", crop__min_area=0.05, crop__max_area=0.14, crop__size=96),
        **views("abcdefgh", crop__method="bilinear", flip__probability=0.5, **SIMCLR_COLOR),
    },
    "swav:cifar10": SOLO_LARS
    | {
        "optim.learning_rate": 0.6,
        "optim.weight_decay": 1e-6,
        "network.projector": (2048, 128),
        "network.projector_biases": "all",
        "network.prototypes": 3000,
        "objective.swav.queue_size": 3840,
        "objective.swav.queue_from_epoch": 50,
        "objective.swav.freeze_prototypes_epochs": 2,
        "objective.swav.temperature": 0.1,
        **views("ab", crop__min_area=0.08, **SIMCLR_COLOR),
    },
    "w_mse": IMAGENET_RUN
    | {
        "optim.name": "adamw",
        "optim.learning_rate": 2e-3,
        "optim.weight_decay": 1e-6,
        "optim.final_scale": 0.04,
        "optim.warmup_epochs": pytest.approx(500 / 5004, rel=1e-3),
        "train.num_epochs": 400,
        "train.batch_size": 256,
        "network.projector": (1024, 128),
        "network.projector_biases": "all",
        "objective.w_mse.sub_batch": 256,
        "objective.w_mse.iterations": 1,
        "objective.w_mse.shrinkage": 0,
        "data.augment_on": "host",
        **views(
            "abcd",
            order=COLOR_FIRST,
            crop__min_area=0.08,
            grayscale__probability=0.2,
            blur__probability=0,
            solarize__probability=0,
            **jitter(0.8, 0.8, 0.8, 0.2),
        ),
    },
    "w_mse:cifar10": CIFAR
    | {
        "optim.name": "adamw",
        "optim.learning_rate": 3e-3,
        "optim.weight_decay": 1e-6,
        "optim.final_scale": 0.04,
        "optim.warmup_epochs": pytest.approx(500 / 195, rel=1e-3),
        "train.num_epochs": 1000,
        "train.batch_size": 256,
        "network.projector": (1024, 64),
        "network.projector_biases": "all",
        "objective.w_mse.sub_batch": 128,
        "objective.w_mse.iterations": 1,
        "objective.w_mse.shrinkage": 0,
        "data.augment_on": "host",
        "data.cache": "none",
        **views(
            "abcd",
            order=COLOR_FIRST,
            crop__min_area=0.2,
            crop__method="bicubic",
            flip__probability=0.5,
            grayscale__probability=0.1,
            blur__probability=0,
            solarize__probability=0,
            **jitter(0.4, 0.4, 0.4, 0.1),
        ),
    },
    "sigreg": IMAGENET_RUN
    | {
        "optim.name": "adamw",
        "optim.learning_rate": 5e-4,
        "optim.weight_decay": 5e-4,
        "optim.final_scale": 1e-3,
        "optim.warmup_epochs": 1,
        "train.batch_size": 256,
        "network.projector": (2048, 2048, 128),
        "objective.sigreg.weight": 0.05,
        "objective.sigreg.projections": 1024,
        **views("ab", crop__min_area=0.3, crop__max_area=1, crop__size=None),
        **views("cdefgh", crop__min_area=0.05, crop__max_area=0.3, crop__size=98),
        **views("abcdefgh", flip__probability=0.5, grayscale__probability=0.2),
        **views("abcdefgh", blur__probability=0.5, solarize__probability=0.2, **jitter(0.4, 0.4, 0.2, 0.1)),
    },
    "intl": IMAGENET_RUN
    | {
        "optim.name": "sgd",
        "optim.learning_rate": 0.3,
        "optim.weight_decay": 1e-5,
        "optim.final_scale": 1e-3,
        "optim.warmup_epochs": 2,
        "train.num_epochs": 800,
        "train.batch_size": 256,
        "network.projector": (8192, 8192, 8192),
        "objective.intl.iterations": 4,
        "objective.intl.trace_weight": None,
        **views("ab", crop__min_area=0.08, **jitter(0.4, 0.4, 0.2, 0.1)),
        **views("a", blur__probability=1.0, solarize__probability=0.0),
        **views("b", blur__probability=0.1, solarize__probability=0.2),
    },
    "intl:cifar10": CIFAR
    | {
        "optim.name": "sgd",
        "optim.learning_rate": 0.3,
        "optim.weight_decay": 1e-4,
        "optim.final_scale": 1e-3,
        "optim.warmup_epochs": 2,
        "train.num_epochs": 1000,
        "train.batch_size": 256,
        "network.projector": (2048, 2048, 2048),
        **views("ab", crop__min_area=0.08, blur__probability=0, **jitter(0.4, 0.4, 0.2, 0.1)),
        **views("a", solarize__probability=0.0),
        **views("b", solarize__probability=0.2),
    },
    "npid": IMAGENET_RUN
    | SGD
    | {
        "optim.learning_rate": 0.03,
        "optim.weight_decay": 1e-4,
        "train.num_epochs": 200,
        "train.batch_size": 256,
        "network.projector": (128,),
        "objective.npid.temperature": 0.07,
        "objective.npid.momentum": 0.5,
        "objective.npid.negatives": 0,
        **views("a", crop__min_area=0.2, grayscale__probability=0.2, **jitter(0.4, 0.4, 0.4, 0.4)),
        **views("a", blur__probability=0, solarize__probability=0, jitter__probability=1),
    },
    "npid:cifar10": CIFAR
    | SGD
    | {
        "optim.learning_rate": 0.03,
        "optim.weight_decay": 5e-4,
        "train.num_epochs": 200,
        "train.batch_size": 128,
        "objective.npid.temperature": 0.1,
        **views("a", flip__probability=0, crop__min_area=0.2),
    },
    "deepcluster": IMAGENET_RUN
    | LARS
    | {
        "optim.learning_rate": 0.3,
        "optim.weight_decay": 1e-6,
        "train.num_epochs": 800,
        "train.batch_size": 4096,
        "network.projector": (2048, 128),
        "network.prototypes": 0,
        "objective.deepcluster.clusters": 3000,
        "objective.deepcluster.heads": 3,
        "objective.deepcluster.iterations": 10,
        "objective.deepcluster.temperature": 0.1,
        **views("ab", crop__min_area=0.14, crop__max_area=1, crop__size=None),
        **views("cdefgh", crop__min_area=0.05, crop__max_area=0.14, crop__size=96),
    },
    "pcl": IMAGENET_RUN
    | SGD
    | {
        "optim.learning_rate": 0.03,
        "optim.weight_decay": 1e-4,
        "train.num_epochs": 200,
        "train.batch_size": 256,
        "network.projector": (2048, 128),
        "network.projector_batch_norm": False,
        "network.projector_biases": "all",
        "objective.pcl.clusters": (25000, 50000, 100000),
        "objective.pcl.iterations": 20,
        "objective.pcl.negatives": 16384,
        "objective.pcl.temperature": 0.2,
        "objective.pcl.warmup_epochs": 20,
        "objective.pcl.target_momentum": 0.999,
        "objective.pcl.queue_size": 16384,
        **views("ab", crop__min_area=0.2, crop__method="bilinear", **MOCO_COLOR),
    },
    "pcl:cifar10": {"objective.pcl.clusters": (250, 500, 1000), "network.projector": (2048, 256)},
    "emp_ssl:cifar10": CIFAR
    | {
        "optim.name": "lars",
        "optim.learning_rate": pytest.approx(0.3 * 256 / 104),
        "optim.trust_coefficient": 0.005,
        "optim.trust_clip": True,
        "optim.weight_decay": 1e-4,
        "optim.final_scale": 0,
        "optim.warmup_epochs": 0,
        "train.num_epochs": 30,
        "train.batch_size": 104,
        "network.projector": (4096, 4096, 1024),
        "objective.emp_ssl.similarity_weight": 200,
        "objective.emp_ssl.distortion": 0.2,
        **views(
            "abcdefghijklmnopqrst",
            crop__min_area=0.25,
            crop__max_area=0.25,
            crop__max_aspect=1,
            flip__probability=0.5,
            grayscale__probability=0.2,
            blur__probability=0.1,
            solarize__probability=0.1,
            normalize__mean=(0.5, 0.5, 0.5),
            **jitter(0.4, 0.4, 0.4, 0.2),
        ),
    },
    "mixed_barlow_twins": LARS
    | {
        "optim.learning_rate": 0.2,
        "optim.bias_learning_rate": 0.0048,
        "optim.weight_decay": 1e-6,
        "train.num_epochs": 300,
        "train.batch_size": 1024,
        "network.projector": (8192, 8192, 8192),
        "objective.mixed_barlow_twins.off_diagonal_weight": 0.0051,
        "objective.mixed_barlow_twins.mixing_weight": 0.5,
        **views("ab", **BARLOW_TWINS_OPS),
    },
    "mixed_barlow_twins:cifar10": CIFAR
    | {
        "optim.name": "adamw",
        "optim.learning_rate": 0.01,
        "optim.final_scale": 0.001,
        "optim.warmup_epochs": 10,
        "train.num_epochs": 2000,
        "train.batch_size": 256,
        "network.projector": (512, 1024),
        "objective.mixed_barlow_twins.off_diagonal_weight": 0.0078125,
        "objective.mixed_barlow_twins.mixing_weight": 4,
        **views("ab", blur__probability=0, solarize__probability=0, **jitter(0.4, 0.4, 0.4, 0.1)),
    },
    "mixed_barlow_twins:tiny_imagenet": {
        "objective.mixed_barlow_twins.off_diagonal_weight": pytest.approx(0.0009765, rel=1e-3),
        "objective.mixed_barlow_twins.mixing_weight": 4,
    },
    "mixed_barlow_twins:stl10": {"objective.mixed_barlow_twins.mixing_weight": 2},
    "pirl": IMAGENET_RUN
    | SGD
    | {
        "optim.learning_rate": 0.03,
        "optim.final_scale": 1e-3,
        "optim.weight_decay": 1e-4,
        "train.num_epochs": 800,
        "train.batch_size": 1024,
        "network.projector": (2048, 128),
        "network.joint_head": (2048, 128, 128),
        "network.projector_batch_norm": False,
        "objective.pirl.temperature": 0.1,
        "objective.pirl.momentum": 0.5,
        "objective.pirl.negatives": 32000,
        "objective.pirl.patch_weight": 0.5,
        "objective.pirl.loss": "softmax",
        **views("ab", blur__probability=0.5, grayscale__probability=0.2, **jitter(0.8, 0.8, 0.8, 0.2)),
        **views("a", crop__min_area=0.08, crop__size=None),
        **views("b", crop__min_area=0.6, crop__size=255),
    },
    "pirl:v1_imagenet": {
        "network.projector": (128,),
        "network.joint_head": (128, 128),
        "objective.pirl.temperature": 0.07,
        "objective.pirl.loss": "nce",
        **views("ab", blur__probability=0, **jitter(0.4, 0.4, 0.4, 0.2)),
        **views("ab", jitter__probability=1),
    },
    "jigsaw": IMAGENET_RUN
    | SGD
    | {
        "optim.learning_rate": 0.1,
        "optim.warmup_epochs": 5,
        "optim.weight_decay": 1e-4,
        "train.num_epochs": 105,
        "train.batch_size": 256,
        "network.joint_head": (1000, 1000, 2000),
        "network.projector": (),
        "objective.jigsaw.permutations": 2000,
        **views("a", crop__size=255, grayscale__probability=0.66, flip__probability=0.5),
    },
    "rotation": IMAGENET_RUN
    | SGD
    | {
        "optim.learning_rate": 0.4,
        "train.batch_size": 64,
        "optim.weight_decay": 1e-4,
        "train.num_epochs": 105,
        "network.num_classes": 4,
        "network.projector": (),
    },
    "rotation:cifar10": CIFAR
    | SGD
    | {
        "optim.learning_rate": 0.2,
        "train.batch_size": 128,
        "optim.weight_decay": 5e-4,
        "train.num_epochs": 200,
        "network.num_classes": 4,
    },
    "classification": IMAGENET_RUN
    | {
        "optim.name": "sgd",
        "optim.learning_rate": 0.1,
        "optim.weight_decay": 1e-4,
        "optim.warmup_epochs": 5,
        "train.num_epochs": 90,
        "network.num_classes": 1000,
        "network.projector": (),
        **views(
            "a",
            crop__min_area=0.08,
            flip__probability=0.5,
            jitter__probability=0,
            grayscale__probability=0,
            blur__probability=0,
            solarize__probability=0,
        ),
    },
}


@pytest.mark.parametrize("name", METHOD_SETTINGS)
def test_the_settings_of_a_methods_paper_are_in_its_config(name):
    config, settings = load(name), METHOD_SETTINGS[name]
    assert {key: config.get(key) for key in settings} == settings


@pytest.mark.parametrize(
    ("name", "views"),
    [
        ("swav", 8),
        ("w_mse", 4),
        ("w_mse:cifar10", 4),
        ("classification", 1),
        ("rotation", 1),
        ("pirl", 2),
        ("jigsaw", 1),
        ("context_prediction", 1),
        ("sigreg", 8),
        ("npid", 1),
        ("deepcluster", 8),
        ("emp_ssl:cifar10", 20),
    ],
)
def test_the_number_of_views_is_the_papers(name, views):
    names = {key.split(".")[2] for key in load(name) if key.startswith("recipe.views.")}
    assert names == set(string.ascii_lowercase[:views])
