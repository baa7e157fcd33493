"""A run of seconds, for the tests: digits at 8 pixels, a network of a few thousand parameters, 22 steps."""

from barlow_jax.config.overrides import default_config


def get_config():
    config = default_config()
    config.data.name = "digits"
    config.data.eval_split = "test"
    config.data.image_size = config.data.eval_resize = 8
    for view in config.recipe.views.values():
        view.jitter.probability = view.blur.probability = 0.0
    config.network.encoder = "resnet8"
    config.network.width = 4
    config.network.stem = "cifar"
    config.network.projector = (16, 16)
    config.network.dtype = "float32"
    config.train.batch_size = 128
    config.train.num_epochs = 2.0
    config.train.log_every_steps = 2
    config.train.compilation_cache = None  # nothing in the home of who tests
    config.optim.warmup_epochs = 0.5
    config.eval_batch_size = 512
    config.monitor.every_epochs = 1.0
    config.checkpoint.every_epochs = 0.5
    config.probe.num_epochs = 3
    config.probe.augment = False
    config.probe.label_fractions = config.knn.label_fractions = (0.1, 1.0)
    config.probe.subset_repeats = config.knn.subset_repeats = 2
    return config
