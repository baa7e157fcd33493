"""SwAV (Caron et al. 2020): predict the code of each full view from every other view, small crops included.

    python -m barlow_jax pretrain --config swav --workdir runs/swav
    python -m barlow_jax pretrain --config swav:two_views_imagenet --workdir runs/swav_two_views
    python -m barlow_jax pretrain --config swav:cifar10 --workdir runs/swav_cifar10
    python -m barlow_jax pretrain --config swav:digits --workdir runs/swav_digits

Expected, linear probe: ImageNet 75.3 % top-1 after 800 epochs with these 2 + 6 views; with two views
(`two_views_imagenet`) 70.1 % after 400 epochs, and 71.8 % in the tables of other papers; CIFAR-10 89.17 %
(solo-learn's online probe). Neither has been trained here yet.
Measured: digits, seed 0, linear probe with 1, 10 and 100 % of the labels: 81.4, 97.6, 98.9 %; before
training 39.4, 74.4, 88.3 %.
Hardware: ImageNet took the authors about 50 hours on 64 V100 GPUs; otherwise as for cifar10.py and
digits.py.

ImageNet: two views of 224 pixels with at least 14 % of the image and six of 96 pixels with 5 to 14 %, with
SimCLR's color distortion; 3000 prototypes, 128 features, LARS, learning rate 0.3 per 256 images at batch
4096, weight decay 1e-6, prototypes frozen for the first epoch (313 steps in the code). No queue: it is for
batches smaller than the number of prototypes (the authors' batch of 256: 3840 embeddings from epoch 15 on,
epsilon 0.03 or less, rate 0.6).
Paper and code: the code's warm-up starts at a learning rate of 0.3, here at 0. Its LARS adapts and decays
biases and BatchNorm too. Its std of the first channel is 0.228, here 0.229. The crop is bilinear, as in the
code.
CIFAR-10: solo-learn's recipe: two views, 3000 prototypes, a queue of 3840 from epoch 50 on.
Digits, and cifar10_cpu (untried): two views, and 48 prototypes, fewer than the batch, so no queue. Learning
rate and views of the base.
"""

from barlow_jax.config.overrides import adapt_to_data


def imagenet(config):
    method(config)
    use_color_distortion(config)
    for view in config.recipe.views.values():
        view.crop.min_area = 0.14
        view.crop.method = "bilinear"
    with config.unlocked():
        for name in "cdefgh":
            view = config.recipe.views[name] = config.recipe.views.a.copy_and_resolve_references()
            view.crop.min_area, view.crop.max_area, view.crop.size = 0.05, 0.14, 96

    config.network.projector = (2048, 128)
    config.network.prototypes = 3000
    config.optim.learning_rate = 0.3
    config.optim.bias_learning_rate = None
    config.optim.grad_scale = 1.0
    config.train.num_epochs = 800.0
    config.train.batch_size = 4096


def cifar10(config):
    method(config)
    use_color_distortion(config)
    config.network.projector = (2048, 128)
    config.network.prototypes = 3000
    config.objective.swav.queue_size = 3840
    config.objective.swav.queue_from_epoch = 50.0
    config.objective.swav.freeze_prototypes_epochs = 2.0
    config.optim.learning_rate = 0.6
    config.optim.weight_decay = 1e-6


def small(config):
    method(config)
    config.network.projector = (512, 128)
    config.network.prototypes = 48


def method(config):
    config.objective.name = "swav"
    config.objective.scale = 1.0
    config.network.projector_biases = "all"


def use_color_distortion(config):
    """Use color distortion of strength 1 in all views."""
    for view in config.recipe.views.values():
        view.jitter.brightness = view.jitter.contrast = view.jitter.saturation = 0.8
        view.jitter.hue = 0.2
        view.blur.probability = 0.5
        view.solarize.probability = 0.0


def use_two_views(config):
    with config.unlocked():
        for name in set(config.recipe.views) - {"a", "b"}:
            del config.recipe.views[name]


CHANGES = {"imagenet": imagenet, "cifar10": cifar10, "digits": small, "cifar10_cpu": small}


def get_config(data="imagenet"):
    return adapt_to_data(__file__, data, CHANGES, {"two_views": use_two_views})
