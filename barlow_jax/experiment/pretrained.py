"""A trained encoder as a function, for programs of one's own.

    from barlow_jax.experiment.pretrained import load
    encoder = load("DIR")
    features = encoder(images)  # [B, height, width, 3] uint8 -> [B, H] float32

DIR is a run's workdir, one of its checkpoints (`DIR/checkpoints/STEP`), an encoder folder (of `export --format orbax` or
`import`), or a file of released weights in torchvision's layout (`.safetensors`; `.pth` where torch is installed).
What Orbax alone restores of a folder, without this package, is in `barlow_jax/interop/export_orbax.py`.
"""

from collections.abc import Callable, Iterable
import dataclasses
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from barlow_jax.augment.views import normalize
from barlow_jax.config import overrides, schema as config_lib
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.experiment import encoders
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.networks.encoders import representation_width
from barlow_jax.papers.scores import PRETRAINED
from barlow_jax.workdir import saved_run


def load(
    path: str | pathlib.Path, *, devices: Iterable[jax.Device] | None = None, dtype: str | None = None
) -> "Encoder":
    """Reads an encoder onto devices.

    Args:
      path: as above. Of a run the newest good checkpoint.
      devices: that hold the arrays and share the rows of a batch; None: all of this process. Of a mesh of one's own:
        `mesh.devices.flat`.
      dtype: of the computation, "float32" or "bfloat16"; None: the run's own, float32 of a file's weights.

    Raises:
      UserError: there is no encoder, or it is damaged; says what to do.
    """
    brought = encoders.describe(str(path), "load")
    if "data" in brought:
        tree, problems = saved_run.with_defaults(brought)
    else:  # a file, whose images are taken to be ImageNet's
        tree, problems = overrides.default_config().to_dict(), []
        tree["network"] |= brought["network"] | {"dtype": "float32"}
    config, more = overrides.from_tree(tree)
    if problems or more:
        raise UserError("\n  ".join([f"{path}: its config is not of this version:", *problems, *more]))
    network = dataclasses.replace(config.network, dtype=dtype or config.network.dtype)
    # How a run was laid out on its own devices says nothing of these.
    mesh = config_lib.Mesh(slices=1, projector="replicated")
    config = dataclasses.replace(config, network=network, mesh=mesh)
    experiment = Experiment.of(config, list(jax.local_devices() if devices is None else devices))
    state = experiment.encoder_state(pathlib.Path(path), PRETRAINED)
    return Encoder(
        config, state.params["encoder"], state.batch_stats.get("encoder", {}), state.step, experiment
    )


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Images to representations, the running statistics frozen."""

    config: Config  # of the run; of a file the defaults, those of ImageNet
    params: Any  # nested dict of float32 arrays, on every device
    batch_stats: Any  # likewise: running means and variances; {} without BatchNorm
    step: int  # updates that it has seen; -1 where the file does not say
    _experiment: Experiment = dataclasses.field(repr=False)

    @property
    def width(self) -> int:
        """H, of a representation."""
        return representation_width(self.config.network)

    @property
    def image_size(self) -> int:
        """Pixels a side that it was made for: the centre of an image whose shorter side was resized to
        `config.data.eval_resize`. A ResNet takes others too, a vision transformer these alone."""
        return self.config.data.image_size

    def __call__(self, images: jax.typing.ArrayLike) -> jax.Array:
        """The representations of images, however many.

        Args:
          images: `[B, height, width, 3]` uint8 levels; they are normalised here, as in pretraining. Within a function
            that jax transforms, the arrays of the encoder are constants of it; `apply` takes them as an argument.

        Returns:
          `[B, H]` float32, whole on each of the encoder's devices.

        Raises:
          ValueError: images of another shape or type; names both.
        """
        _check(images)
        if isinstance(images, jax.core.Tracer):
            return self.apply(jax.device_get(self.params), images)
        batch = self._experiment.layout.batch
        missing = -len(images) % batch.num_devices
        pad = jnp.pad if isinstance(images, jax.Array) else np.pad  # stays on the devices if it is there
        padded = pad(images, ((0, missing), *((0, 0),) * 3), mode="edge")
        return self._jitted(self.params, jax.device_put(padded, batch))[: len(images)]

    def apply(self, params: Any, images: jax.Array) -> jax.Array:
        """The same of other parameters, for `jax.jit` and `jax.grad`, where the caller lays out what goes in.

        Args:
          params: as `self.params`, moved or trained on.
          images: `[B, height, width, 3]` uint8 levels.

        Returns:
          `[B, H]` float32. The running statistics stay what they are.
        """
        _check(images)
        stats = {"encoder": jax.device_get(self.batch_stats)} if self.batch_stats else {}
        levels = normalize(images, self.config.recipe.views["a"].normalize)
        return self._experiment.headless.encode({"encoder": params}, stats, levels).astype("float32")

    @functools.cached_property
    def _jitted(self) -> Callable[..., jax.Array]:
        return jax.jit(self.apply, out_shardings=self._experiment.layout.replicated)


def _check(images: Any) -> None:
    shape, dtype = np.shape(images), getattr(images, "dtype", type(images).__name__)
    if len(shape) != 4 or shape[-1] != 3 or 0 in shape or dtype != np.uint8:
        raise ValueError(
            f"images: needs [B, height, width, 3] uint8 levels 0..255, got {list(shape)} {dtype}"
        )
