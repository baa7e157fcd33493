"""SimSiam (Chen and He 2021): predict the other view's embedding, through which no gradient flows.

    python -m barlow_jax pretrain --config simsiam --workdir runs/simsiam
    python -m barlow_jax pretrain --config simsiam:cifar10 --workdir runs/simsiam_cifar10
    python -m barlow_jax pretrain --config simsiam:digits --workdir runs/simsiam_digits

Expected, linear probe: ImageNet 71.3 % top-1 after 800 epochs (100 epochs 68.1 %); CIFAR-10 91.8 % after
800 epochs (the paper's appendix D). Neither has been trained here yet.
Measured: digits, seed 0, linear probe with 1, 10 and 100 % of the labels: 76.2, 94.8, 98.9 %; before
training 39.4, 74.4, 88.3 %.
Hardware: ImageNet, the authors used 8 GPUs; otherwise as for cifar10.py and digits.py.

ImageNet: SGD, learning rate 0.05 per 256 images at batch 512, weight decay 1e-4, half a cosine without
warm-up; MoCo v2's views. All layers of the projector have a BatchNorm, the last one without scale and
shift.
Paper and code: the code holds the predictor's learning rate constant (67.7 % without that, 68.1 % with it,
100 epochs); here all learning rates follow the schedule. The code's weight decay includes biases and
BatchNorm, and the last layer of its predictor has a bias, which it does not have here. The crop is
bilinear, as in the code. The code's probe is LARS at batch 4096; here it is Barlow Twins'.
With VICReg's variance term, `variance_imagenet` and so on: 68.1 % instead of 67.9 % after 100 epochs (VICReg,
table 4). BatchNorm at the end of the projector keeps the term at 0: on the digits, no number changed with it.
CIFAR-10: appendix D: learning rate 0.03, weight decay 5e-4, batch 512, 800 epochs, two layers in the
projector, no blur. These values were recalled from the paper, not read from code. The paper does not state
the crop; here it is ImageNet's 0.2.
Digits, and cifar10_cpu (untried): AdamW and views of the base. Half the learning rate gave 69.0, 93.2, 96.9
% on the digits.
"""

from barlow_jax.config.overrides import adapt_to_data


def imagenet(config):
    method(config)
    use_moco_views(config)
    config.network.projector = (2048, 2048, 2048)
    config.network.predictor = (512, 2048)
    use_sgd(config)
    config.optim.learning_rate = 0.05
    config.optim.weight_decay = 1e-4
    config.train.num_epochs = 800.0
    config.train.batch_size = 512


def cifar10(config):
    method(config)
    use_moco_views(config)
    for view in config.recipe.views.values():
        view.blur.probability = 0.0
    config.network.projector = (2048, 2048)
    config.network.predictor = (512, 2048)
    use_sgd(config)
    config.optim.learning_rate = 0.03
    config.optim.weight_decay = 5e-4
    config.train.num_epochs = 800.0
    config.train.batch_size = 512


def small(config):
    method(config)
    config.network.predictor = (128, 512)


def method(config):
    config.objective.name = "simsiam"
    config.objective.scale = 1.0
    config.network.projector_output_norm = True


def use_moco_views(config):
    """Use MoCo v2's distribution for both views."""
    for view in config.recipe.views.values():
        view.crop.min_area = 0.2
        view.crop.method = "bilinear"
        view.jitter.saturation = 0.4
        view.blur.probability = 0.5
        view.solarize.probability = 0.0


def use_sgd(config):
    config.optim.name = "sgd"
    config.optim.bias_learning_rate = None
    config.optim.grad_scale = 1.0
    config.optim.warmup_epochs = 0.0
    config.optim.final_scale = 0.0


def use_variance(config):
    config.objective.simsiam.variance_weight = 1.0


CHANGES = {"imagenet": imagenet, "cifar10": cifar10, "digits": small, "cifar10_cpu": small}


def get_config(data="imagenet"):
    return adapt_to_data(__file__, data, CHANGES, {"variance": use_variance})
