"""Trained encoder as a function, for use in other Python programs.

    from barlow_jax import load
    encoder = load("DIR")
    features = encoder(images)  # [B, height, width, C] -> [B, H] float32

DIR is a run's workdir, one of its checkpoints (`DIR/checkpoints/STEP`), an encoder folder (from `export
--format orbax` or `import`), or a file of released weights (`.safetensors`; `.pth` if
torch is installed). `barlow_jax/interop/export_orbax.py` describes how Orbax restores such a folder without
this package.
"""

from collections.abc import Callable, Iterable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.augment.views import normalize
from barlow_jax.config import overrides
from barlow_jax.config.schema import Config, Mesh
from barlow_jax.errors import UserError
from barlow_jax.experiment import encoders
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.interop import torch_module
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.io import paths
from barlow_jax.io.paths import Path, PathLike
from barlow_jax.networks.encoders import representation_width
from barlow_jax.papers.scores import PRETRAINED


def load(
    path: PathLike, *, devices: Iterable[jax.Device] | None = None, dtype: str | None = None
) -> "Encoder":
    """Read an encoder onto devices.

    Args:
      path: one of the forms above. A run's newest intact checkpoint is loaded.
      devices: devices that hold the arrays and split the rows of a batch; None = all of this process. For an
        existing mesh, pass `mesh.devices.flat`.
      dtype: dtype of the computation, "float32" or "bfloat16"; None = that of the run, or float32 for a file.

    Returns:
      The encoder, a function from `[B, height, width, C]` images to `[B, H]` features.

    Raises:
      UserError: the encoder is missing or damaged.
    """
    tree, problems = encoders.describe(paths.text(path), "load"), []
    if "data" not in tree:  # a file; without preprocessing of its own, assume that its images were ImageNet's
        file, tree = tree, overrides.default_config().to_dict()
        problems = encoders.adopt(tree, file)
        tree["network"]["dtype"] = "float32"
    config, more = overrides.from_tree(tree)
    if problems or more:
        raise UserError("\n  ".join([f"The config of {path} is not of this version:", *problems, *more]))
    network = dataclasses.replace(config.network, dtype=dtype or config.network.dtype)
    # The run's layout applies to its own devices, not to these.
    mesh = Mesh(slices=1, projector="replicated")
    config = dataclasses.replace(config, network=network, mesh=mesh)
    experiment = Experiment.from_config(config, list(jax.local_devices() if devices is None else devices))
    state = experiment.encoder_state(Path(path), PRETRAINED)
    stats = state.batch_stats.get("encoder", {})
    return Encoder(config, state.params["encoder"], stats, state.step, experiment)


def to_torch(run: Any) -> Any:
    """Return an encoder as a torch module, where torch, torchvision and timm are installed.

        module = barlow_jax.to_torch("runs/digits")
        features = module(images)  # [B, C, height, width] -> [B, H]

    Args:
      run: what `load` takes, or an object that has it as `workdir`.

    Returns:
      `torch.nn.Module` in evaluation mode and float32. It takes uint8 pixel values, or floats in 0..1, and
      contains the normalization. A ResNet is torchvision's (`module.encoder`), any other encoder timm's.

    Raises:
      UserError: the encoder or a package is missing, or no package has such a model.
    """
    encoder = load(getattr(run, "workdir", run), devices=jax.local_devices()[:1])
    arrays = jax.device_get((encoder.params, encoder.batch_stats))
    trees = ({"encoder": tree} if tree else {} for tree in arrays)
    return torch_module.build(TrainedEncoder(encoder.config, *trees, encoder.step))


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Function from images to representations, with frozen running statistics."""

    config: Config  # config of the run; for a file the defaults, those of ImageNet
    params: Any  # nested dict of float32 arrays, on every device
    batch_stats: Any  # running means and variances, on every device; {} without BatchNorm
    step: int  # updates that it was trained for; -1 if a file does not contain the number
    _experiment: Experiment = dataclasses.field(repr=False)

    @property
    def width(self) -> int:
        """Width H of a representation."""
        return representation_width(self.config.network, **self.config.data.image)

    @property
    def image_size(self) -> int:
        """Pixels per side of an input image.

        Images are the center of an image whose shorter side was resized to `config.data.eval_resize`, turned
        upright before (Pillow: `ImageOps.exif_transpose`) if `config.data.follow_exif`. A ResNet accepts
        other sizes too, a vision transformer does not.
        """
        return self.config.data.image_size

    def __call__(self, images: jax.typing.ArrayLike) -> jax.Array:
        """Return the representations of any number of images.

        Args:
          images: `[B, height, width, C]` uint8 pixel values, or float32 values in 0..1 if
            `config.data.pixel_dtype` is float32, normalized here as in pretraining. Inside a function that
            jax transforms, the encoder's arrays become constants; `apply` takes them as an argument instead.

        Returns:
          `[B, H]` float32, whole on each of the encoder's devices.

        Raises:
          ValueError: the images have another shape or dtype.
        """
        self._check(images)
        if isinstance(images, jax.core.Tracer):
            return self.apply(jax.device_get(self.params), images)
        batch = self._experiment.layout.batch
        missing = -len(images) % batch.num_devices
        pad = jnp.pad if isinstance(images, jax.Array) else np.pad  # keeps arrays on the devices
        padded = pad(images, ((0, missing), *((0, 0),) * 3), mode="edge")
        return self._jitted(self.params, jax.device_put(padded, batch))[: len(images)]

    def apply(self, params: Any, images: jax.Array) -> jax.Array:
        """Return the representations for given parameters.

        For use in `jax.jit` and `jax.grad`, where the caller places the inputs.

        Args:
          params: tree like `self.params`, for example after fine-tuning.
          images: as above.

        Returns:
          `[B, H]` float32. The running statistics stay frozen.
        """
        self._check(images)
        stats = {"encoder": jax.device_get(self.batch_stats)} if self.batch_stats else {}
        pixels = normalize(images, self.config.recipe.views["a"].normalize)
        return self._experiment.encoder_network.encode({"encoder": params}, stats, pixels).astype("float32")

    @functools.cached_property
    def _jitted(self) -> Callable[..., jax.Array]:
        return jax.jit(self.apply, out_shardings=self._experiment.layout.replicated)

    def _check(self, images: Any) -> None:
        data, shape = self.config.data, np.shape(images)
        dtype = getattr(images, "dtype", type(images).__name__)
        if len(shape) != 4 or shape[-1] != data.channels or 0 in shape or dtype != np.dtype(data.pixel_dtype):
            values = "pixel values 0..255" if data.pixel_dtype == "uint8" else "values in 0..1"
            raise ValueError(
                f"images: needs [B, height, width, {data.channels}] {data.pixel_dtype} {values}, got "
                f"{list(shape)} {dtype}"
            )
