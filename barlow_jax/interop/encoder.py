"""What is exported: an encoder at rest, and what its files say of how it came to be."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from barlow_jax.config.recipe import Normalize
from barlow_jax.config.schema import Config
from barlow_jax.networks.encoders import width_of
from barlow_jax.networks.resnet import ENCODERS


@dataclasses.dataclass(frozen=True)
class Trained:
    """An encoder, and its run.

    What it expects: uint8 levels, the shorter side resized to `eval_resize` pixels (bilinear, antialiased), the
    central `image_size` of them, (level / 255 - mean) / std by `normalize`.
    """

    config: Config  # of the run; of a file, the config that it is exported with
    params: Mapping[str, Any]  # {"encoder": nested dict of float32 NumPy arrays}
    batch_stats: Mapping[str, Any]  # likewise: running means and variances; {} without BatchNorm
    step: int  # updates that it has seen; -1 where a file does not say
    provenance: Sequence[Mapping[str, Any]] = ()  # as `provenance.read` gives it
    # The contents of results/<name>.json, by name.
    results: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    license: str = "other"  # of the model card, as the Hugging Face Hub spells it; the owner's to say

    @property
    def name(self) -> str:
        """A key of `resnet.ENCODERS` or of `vit.SIZES`."""
        return self.config.network.encoder

    @property
    def is_resnet(self) -> bool:
        return self.name in ENCODERS

    @property
    def num_features(self) -> int:
        """H, the width of the representation."""
        return width_of(self.config.network)

    @property
    def normalize(self) -> Normalize:
        """As the evaluations have it: that of view a."""
        return self.config.recipe.views["a"].normalize

    @property
    def image_size(self) -> int:
        """Pixels a side that the encoder is given."""
        return self.config.data.image_size

    @property
    def eval_resize(self) -> int:
        """Pixels of the shorter side before the central crop."""
        return self.config.data.eval_resize
