"""CIFAR-10 in little time: VICReg on crops of fewer pixels than the images that are evaluated.

Expected: not measured on a GPU. At the 25 600 pairs/s that one H100 makes of 32 pixels, 240 epochs take 8
minutes, and views of 24 pixels should take less.
Measured: `:cpu`, see docs/results.md, "Accuracy per minute", which also has each change on its own.
Hardware: one GPU; `:cpu` two CPU cores, 26 minutes.

    python -m barlow_jax pretrain --config cifar10_fast --workdir runs/cifar10_fast
    python -m barlow_jax pretrain --config cifar10_fast:cpu --workdir runs/cifar10_fast_cpu
    python -m barlow_jax probe --workdir runs/cifar10_fast_cpu

Base: solo-learn's recipe for VICReg, `vicreg:cifar10`; of `:cpu`, `vicreg:cifar10_cpu`. A random crop
enlarges what it shows: with fewer pixels than the evaluated image it shows objects in about the same size
(Touvron et al. 2019). A view of 24 pixels has 0.56 of the operations of one of 32, and one of 16 pixels 0.44
of one of 24.
"""

from barlow_jax.config.overrides import load_sibling


def gpu():
    config = load_sibling(__file__, "vicreg", "cifar10")
    use_crops(config, size=24)
    config.train.num_epochs = 240.0
    config.monitor.every_epochs = 60.0
    return config


def cpu():
    config = load_sibling(__file__, "vicreg", "cifar10_cpu")
    use_crops(config, size=16, min_area=0.25)
    config.data.augment_on, config.data.cache = "device", "decoded"
    config.network.width = 32
    config.optim.learning_rate = 8e-3
    config.optim.warmup_epochs = 0.725
    config.train.num_epochs = 14.5
    config.monitor.every_epochs = 5.0
    return config


def use_crops(config, **settings):
    for view in config.recipe.views.values():
        view.crop.update(settings)


RECIPES = {"gpu": gpu, "cpu": cpu}


def get_config(hardware="gpu"):
    if hardware not in RECIPES:
        raise ValueError(f"cifar10_fast.py does not support {hardware!r}. Use {' or '.join(RECIPES)}.")
    return RECIPES[hardware]()
