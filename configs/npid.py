"""NPID (Wu et al. 2018): every image is its own class, and a memory bank of all images is the classifier.

    python -m barlow_jax pretrain --config npid --workdir runs/npid
    python -m barlow_jax pretrain --config npid:cifar10 --workdir runs/npid_cifar10
    python -m barlow_jax pretrain --config npid:digits --workdir runs/npid_digits

Expected: ImageNet, linear probe, 200 epochs: 57.1 % with the exact softmax, 58.5 % with 65536 negatives, 56.5
% with NCE and 4096 negatives (official code). CIFAR-10: weighted k-NN with k = 200, 80.8 % (the paper's table
1). Neither has been trained here yet.
Measured: digits, seed 0, linear probe with 1, 10 and 100 % of the labels: 72.4, 95.6, 98.6 %; before
training 39.4, 74.4, 88.3 %.
Hardware: as for imagenet.py; cifar10.py; digits.py. The bank of ImageNet has 656 MB over all devices, and as
much again in every checkpoint; the exact softmax at batch 256 has 1.3 GB of logits over all devices.

ImageNet: the official code: SGD with 0.03 at batch 256, weight decay 1e-4, 200 epochs; one linear layer to
128 features, temperature 0.07, momentum 0.5 of the rows; crops of at least a fifth, jitter .4, gray .2, no
blur. The exact softmax is the default; the published variants are --config.objective.npid.negatives=65536,
and =4096 with --config.objective.npid.loss=nce.
CIFAR-10: batch 128, weight decay 5e-4, temperature 0.1, no flip.
Differences from the code: its learning rate falls to a tenth at epochs 120 and 160; here it is half a cosine.
Digits, and cifar10_cpu (untried): the base's learning rate and views.
"""

from barlow_jax.config.overrides import adapt_to_data


def imagenet(config):
    method(config)
    use_sgd(config)
    config.network.projector = (128,)
    config.optim.grad_scale = 1.0
    config.optim.weight_decay = 1e-4
    config.train.batch_size = 256


def cifar10(config):
    method(config)
    use_sgd(config)
    config.network.projector = (128,)
    config.objective.npid.temperature = 0.1
    config.optim.weight_decay = 5e-4
    config.train.batch_size = 128
    config.recipe.views.a.flip.probability = 0.0


def small(config):
    method(config)
    config.network.projector = (512, 128)
    config.objective.npid.temperature = 0.1


def method(config):
    config.objective.name = "npid"
    config.objective.scale = 1.0
    config.network.projector_biases = "all"
    with config.unlocked():
        del config.recipe.views["b"]


def use_sgd(config):
    config.optim.name = "sgd"
    config.optim.learning_rate = 0.03
    config.optim.bias_learning_rate = None
    config.optim.warmup_epochs = 0.0
    config.optim.final_scale = 0.0
    config.train.num_epochs = 200.0
    view = config.recipe.views.a
    view.crop.min_area = 0.2
    view.jitter.probability = 1.0
    view.jitter.saturation = view.jitter.hue = 0.4
    view.blur.probability = view.solarize.probability = 0.0


CHANGES = {"imagenet": imagenet, "cifar10": cifar10, "digits": small, "cifar10_cpu": small}


def get_config(data="imagenet"):
    return adapt_to_data(__file__, data, CHANGES)
