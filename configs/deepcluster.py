"""DeepCluster-v2 (Caron et al. 2020): predict clusters of the embeddings of an epoch ago.

    python -m barlow_jax pretrain --config deepcluster --workdir runs/deepcluster
    python -m barlow_jax pretrain --config deepcluster:cifar10 --workdir runs/deepcluster_cifar10
    python -m barlow_jax pretrain --config deepcluster:digits --workdir runs/deepcluster_digits
    python -m barlow_jax pretrain --config deepcluster:sela_imagenet --workdir runs/sela
    python -m barlow_jax pretrain --config deepcluster:classifier_imagenet --workdir runs/deepcluster_2018

Expected, linear probe: ImageNet 75.2 % top-1 after 800 epochs with 2 + 6 views, 70.2 % after 400 with two;
CIFAR-10 88.85 %, CIFAR-100 63.61 % (solo-learn, ResNet-18). Neither has been trained here yet.
Measured: digits, seed 0, linear probe with 1, 10 and 100 % of the labels: 79.3, 97.0, 98.6 %; before
training 39.4, 74.4, 88.3 %.
Hardware: as for swav.py. Two memory banks of ImageNet have 1.3 GB over all devices and in every checkpoint;
k-means takes 29 TFLOP an epoch.

ImageNet: the official code (in SwAV's repository): SwAV's views, head and optimizer; LARS 4.8 at batch 4096,
weight decay 1e-6, 10 warm-up epochs from 0.3, final rate 0.0048; three clusterings of 3000 clusters.
CIFAR-10: solo-learn's recipe for SwAV with that head, untested.
SeLa's assignments, `sela_imagenet` and so on: clusters of equal size by Sinkhorn-Knopp over the whole memory.
SwAV's authors report 71.8 % for their SeLa-v2 with 2 + 6 views. Its code is not published: this recipe with
SwAV's epsilon, 0.05, is an untested guess.
The classifier of DeepCluster (2018), `classifier_imagenet` and so on: one clustering, and a linear classifier
that starts again after each clustering, with the official learning rate of 0.05 per 256 images and, on
ImageNet, 10 000 clusters; everything else is DeepCluster-v2's. The paper has results with AlexNet only.
Digits, and cifar10_cpu (untried): 100 clusters for 1437 images; learning rate and views of the base.
"""

from barlow_jax.config.overrides import adapt_to_data, load_sibling


def imagenet(config):
    use_swav(config, "imagenet")


def cifar10(config):
    use_swav(config, "cifar10")
    config.objective.deepcluster.clusters = 1000


def small(config):
    method(config)
    config.network.projector = (512, 128)
    config.objective.deepcluster.clusters = 100


def use_swav(config, data):
    """Use the views, head and optimizer of SwAV's config."""
    with config.unlocked():
        config.update(load_sibling(__file__, "swav", data))
    config.network.prototypes = 0
    method(config)


def method(config):
    config.objective.name = "deepcluster"
    config.objective.scale = 1.0
    config.network.projector_biases = "all"


def use_sela(config):
    config.objective.deepcluster.sinkhorn_epsilon = 0.05


def use_classifier(config):
    config.objective.deepcluster.classifier_learning_rate = 0.05
    config.objective.deepcluster.heads = 1
    if config.objective.deepcluster.clusters == 3000:  # ImageNet's
        config.objective.deepcluster.clusters = 10000


CHANGES = {"imagenet": imagenet, "cifar10": cifar10, "digits": small, "cifar10_cpu": small}


def get_config(data="imagenet"):
    return adapt_to_data(__file__, data, CHANGES, {"sela": use_sela, "classifier": use_classifier})
