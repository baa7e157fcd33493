"""SIGReg, the loss of LeJEPA (Balestriero, LeCun 2025): align views, make embeddings an isotropic Gaussian.

    python -m barlow_jax pretrain --config sigreg --workdir runs/sigreg
    python -m barlow_jax pretrain --config sigreg:cifar10 --workdir runs/sigreg_cifar10
    python -m barlow_jax pretrain --config sigreg:digits --workdir runs/sigreg_digits

Expected: no published number for these recipes. LeJEPA: ViT-S/8 on Imagenette 90.7 % (online linear probe,
800 epochs).
Measured: digits, seed 0, linear probe with 1, 10 and 100 % of the labels: 86.9, 98.6, 99.7 %; before
training 39.4, 74.4, 88.3 %.
Hardware: as for imagenet.py; cifar10.py; digits.py.

ImageNet: what the authors recommend for ResNets (README of their code): two views of 224 pixels (30 to 100 %
of the area) and six of 98 pixels (5 to 30 %), AdamW with 5e-4 and weight decay 5e-4, cosine to a thousandth.
The head is that of their minimal example, 2048-2048-128; its warm-up of one epoch and batch of 256 too. The
jitter is Barlow Twins', which is theirs. Untested here.
CIFAR-10: solo-learn's recipe for Barlow Twins with that head and optimizer, an untested guess.
The weight lambda is 0.05, and 0.02 on small data, as recommended. The projections are those of the global
batch; the authors' code draws them on every GPU, from one seed.
Digits, and cifar10_cpu (untried): the head's last width and the learning rate of the base.
"""

from barlow_jax.config.overrides import adapt_to_data


def imagenet(config):
    method(config)
    use_adam(config)
    config.optim.grad_scale = 1.0
    config.network.projector = (2048, 2048, 128)
    for view in config.recipe.views.values():
        view.crop.min_area = 0.3
        view.blur.probability, view.solarize.probability = 0.5, 0.2
    with config.unlocked():
        for name in "cdefgh":
            view = config.recipe.views[name] = config.recipe.views.a.copy_and_resolve_references()
            view.crop.min_area, view.crop.max_area, view.crop.size = 0.05, 0.3, 98


def cifar10(config):
    method(config)
    use_adam(config)
    config.network.projector = (2048, 2048, 128)
    config.objective.sigreg.weight = 0.02


def small(config):
    method(config)
    config.network.projector = (512, 512, 64)
    config.objective.sigreg.weight = 0.02


def method(config):
    config.objective.name = "sigreg"
    config.objective.scale = 1.0
    config.network.projector_biases = "all"


def use_adam(config):
    config.optim.name = "adamw"
    config.optim.learning_rate = 5e-4
    config.optim.bias_learning_rate = None
    config.optim.weight_decay = 5e-4
    config.optim.warmup_epochs = 1.0
    config.optim.final_scale = 1e-3
    config.train.batch_size = 256


CHANGES = {"imagenet": imagenet, "cifar10": cifar10, "digits": small, "cifar10_cpu": small}


def get_config(data="imagenet"):
    return adapt_to_data(__file__, data, CHANGES)
