"""Barlow Twins on scikit-learn's 1 797 handwritten digits: the quickstart.

Expected: see README, "What the quickstart prints". Hardware: two CPU cores, about 3 minutes.

    python -m barlow_jax pretrain --config configs/digits.py --workdir runs/digits
"""

from barlow_jax.configdict import default_config


def get_config():
    config = default_config()
    config.data.name = "digits"
    config.data.eval_split = "test"
    config.data.image_size = config.data.eval_resize = 16

    # A mirrored digit is another sign, and grey levels are all the color there is.
    for view in config.recipe.views.values():
        view.crop.min_area = 0.4
        view.rotate.probability = 1.0
        view.flip.probability = view.grayscale.probability = 0.0
        view.jitter.probability = view.blur.probability = view.solarize.probability = 0.0
        view.normalize.mean = view.normalize.std = (0.5, 0.5, 0.5)

    config.network.encoder = "resnet8"
    config.network.width = 16
    config.network.stem = "cifar"
    config.network.projector = (256, 256, 256)
    config.network.dtype = "float32"

    config.optim.learning_rate = 0.2
    config.train.batch_size = 256
    config.train.num_epochs = 100.0
    config.train.log_every_steps = 25
    config.eval_batch_size = 512
    config.checkpoint.every_epochs = 50.0
    config.checkpoint.keep_every_epochs = None
    config.monitor.every_epochs = 20.0

    config.probe.augment = False
    config.probe.standardize = True
    config.probe.learning_rate = 0.1
    config.probe.min_steps = 500
    config.probe.label_fractions = config.knn.label_fractions = (0.01, 0.1, 1.0)
    config.probe.subset_draws = config.knn.subset_draws = 5
    return config
