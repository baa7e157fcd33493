"""Rules on image sizes, patches, and the layout of the mesh."""

from collections.abc import Iterator

from barlow_jax.config.architectures import CONVNEXTS, RESNETS, VITS
from barlow_jax.config.schema import Config, Network

# Pixels of the image per output pixel of the stem; each stage after the first halves the size again.
_STEM_STRIDE = {"imagenet": 4, "cifar": 1}


def image_size_problems(config: Config) -> Iterator[str]:
    """Yield images too small for an encoder, or larger than the images that they are cropped from."""
    network, data = config.network, config.data
    sizes: dict[str, int | None] = {"data.image_size": data.image_size}
    sizes |= {f"recipe.views.{name}.crop.size": view.crop.size for name, view in config.recipe.views.items()}
    sizes |= {f"train.image_sizes[{i}]": size for i, size in enumerate(config.train.image_sizes)}
    second = None if network.reads_text else network.second_encoder
    for key, size in sizes.items():
        if size is not None:
            for encoder in dict.fromkeys((network.encoder, second or network.encoder)):
                yield from (f"config.{key} is {size}, but {p}" for p in _too_small(network, encoder, size))
    if data.image_size > data.eval_resize:
        yield (
            f"config.data.image_size is {data.image_size}, but images are resized to "
            f"config.data.eval_resize = {data.eval_resize} before they are cropped. Use a larger eval_resize."
        )
    yield from _progressive_problems(config)


def _progressive_problems(config: Config) -> Iterator[str]:
    sizes, size = config.train.image_sizes, config.data.image_size
    if not sizes:
        return
    if sizes[-1] != size or max(sizes) > size:
        yield (
            f"config.train.image_sizes is {','.join(map(str, sizes))}, but must end with "
            f"config.data.image_size = {size}, and have no larger size."
        )
    if config.network.encoder in VITS:
        yield (
            f"config.train.image_sizes needs an encoder for any size, but the positions of "
            f"{config.network.encoder} are those of one size. Use a ResNet or a ConvNeXt, or leave it empty."
        )


def _too_small(network: Network, encoder: str, size: int) -> Iterator[str]:
    if facts := VITS.get(encoder):
        named, patch = facts.positions != "sincos", facts.patch
        patch = patch if named else network.patch
        if patch > 0 and size % patch:
            yield f"must be divisible by {'' if named else 'config.network.patch = '}{patch} for {encoder}."
        return
    if resnet := RESNETS.get(encoder):
        smallest = _STEM_STRIDE[network.stem] * 2 ** (len(resnet.blocks) - 1)
        stem = f" with the {network.stem} stem"
    else:
        stem, smallest = "", 32 if encoder in CONVNEXTS else 0
    if size < smallest:
        yield f"{encoder}{stem} needs {smallest} pixels or more."


def mesh_problems(config: Config, num_devices: int | None) -> Iterator[str]:
    """Yield slices and projector widths that the devices cannot be divided into."""
    slices = config.mesh.slices or 1
    if num_devices is None or slices < 1:
        return
    if num_devices % slices:
        yield f"config.mesh.slices is {slices}, but must divide the {num_devices} devices."
    elif config.mesh.projector == "sharded":
        if config.network.head != "mlp":
            yield (
                f"config.mesh.projector is sharded, but config.network.head is {config.network.head}, which "
                "is replicated. Use auto or replicated."
            )
        per_slice = num_devices // slices
        for width in dict.fromkeys(config.network.projector):
            if width % per_slice:
                yield (
                    f"config.mesh.projector is sharded, but the width {width} of config.network.projector is "
                    f"not divisible by the {per_slice} devices of a slice. Use replicated, or another width."
                )
