"""Barlow Twins on CIFAR-10 with a small ResNet: a visible result in 20 minutes on two CPU cores.

Expected and measured: see docs/results.md, "CIFAR-10 on two CPU cores".
Hardware: two CPU cores, no accelerator.

    python -m barlow_jax pretrain --config cifar10_cpu --workdir runs/cifar10_cpu
    python -m barlow_jax evaluate --workdir runs/cifar10_cpu
"""

from barlow_jax.config.overrides import load_sibling


def get_config():
    config = load_sibling(__file__, "cifar10")
    config.data.image_size = config.data.eval_resize = 24  # not 32: twice the epochs in the same time
    config.data.augment_on, config.data.cache = "host", "none"
    config.network.encoder = "resnet8"
    config.network.width = 16
    config.network.projector = (512, 512)
    config.network.dtype = "float32"  # two cores have no bfloat16
    config.objective.scale = 1.0

    config.optim.name = "adamw"
    config.optim.learning_rate = 4e-3
    config.optim.warmup_epochs = 0.5
    config.train.batch_size = 128
    config.train.num_epochs = 12.0
    config.train.log_every_steps = 100
    config.checkpoint.every_epochs = 1.0
    config.checkpoint.keep_every_epochs = None
    config.monitor.every_epochs = 2.0
    config.monitor.max_images = 10_000
    config.probe.num_epochs = 20
    return config
