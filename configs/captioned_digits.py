"""Image and text at hand: Barlow Twins and VICReg between a ResNet and a GRU, on digits that say what they are.

An image of scikit-learn's digits has five captions such as "a thick seven, leaning left", made of its class, its mean
level and its slant (data/captioned_digits.py). MEASURED
Hardware: two CPU cores, less than a minute, no TensorFlow.

    python -m barlow_jax pretrain --config configs/captioned_digits.py --workdir runs/captioned_digits
    python -m barlow_jax pretrain --config configs/captioned_digits.py:vicreg --workdir runs/captioned_digits_vicreg
    python -m barlow_jax retrieve --workdir runs/captioned_digits
"""

from barlow_jax.configdict import sibling


def get_config(objective="barlow_twins"):
    config = sibling(__file__, "digits")
    config.data.name = "captioned_digits"
    config.data.augment_on = "device"
    config.data.canvas = 8
    config.data.caption_words = 12
    with config.unlocked():
        del config.recipe.views["b"]  # which is the caption
    # The image as it is: rotated, cropped or brightened it would not be what its caption says.
    view = config.recipe.views.a
    view.crop.min_area = view.crop.min_aspect = view.crop.max_aspect = 1.0
    view.rotate.probability = view.jitter.probability = 0.0

    config.network.branches = "own"
    config.network.second_encoder = "gru"
    config.network.text.vocabulary = 64
    config.network.text.embedding = 32
    config.network.text.hidden = 128
    config.network.projector = (256, 256)
    config.objective.name = objective
    if objective == "vicreg":
        config.network.projector_biases = "hidden"

    config.train.num_epochs = 30.0
    config.checkpoint.every_epochs = 10.0
    config.monitor.every_epochs = 10.0
    return config
