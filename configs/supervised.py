"""ResNet-50 on ImageNet with labels: the first row of the papers' tables, through the same step.

Goyal et al. 2017: SGD, 0.1 per 256 images, momentum 0.9, weight decay 1e-4 (here not on biases and BatchNorm),
5 epochs of warm-up, 90 epochs, half a cosine; crop and flip alone, the classifier on the pooled output.
Expected: 76.5 % top-1 in the Barlow Twins paper's table 1; Goyal et al. report 76.4 % with steps in the
cosine's place. Not yet trained here.
Hardware: as imagenet.py, one view instead of two and 0.09 of its epochs.

    python -m barlow_jax pretrain --config configs/supervised.py --workdir runs/supervised
    python -m barlow_jax evaluate --workdir runs/supervised
"""

from barlow_jax.configdict import default_config


def get_config():
    config = default_config()
    with config.unlocked():
        del config.recipe.views["b"]
    view = config.recipe.views.a
    view.crop.method = "bilinear"
    view.jitter.probability = view.grayscale.probability = view.blur.probability = 0.0

    config.objective.name = "classification"
    config.network.projector = ()
    config.network.num_classes = 1000

    config.optim.name = "sgd"
    config.optim.learning_rate = 0.1
    config.optim.bias_learning_rate = None
    config.optim.weight_decay = 1e-4
    config.optim.warmup_epochs = 5.0
    config.optim.final_scale = 0.0
    config.train.num_epochs = 90.0
    config.train.batch_size = 1024
    return config
