"""Barlow Twins on scikit-learn's 1 797 handwritten digits: the quickstart.

Expected: see docs/results.md, "Quickstart: digits".
Hardware: two CPU cores, about 3 minutes.

    python -m barlow_jax pretrain --config digits --workdir runs/digits
"""

from barlow_jax.config.overrides import default_config


def get_config():
    config = default_config()
    config.data.name = "digits"
    config.data.eval_split = "test"
    config.data.image_size = config.data.eval_resize = 8  # their own size

    # Strokes vary in strength and slant. A mirrored digit is a different sign, and there is no color.
    for view in config.recipe.views.values():
        view.crop.min_area = 0.4
        view.rotate.probability = 0.5
        view.rotate.max_degrees = 15.0
        view.jitter.brightness = view.jitter.contrast = 0.6
        view.jitter.saturation = view.jitter.hue = 0.0
        view.flip.probability = view.grayscale.probability = 0.0
        view.blur.probability = view.solarize.probability = 0.0
        view.normalize.mean = view.normalize.std = (0.5, 0.5, 0.5)

    config.network.encoder = "resnet8"
    config.network.width = 32
    config.network.stem = "cifar"
    config.network.projector = (512, 512)
    config.network.dtype = "float32"  # two cores have no bfloat16
    config.objective.barlow_twins.off_diagonal_weight = 0.01

    config.optim.name = "adamw"
    config.optim.learning_rate = 8e-3
    config.optim.bias_learning_rate = None
    config.optim.weight_decay = 1e-4
    config.optim.warmup_epochs = 4.0
    config.train.batch_size = 64
    config.train.num_epochs = 80.0
    config.train.log_every_steps = 100
    config.eval_batch_size = 512
    config.checkpoint.every_epochs = 20.0
    config.checkpoint.keep_every_epochs = 20.0  # for the report
    config.monitor.every_epochs = 20.0

    config.probe.augment = False
    config.probe.standardize = True
    config.probe.learning_rate = 0.1
    config.probe.min_steps = 500
    # 1 % is one label per class, so results depend on the subset: report the mean over twenty.
    config.probe.label_fractions = config.knn.label_fractions = (0.01, 0.1, 1.0)
    config.probe.subset_repeats = config.knn.subset_repeats = 20
    config.knn.k = (20,)
    # ImageNet's 20 epochs would be 20 steps.
    config.finetune.num_epochs = 40
    config.finetune.batch_size = 64
    config.finetune.subset_repeats = 2
    return config
