"""SimCLR (Chen et al. 2020): identify an image's other view among all other views in the batch.

    python -m barlow_jax pretrain --config simclr --workdir runs/simclr
    python -m barlow_jax pretrain --config simclr:cifar10 --workdir runs/simclr_cifar10
    python -m barlow_jax pretrain --config simclr:digits --workdir runs/simclr_digits

Expected, linear probe: ImageNet 69.3 % top-1 (the released model 69.1 %; 100 epochs 64.5 %); CIFAR-10 90.74
% (solo-learn's online probe; 91.80 % in W-MSE's table). Neither has been trained here yet.
Measured: digits, seed 0, linear probe with 1, 10 and 100 % of the labels: 80.3, 97.5, 98.9 %; before
training 39.4, 74.4, 88.3 %.
Hardware: ImageNet, 100 epochs took the authors 6 hours on 32 TPU v3 cores; otherwise as for cifar10.py and
digits.py.

ImageNet: 1000 epochs at batch 4096, learning rate 0.3 per 256 images, weight decay 1e-6, temperature 0.1.
For smaller batches the authors found learning rates better that grow with the square root of the batch
size, 0.075 times it.
Paper and code: the paper's head is Linear, ReLU, Linear to 128. The code has a BatchNorm after each Linear,
the last one with a scale; here it is the code's head without that scale. The code's LARS multiplies by the
learning rate before the momentum, here after it.
Branches (VICReg, table 5, 100 epochs): 63.1 % with own weights for view b (`own_imagenet`), 63.9 % with a
ResNet-101 (`different_imagenet`).
CIFAR-10: solo-learn's recipe (temperature 0.2, no BatchNorm in the head, half of the views blurred even at
32 pixels). The official README has another one, with about 91 %: batch 512, learning rate 1.0 per 256,
weight decay 1e-6 (1e-4 in later versions), temperature 0.5, half the jitter (.4 .4 .4 .1) and no blur.
Digits, and cifar10_cpu (untried): temperature 0.2; learning rate and views of the base.
"""

from barlow_jax.config.overrides import adapt_to_data


def imagenet(config):
    method(config)
    use_color_distortion(config)
    config.network.projector = (2048, 128)
    config.network.projector_output_norm = True
    config.objective.simclr.temperature = 0.1
    config.optim.learning_rate = 0.3
    config.optim.bias_learning_rate = None
    config.optim.grad_scale = 1.0
    config.optim.final_scale = 0.0
    config.train.batch_size = 4096

    config.probe.num_epochs = 90
    config.probe.batch_size = 4096
    config.probe.learning_rate = 0.1
    config.probe.scale_learning_rate = True
    config.probe.nesterov = True
    config.probe.weight_decay = 0.0


def cifar10(config):
    method(config)
    use_color_distortion(config)
    config.network.projector = (2048, 256)
    config.network.projector_batch_norm = False
    config.network.projector_biases = "all"
    config.objective.simclr.temperature = 0.2
    config.optim.learning_rate = 0.4


def small(config):
    method(config)
    config.network.projector = (512, 128)
    config.network.projector_output_norm = True
    config.objective.simclr.temperature = 0.2


def method(config):
    config.objective.name = "simclr"
    config.objective.scale = 1.0


def use_color_distortion(config):
    """Use color distortion of strength 1 in both views."""
    for view in config.recipe.views.values():
        view.jitter.brightness = view.jitter.contrast = view.jitter.saturation = 0.8
        view.jitter.hue = 0.2
        view.blur.probability = 0.5
        view.solarize.probability = 0.0


def use_own_branches(config):
    """Give view b a network of its own."""
    config.network.branches = "own"


def use_different_branches(config):
    """Give view b a deeper ResNet, as VICReg's table 5 does on ImageNet."""
    use_own_branches(config)
    config.network.second_encoder = "resnet101" if config.network.encoder == "resnet50" else "resnet34"


CHANGES = {"imagenet": imagenet, "cifar10": cifar10, "digits": small, "cifar10_cpu": small}


def get_config(data="imagenet"):
    variants = {"own": use_own_branches, "different": use_different_branches}
    return adapt_to_data(__file__, data, CHANGES, variants)
