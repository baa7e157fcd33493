"""VICReg (Bardes, Ponce, LeCun 2022): align two views, keep every feature's variance, decorrelate features.

    python -m barlow_jax pretrain --config vicreg --workdir runs/vicreg
    python -m barlow_jax pretrain --config vicreg:cifar10 --workdir runs/vicreg_cifar10
    python -m barlow_jax pretrain --config vicreg:digits --workdir runs/vicreg_digits

Expected, linear probe: ImageNet 73.2 % top-1, 91.1 % top-5 (54.8 and 69.5 % with 1 and 10 % of the labels);
CIFAR-10 92.07 % (solo-learn's online probe). Neither has been trained here yet.
Measured: digits, seed 0, linear probe with 1, 10 and 100 % of the labels: 85.5, 97.8, 99.2 %; before
training 39.4, 74.4, 88.3 %.
Hardware: as for imagenet.py; cifar10.py; digits.py.

ImageNet: the official code. One learning rate for all parameters: 0.2 per 256 images at 1000 epochs and
batch 2048, 0.3 at 100 epochs; at 100 epochs 0.8, 0.5, 0.4 for batches of 128, 256, 512. The full gradient
is applied (grad_scale 1), because the code's all-gather is differentiable. The fine-tuning rates are those
for 10 % of the labels; for 1 % use --config.finetune.encoder_learning_rate=0.03 and
--config.finetune.head_learning_rate=0.08.
Paper and code: the code halves the variance term (--config.objective.vicreg.variance_factor=paper does
not). The paper blurs both views with probability 0.5 and solarizes both with 0.1; the code has Barlow
Twins' views.
CIFAR-10: solo-learn's recipe, with biases in all three layers.
Digits, and cifar10_cpu (untried): the official coefficients and head with the base's widths, learning rate
and views.
"""

from barlow_jax.config.overrides import adapt_to_data


def imagenet(config):
    method(config)
    config.optim.bias_learning_rate = None
    config.optim.grad_scale = 1.0
    config.probe.learning_rate = 0.02
    config.finetune.encoder_learning_rate = 0.01
    config.finetune.head_learning_rate = 0.1


def cifar10(config):
    method(config)
    config.network.projector_biases = "all"
    for view in config.recipe.views.values():
        view.crop.min_area = 0.2
        view.solarize.probability = 0.1


def small(config):
    method(config)


def method(config):
    config.objective.name = "vicreg"
    config.objective.scale = 1.0
    config.network.projector_biases = "hidden"


CHANGES = {"imagenet": imagenet, "cifar10": cifar10, "digits": small, "cifar10_cpu": small}


def get_config(data="imagenet"):
    return adapt_to_data(__file__, data, CHANGES)
