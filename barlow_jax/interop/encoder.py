"""The encoder to export, with the metadata that describes how it was trained."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from barlow_jax.config.architectures import Facts
from barlow_jax.config.recipe import Normalize
from barlow_jax.config.schema import Config
from barlow_jax.interop import layouts
from barlow_jax.networks.encoders import encoder_facts, representation_width


@dataclasses.dataclass(frozen=True)
class TrainedEncoder:
    """An encoder with the configuration, provenance and results of its run.

    Input: uint8 images, or float32 images of values in 0..1, the shorter side resized to
    `config.data.eval_resize` pixels (`config.data.eval_interpolation`, antialiased), then the central
    `image_size` x `image_size` pixels, normalized as (x - mean) / std with the values of `normalize`, where x
    is a uint8 value / 255 or a float32 value.
    """

    config: Config  # configuration of the run; for a file of weights, the one that it is exported with
    params: Mapping[str, Any]  # {"encoder": nested dict of float32 NumPy arrays}
    batch_stats: Mapping[str, Any]  # {"encoder": running means and variances}; {} without BatchNorm
    step: int  # number of updates; -1 if unknown (file of weights)
    provenance: Sequence[Mapping[str, Any]] = ()  # entries returned by `provenance.read`
    # Contents of results/<name>.json, by name.
    results: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    license: str = "other"  # licence identifier of the Hugging Face Hub, chosen by the owner of the weights

    @property
    def name(self) -> str:
        """Value of `config.network.encoder`."""
        return self.config.network.encoder

    @property
    def facts(self) -> Facts | None:
        """Facts about the architecture; None for an encoder of the user's own."""
        return encoder_facts(self.config.network)

    def tensors(self, format: str) -> dict[str, np.ndarray]:
        """Return the state dict in a format of `layout_tables`.

        Raises:
          UserError: the format has no such encoder.
        """
        return layouts.write(self.facts, format, self.params["encoder"], self.batch_stats.get("encoder", {}))

    @property
    def num_features(self) -> int:
        """Width H of the representation."""
        return representation_width(self.config.network, **self.config.data.image)

    @property
    def normalize(self) -> Normalize:
        """Normalization of view a, which the evaluations use too, with a number for each channel."""
        op, channels = self.config.recipe.views["a"].normalize, self.config.data.channels
        return Normalize(*(values * (channels // len(values)) for values in (op.mean, op.std)))

    @property
    def image_size(self) -> int:
        """Side length of the input in pixels."""
        return self.config.data.image_size

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of an image, `[image_size, image_size, C]`."""
        return self.image_size, self.image_size, self.config.data.channels

    @property
    def pixels(self) -> str:
        """Pixel values that the encoder takes, in words."""
        name = self.config.data.pixel_dtype
        return "uint8 pixel values" if name == "uint8" else "float32 values in 0..1 (config.data.value_range)"
