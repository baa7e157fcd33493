"""INTL (Weng et al. 2024): align views after iterative normalization, with a trace loss against collapse.

    python -m barlow_jax pretrain --config intl --workdir runs/intl
    python -m barlow_jax pretrain --config intl:cifar10 --workdir runs/intl_cifar10
    python -m barlow_jax pretrain --config intl:digits --workdir runs/intl_digits

Expected: CIFAR-10 92.60 % linear, 90.03 % 5-NN; CIFAR-100 70.88 and 61.90 % (ResNet-18, 1000 epochs).
Neither has been trained here yet.
Measured: digits, seed 0, linear probe with 1, 10 and 100 % of the labels: 84.3, 98.1, 99.2 %; before
training 39.4, 74.4, 88.3 %.
Hardware: one GPU for the official batch of 256; the matrices are of the batch, N x N.

The official code: plain SGD with momentum 0.9, without LARS, two warm-up epochs, cosine to a thousandth;
batch 256 at all epochs; a head of three equal layers with biases in the last one (here in all: before
BatchNorm they have no effect).
ImageNet, 800 epochs: 0.3 per 256 images, weight decay 1e-5, width 8192 (100 epochs: 0.5).
CIFAR-10, 1000 epochs: 0.3, weight decay 1e-4, width 2048; crops of 8 to 100 % of the area, the jitter of
Barlow Twins, no blur, solarization with probability 0.2 in one view.
Digits, and cifar10_cpu (untried): the base's head and learning rate.
"""

from barlow_jax.config.overrides import adapt_to_data


def imagenet(config):
    method(config)
    use_sgd(config, 1e-5)
    config.optim.grad_scale = 1.0
    config.train.num_epochs = 800.0


def cifar10(config):
    method(config)
    use_sgd(config, 1e-4)


def small(config):
    method(config)


def method(config):
    config.objective.name = "intl"
    config.objective.scale = 1.0
    config.network.projector_biases = "all"


def use_sgd(config, weight_decay):
    config.optim.name = "sgd"
    config.optim.learning_rate = 0.3
    config.optim.bias_learning_rate = None
    config.optim.weight_decay = weight_decay
    config.optim.warmup_epochs = 2.0
    config.optim.final_scale = 1e-3
    config.train.batch_size = 256


CHANGES = {"imagenet": imagenet, "cifar10": cifar10, "digits": small, "cifar10_cpu": small}


def get_config(data="imagenet"):
    return adapt_to_data(__file__, data, CHANGES)
