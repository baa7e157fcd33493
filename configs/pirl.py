"""PIRL (Misra and van der Maaten 2020): recognize an image in the memory bank, and in its jigsaw puzzle.

    python -m barlow_jax pretrain --config pirl --workdir runs/pirl
    python -m barlow_jax pretrain --config pirl:v1_imagenet --workdir runs/pirl_v1
    python -m barlow_jax pretrain --config pirl:cifar10 --workdir runs/pirl_cifar10
    python -m barlow_jax pretrain --config pirl:digits --workdir runs/pirl_digits

Expected, ImageNet, linear probe: 69.9 % after 800 epochs, 65.8 % after 200 (VISSL, with MLP heads and blur:
version 2, the default). `v1_imagenet`: 64.3 % and 62.6 % (VISSL), 63.6 % in the paper. CIFAR-10: not
published. None has been trained here yet.
Measured: digits, 20 epochs, linear probe with 10 % of the labels: 91.9 % (untrained 74.9 %; docs/results.md).
Hardware: one pass of 224 pixels and nine of 64 per image, 1.7 times the pixels of one view; the memory bank
as for npid.py.

ImageNet: VISSL: SGD with 0.03 per 256 images at batch 1024, weight decay 1e-4, half a cosine to a thousandth.
View a has crops of at least 0.08 of the area; view b, of at least 0.6 and 255 pixels, is cut into nine
patches of 64. Version 2: heads 2048-2048-128 without BatchNorm, cross-entropy over 32 000 negatives at
temperature 0.1, SimCLR's color distortion and blur. Version 1: linear heads, NCE at temperature 0.07, milder
colors, no blur.
Differences from the code: colors change before view b is cut, and not in each patch on its own; negatives are
the same for all rows of a batch; version 1's random photometric op (autocontrast and the like) is left out.
CIFAR-10: the same with patches of 12 of 48 pixels and 200 epochs, untested.
Digits, and cifar10_cpu (untried): all images as negatives; learning rate and views of the base, and BatchNorm
in the heads: without it the loss was that of a uniform guess, log 1437 = 7.27, after 8 epochs.
"""

from barlow_jax.config.overrides import adapt_to_data


def imagenet(config):
    method(config)
    use_official_settings(config)
    config.recipe.views.b.crop.size = 255
    config.network.projector = (2048, 128)
    config.network.joint_head = (2048, 128, 128)
    config.train.batch_size = 1024
    config.train.num_epochs = 800.0


def cifar10(config):
    method(config)
    use_official_settings(config)
    config.recipe.views.b.crop.size = 48
    config.network.projector = (512, 128)
    config.network.joint_head = (512, 128, 128)
    config.train.num_epochs = 200.0


def small(config):
    method(config)
    config.recipe.views.b.crop.size = 24
    config.network.projector = (512, 128)
    config.network.joint_head = (512, 128, 128)
    config.objective.pirl.negatives = 0


def method(config):
    config.objective.name = "pirl"
    config.objective.scale = 1.0
    config.network.projector_biases = "all"


def use_official_settings(config):
    config.network.projector_batch_norm = False
    config.optim.name = "sgd"
    config.optim.learning_rate = 0.03
    config.optim.bias_learning_rate = None
    config.optim.grad_scale = 1.0
    config.optim.weight_decay = 1e-4
    config.optim.warmup_epochs = 0.0
    config.optim.final_scale = 1e-3
    config.recipe.views.b.crop.min_area = 0.6
    for view in config.recipe.views.values():
        view.crop.method = "bilinear"
        view.jitter.brightness = view.jitter.contrast = view.jitter.saturation = 0.8
        view.jitter.hue = 0.2
        view.blur.probability = 0.5
        view.solarize.probability = 0.0


def use_version_1(config):
    config.network.projector = (128,)
    config.network.joint_head = (128, 128)
    config.objective.pirl.loss = "nce"
    config.objective.pirl.temperature = 0.07
    for view in config.recipe.views.values():
        view.jitter.probability = 1.0
        view.jitter.brightness = view.jitter.contrast = view.jitter.saturation = 0.4
        view.blur.probability = 0.0


CHANGES = {"imagenet": imagenet, "cifar10": cifar10, "digits": small, "cifar10_cpu": small}


def get_config(data="imagenet"):
    return adapt_to_data(__file__, data, CHANGES, {"v1": use_version_1})
