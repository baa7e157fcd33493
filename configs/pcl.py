"""PCL v2 (Li et al. 2021): MoCo v2, and the clusters of all images among other clusters.

    python -m barlow_jax pretrain --config pcl --workdir runs/pcl
    python -m barlow_jax pretrain --config pcl:cifar10 --workdir runs/pcl_cifar10
    python -m barlow_jax pretrain --config pcl:digits --workdir runs/pcl_digits

Expected, linear probe: ImageNet 67.6 % top-1 after 200 epochs (the official README). CIFAR-10: not
published.
Measured: digits, 20 epochs, linear probe with 10 % of the labels: 91.1 % (untrained 74.9 %; docs/results.md).
Hardware: as for moco.py. The memory of ImageNet has 656 MB over all devices and in every checkpoint; k-means
with 175 000 clusters takes 1.1 PFLOP in float32 after each epoch, 3 % of those of the epoch itself.

ImageNet: the official code (--mlp --aug-plus --cos): views, head and SGD of moco.py; 25 000, 50 000 and
100 000 clusters, of which 16 384 are sampled as negatives; a queue of 16 384 keys; 20 epochs without
clusters; 200 epochs. Differences from the code: objectives/pcl.py.
CIFAR-10: moco.py's recipe with 250, 500 and 1000 clusters; untested.
Digits, and cifar10_cpu (untried): 50, 100 and 200 clusters for 1437 images, from epoch 10; learning rate and
views of the base.
"""

from barlow_jax.config.overrides import adapt_to_data, load_sibling


def imagenet(config):
    use_moco(config, "imagenet")
    config.train.num_epochs = 200.0


def cifar10(config):
    use_moco(config, "cifar10")
    config.objective.pcl.clusters = (250, 500, 1000)
    config.objective.pcl.target_momentum = 0.99


def small(config):
    method(config)
    config.network.projector = (512, 128)
    config.network.projector_batch_norm = False
    config.network.projector_biases = "all"
    config.objective.pcl.clusters = (50, 100, 200)
    config.objective.pcl.warmup_epochs = 10.0
    config.objective.pcl.target_momentum = 0.99
    config.objective.pcl.queue_size = 1024


def use_moco(config, data):
    """Use the views, head and optimizer of MoCo's config."""
    with config.unlocked():
        config.update(load_sibling(__file__, "moco", data))
    method(config)


def method(config):
    config.objective.name = "pcl"
    config.objective.scale = 1.0


CHANGES = {"imagenet": imagenet, "cifar10": cifar10, "digits": small, "cifar10_cpu": small}


def get_config(data="imagenet"):
    return adapt_to_data(__file__, data, CHANGES)
