"""Context prediction (Doersch et al. 2015): recognize in which of eight directions a neighboring patch lies.

    python -m barlow_jax pretrain --config context_prediction --workdir runs/context
    python -m barlow_jax pretrain --config context_prediction:cifar10 --workdir runs/context_cifar10
    python -m barlow_jax pretrain --config context_prediction:digits --workdir runs/context_digits

Expected, linear probe: ImageNet 51.4 % top-1 (Kolesnikov et al. 2019, a wider ResNet-50). CIFAR-10: not
published. Neither has been trained here yet.
Measured: digits, 20 epochs, linear probe with 10 % of the labels: 76.5 % (untrained 74.9 %; docs/results.md).
Hardware: two passes of 64 pixels through the network per image.

Views, optimizer and head of jigsaw.py, with eight classes.
Differences from the paper: its patches have 96 pixels, 48 apart, and drop colors; here, as in Kolesnikov et
al., they are those of jigsaw puzzles. They learn from all eight pairs of an image in a step, here from one.
Digits, and cifar10_cpu (untried): learning rate, epochs and view a of the base.
"""

from barlow_jax.config.overrides import adapt_to_data, load_sibling


def changes(data):
    def use_jigsaw(config):
        """Use the config of jigsaw puzzles with eight classes."""
        with config.unlocked():
            del config.recipe.views["b"]
            config.update(load_sibling(__file__, "jigsaw", data))
        config.objective.name = "context_prediction"
        config.network.joint_head = (*config.network.joint_head[:-1], 8)
        config.objective.jigsaw.permutations = 2000

    return use_jigsaw


CHANGES = {data: changes(data) for data in ("imagenet", "cifar10", "digits", "cifar10_cpu")}


def get_config(data="imagenet"):
    return adapt_to_data(__file__, data, CHANGES)
