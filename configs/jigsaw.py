"""Jigsaw puzzles (Noroozi and Favaro 2016): recognize the permutation of an image's nine patches.

    python -m barlow_jax pretrain --config jigsaw --workdir runs/jigsaw
    python -m barlow_jax pretrain --config jigsaw:cifar10 --workdir runs/jigsaw_cifar10
    python -m barlow_jax pretrain --config jigsaw:digits --workdir runs/jigsaw_digits

Expected, linear probe: ImageNet 46.7 % top-1, 48.6 % with 100 permutations (VISSL's ResNet-50). CIFAR-10: not
published. Neither has been trained here yet.
Measured: digits, 20 epochs, linear probe with 10 % of the labels: 77.5 % (untrained 74.9 %; docs/results.md).
Hardware: nine passes of 64 pixels through the network per image; otherwise as for imagenet.py; cifar10.py;
digits.py.

ImageNet: VISSL: SGD, learning rate 0.1 per 256 images, weight decay 1e-4, 105 epochs with 5 of warm-up; 2000
permutations of patches of 64 pixels, cut from 255; flip, two thirds of the images in gray.
Differences from the code: its 2000 permutations are another choice for a large mean distance; the learning
rate falls in steps there, here it is half a cosine; its crop of 255 of 256 pixels is here one of 60 to 100 %
of the area. There the classifier is on 1000 features of each patch after BatchNorm and ReLU; here a linear
layer of 1000 lies between, which leaves the functions of the head the same.
CIFAR-10: the same with patches of 12 of 48 pixels and 200 epochs, untested.
Digits, and cifar10_cpu (untried): 100 permutations; learning rate, epochs and view a of the base.
"""

from barlow_jax.config.overrides import adapt_to_data


def imagenet(config):
    method(config)
    use_sgd_and_gray_views(config)
    config.recipe.views.a.crop.size = 255
    config.network.joint_head = (1000, 1000, 2000)
    config.train.num_epochs = 105.0
    config.train.batch_size = 256


def cifar10(config):
    method(config)
    use_sgd_and_gray_views(config)
    config.recipe.views.a.crop.size = 48
    config.network.joint_head = (512, 512, 2000)
    config.train.num_epochs = 200.0


def small(config):
    method(config)
    config.recipe.views.a.crop.size = 24
    config.network.joint_head = (512, 128, 100)
    config.objective.jigsaw.permutations = 100


def method(config):
    with config.unlocked():
        del config.recipe.views["b"]
    config.objective.name = "jigsaw"
    config.objective.scale = 1.0
    config.network.projector = ()
    config.network.projector_biases = "all"


def use_sgd_and_gray_views(config):
    """Use SGD, and only crop, flip and grayscale."""
    view = config.recipe.views.a
    view.crop.min_area = 0.6
    view.crop.method = "bilinear"
    view.jitter.probability = view.blur.probability = 0.0
    view.grayscale.probability = 0.66
    config.optim.name = "sgd"
    config.optim.learning_rate = 0.1
    config.optim.bias_learning_rate = None
    config.optim.grad_scale = 1.0
    config.optim.weight_decay = 1e-4
    config.optim.warmup_epochs = 5.0
    config.optim.final_scale = 0.0


CHANGES = {"imagenet": imagenet, "cifar10": cifar10, "digits": small, "cifar10_cpu": small}


def get_config(data="imagenet"):
    return adapt_to_data(__file__, data, CHANGES)
