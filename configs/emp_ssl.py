"""EMP-SSL (Tong et al. 2023): many small crops agree with their mean, and embeddings span a large volume.

    python -m barlow_jax pretrain --config emp_ssl --workdir runs/emp_ssl
    python -m barlow_jax pretrain --config emp_ssl:cifar10 --workdir runs/emp_ssl_cifar10
    python -m barlow_jax pretrain --config emp_ssl:digits --workdir runs/emp_ssl_digits

Expected: CIFAR-10 80.6, 90.7, 93.1 % after 1, 10, 30 epochs of 200 crops, on the mean of the features of 128
crops. An evaluation here reads one crop: the numbers do not compare.
Measured: digits, two views, seed 0, linear probe with 1, 10 and 100 % of the labels: 77.0, 98.2, 99.7 %;
before training 39.4, 74.4, 88.3 %.
Hardware: one GPU; a step has 20 views of 100 images.

CIFAR-10: the official code: 30 epochs, batch 100 (here 104), LARS with rate 0.3 and a clipped ratio of trust
coefficient 0.005, no warm-up, cosine to 0, weight decay 1e-4; crops of a quarter of the area, resized to 32
pixels; jitter .4 .4 .4 .2, gray .2, blur .1, solarization .1. There are 20 views; the paper has up to 200.
Differences: the official head has three layers of 4096, and the evaluation reads the first one's output; here
they are the projector, and the evaluation reads the encoder. The official momentum is Nesterov's.
ImageNet: the paper has no recipe for all of ImageNet: these settings with eight views, an untested guess.
Digits, and cifar10_cpu (untried): the base's two views, head and learning rate.
"""

from barlow_jax.config.overrides import adapt_to_data

VIEWS = "abcdefghijklmnopqrst"


def imagenet(config):
    method(config)
    use_crops(config, VIEWS[:8])
    config.optim.grad_scale = 1.0
    config.optim.learning_rate, config.optim.bias_learning_rate = 0.3, None
    config.network.projector = (4096, 4096, 1024)
    config.train.batch_size = 1024
    config.train.num_epochs = 30.0


def cifar10(config):
    method(config)
    use_crops(config, VIEWS)
    config.network.projector = (4096, 4096, 1024)
    config.optim.learning_rate = 0.3 * 256 / 104
    config.optim.trust_coefficient = 0.005
    config.optim.warmup_epochs = 0.0
    config.train.batch_size = 104  # the next multiple of 8 devices
    config.train.num_epochs = 30.0
    for view in config.recipe.views.values():
        view.normalize.mean = view.normalize.std = (0.5, 0.5, 0.5)


def small(config):
    method(config)


def method(config):
    config.objective.name = "emp_ssl"
    config.objective.scale = 1.0
    config.network.projector_biases = "all"


def use_crops(config, names):
    view = config.recipe.views.a
    view.crop.min_area = view.crop.max_area = 0.25
    view.crop.min_aspect = view.crop.max_aspect = 1.0
    view.jitter.saturation, view.jitter.hue = 0.4, 0.2
    view.blur.probability = view.solarize.probability = 0.1
    with config.unlocked():
        for name in names:
            config.recipe.views[name] = view.copy_and_resolve_references()


CHANGES = {"imagenet": imagenet, "cifar10": cifar10, "digits": small, "cifar10_cpu": small}


def get_config(data="imagenet"):
    return adapt_to_data(__file__, data, CHANGES)
