"""BYOL (Grill et al. 2020): each view predicts what a slowly moving copy of the network says of the other one.

    python -m barlow_jax pretrain --config configs/byol.py --workdir runs/byol
    python -m barlow_jax pretrain --config configs/byol.py:cifar10 --workdir runs/byol_cifar10
    python -m barlow_jax pretrain --config configs/byol.py:digits --workdir runs/byol_digits

Expected, linear: ImageNet 74.3 % top-1, 91.6 % top-5; CIFAR-10 92.58 % (solo-learn's online probe; 91.73 % in W-MSE's
table). Neither trained here yet.
Measured: digits, seed 0, linear with 1, 10 and 100 % of the labels 80.5, 96.9, 99.4 %; before training 39.4, 74.4, 88.3 %.
Hardware: ImageNet, the authors' 512 TPU v3 cores took about 8 hours; else as cifar10.py and digits.py.

ImageNet: 1000 epochs at batch 4096, rate 0.2 per 256 images, weight decay 1.5e-6, momentum of the target 0.996. Shorter
runs have other values there: 300 epochs 0.3, 1e-6, 0.99; 100 epochs 0.45, 1e-6, 0.99.
Paper and code: the views are Barlow Twins' A and A' but for the code's own definitions of brightness, contrast and
saturation and a resize without antialiasing; here they are Pillow's. Both heads are Linear with bias, BatchNorm, ReLU,
Linear without. The authors' probe takes the best of five rates on held-out training images; here it is Barlow Twins'.
CIFAR-10: solo-learn's recipe, all layers of both heads with biases. Digits, and cifar10_cpu (untried): the momentum of a
short run, 0.99, and the base's rate and views.
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


CHANGES = {"imagenet": imagenet, "cifar10": cifar10, "digits": small, "cifar10_cpu": small}


def get_config(data="imagenet"):
    return adapt_to_data(__file__, data, CHANGES)
