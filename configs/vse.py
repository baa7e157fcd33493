"""VSE++ (Faghri et al. 2018): pull the other view closer than the hardest negative of the batch, by a margin.

A loss between images and captions: `captioned_digits:vse` and `coco_captions:vse` train it as published. This
file has the same loss between two views of an image, which nobody has published.

    python -m barlow_jax pretrain --config vse --workdir runs/vse
    python -m barlow_jax pretrain --config vse:cifar10 --workdir runs/vse_cifar10
    python -m barlow_jax pretrain --config vse:digits --workdir runs/vse_digits

Expected: not published for images alone. On COCO captions R@1 41.3 % image to text, 30.3 % text to image.
Measured: digits, 20 epochs, linear probe with 10 % of the labels: 76.3 % (untrained 74.9 %; docs/results.md).
Hardware: as for imagenet.py; cifar10.py; digits.py.

All: margin 0.2, embeddings on the unit sphere, SimCLR's head and SimCLR's views, and otherwise the base's
recipe, untested. The gradient is that of one negative per row, so large batches see harder ones.
"""

from barlow_jax.config.overrides import adapt_to_data, load_sibling


def imagenet(config):
    use_simclr(config, "imagenet")


def cifar10(config):
    use_simclr(config, "cifar10")


def small(config):
    method(config)
    config.network.projector = (512, 128)


def use_simclr(config, data):
    """Use the views, head and optimizer of SimCLR's config."""
    with config.unlocked():
        config.update(load_sibling(__file__, "simclr", data))
    method(config)


def method(config):
    config.objective.name = "vse"
    config.objective.scale = 1.0


CHANGES = {"imagenet": imagenet, "cifar10": cifar10, "digits": small, "cifar10_cpu": small}


def get_config(data="imagenet"):
    return adapt_to_data(__file__, data, CHANGES)
