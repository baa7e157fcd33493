"""Rotation prediction (RotNet, Gidaris et al. 2018): recognize by how many quarter turns an image is turned.

    python -m barlow_jax pretrain --config rotation --workdir runs/rotation
    python -m barlow_jax pretrain --config rotation:cifar10 --workdir runs/rotation_cifar10
    python -m barlow_jax pretrain --config rotation:digits --workdir runs/rotation_digits

Expected, linear probe: ImageNet 48.2 % top-1 (VISSL's ResNet-50). CIFAR-10: the paper's network in network
does not compare. Neither has been trained here yet.
Measured: digits, 20 epochs, linear probe with 10 % of the labels: 79.8 % (untrained 74.9 %; docs/results.md).
Hardware: four passes through the network per image; otherwise as for imagenet.py; cifar10.py; digits.py.

ImageNet: VISSL: SGD, learning rate 0.1 per 256 images, weight decay 1e-4, 105 epochs, crop and flip. VISSL
turns each image once per epoch at batch 256; here, as in the authors' code, a step has all four rotations of
its images, so 64 of them are as many passes.
CIFAR-10: the authors' code: SGD, learning rate 0.1 at batch 128 (512 rotated images), weight decay 5e-4, 200
epochs; a ResNet-18 instead of their network.
Differences from both: the learning rate falls in steps there, here it is half a cosine. The authors' SGD has
Nesterov's momentum. They shift CIFAR's images by up to 4 pixels; here, crops have at least half of the area.
Views are turned after the crop, which is square.
Digits, and cifar10_cpu (untried): learning rate, epochs and view a of the base.
"""

from barlow_jax.config.overrides import adapt_to_data


def imagenet(config):
    method(config)
    use_sgd_and_plain_views(config)
    config.recipe.views.a.crop.method = "bilinear"
    config.optim.learning_rate = 0.4  # 0.1 per 256 rotated images
    config.optim.weight_decay = 1e-4
    config.train.num_epochs = 105.0
    config.train.batch_size = 64


def cifar10(config):
    method(config)
    use_sgd_and_plain_views(config)
    config.recipe.views.a.crop.min_area = 0.5
    config.optim.learning_rate = 0.2
    config.optim.weight_decay = 5e-4
    config.train.num_epochs = 200.0
    config.train.batch_size = 128


def method(config):
    with config.unlocked():
        del config.recipe.views["b"]
    config.objective.name = "rotation"
    config.objective.scale = 1.0
    config.network.projector = ()
    config.network.num_classes = 4


def use_sgd_and_plain_views(config):
    """Use SGD without a warm-up, and only crop and flip."""
    view = config.recipe.views.a
    view.jitter.probability = view.grayscale.probability = view.blur.probability = 0.0
    config.optim.name = "sgd"
    config.optim.bias_learning_rate = None
    config.optim.grad_scale = 1.0
    config.optim.warmup_epochs = 0.0
    config.optim.final_scale = 0.0


CHANGES = {"imagenet": imagenet, "cifar10": cifar10, "digits": method, "cifar10_cpu": method}


def get_config(data="imagenet"):
    return adapt_to_data(__file__, data, CHANGES)
