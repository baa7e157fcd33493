"""BYOL (Grill et al. 2020): predict how a slowly moving copy of the network embeds the other view.

    python -m barlow_jax pretrain --config byol --workdir runs/byol
    python -m barlow_jax pretrain --config byol:cifar10 --workdir runs/byol_cifar10
    python -m barlow_jax pretrain --config byol:digits --workdir runs/byol_digits

Expected, linear probe: ImageNet 74.3 % top-1, 91.6 % top-5; CIFAR-10 92.58 % (solo-learn's online probe;
91.73 % in W-MSE's table). Neither has been trained here yet.
Measured: digits, seed 0, linear probe with 1, 10 and 100 % of the labels: 80.5, 96.9, 99.4 %; before
training 39.4, 74.4, 88.3 %.
Hardware: ImageNet took the authors about 8 hours on 512 TPU v3 cores; otherwise as for cifar10.py and
digits.py.

ImageNet: 1000 epochs at batch 4096, learning rate 0.2 per 256 images, weight decay 1.5e-6, target momentum
0.996. Shorter runs use other values of the last three: 300 epochs 0.3, 1e-6, 0.99; 100 epochs 0.45, 1e-6,
0.99.
Paper and code: the views are Barlow Twins' A and A', except that the official code has its own definitions
of brightness, contrast and saturation and resizes without antialiasing; here both are Pillow's. Both heads
are Linear with bias, BatchNorm, ReLU, Linear without bias. The authors' probe takes the best of five
learning rates on held-out training images; here it is Barlow Twins' probe.
With VICReg's variance term, `variance_imagenet` and so on: 70.2 % instead of 69.3 % after 100 epochs (VICReg,
table 4).
CIFAR-10: solo-learn's recipe, with biases in all layers of both heads.
Digits, and cifar10_cpu (untried): target momentum 0.99 for a short run; learning rate and views of the
base.
"""

from barlow_jax.config.overrides import adapt_to_data


def imagenet(config):
    method(config)
    config.network.projector = config.network.predictor = (4096, 256)
    config.network.projector_biases = "hidden"
    config.objective.byol.target_momentum = 0.996
    config.optim.learning_rate = 0.2
    config.optim.bias_learning_rate = None
    config.optim.grad_scale = 1.0
    config.optim.weight_decay = 1.5e-6
    config.optim.final_scale = 0.0
    config.train.batch_size = 4096


def cifar10(config):
    method(config)
    config.network.projector = config.network.predictor = (4096, 256)
    config.network.projector_biases = "all"
    config.objective.byol.target_momentum = 0.99
    config.optim.learning_rate = 1.0
    config.optim.weight_decay = 1e-5


def small(config):
    method(config)
    config.network.projector = config.network.predictor = (512, 128)
    config.network.projector_biases = "hidden"
    config.objective.byol.target_momentum = 0.99


def method(config):
    config.objective.name = "byol"
    config.objective.scale = 1.0


def use_variance(config):
    config.objective.byol.variance_weight = 1.0


CHANGES = {"imagenet": imagenet, "cifar10": cifar10, "digits": small, "cifar10_cpu": small}


def get_config(data="imagenet"):
    return adapt_to_data(__file__, data, CHANGES, {"variance": use_variance})
