"""Properties of an encoder record against the figures of the papers."""

from barlow_jax.config.schema import Config, Network
from barlow_jax.interop.encoder import TrainedEncoder


def _trained(**network):
    return TrainedEncoder(Config(network=Network(**network)), {"encoder": {}}, {}, 7)


def test_the_papers_encoder():
    trained = _trained()
    assert (trained.name, trained.num_features) == ("resnet50", 2048)
    assert trained.image_size == 224
    assert (trained.normalize.mean, trained.normalize.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (trained.facts.width, trained.facts.stem) == (64, "imagenet")


def test_a_transformer_is_no_resnet():
    trained = _trained(encoder="vit_small")
    assert trained.num_features == 384 and trained.facts.patch == 16
