"""Facts about ResNets, vision transformers and ConvNeXts, by timm's names of the architectures."""

from typing import Literal, NamedTuple

# Mean and std of the pixel values that an encoder was trained with.
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
Normalization = tuple[tuple[float, float, float], tuple[float, float, float]]


class ResNetFacts(NamedTuple):
    """Facts about a ResNet."""

    blocks: tuple[int, ...]  # per stage
    bottleneck: bool = False  # blocks of 1x1, 3x3 and 1x1 convolutions, with 4 times the channels at the end
    width: int = 64  # channels of the first stage; 64, 128, 256 are the papers' x1, x2, x4
    stem: str = "imagenet"  # "imagenet" (7x7/2, max-pool 3x3/2) or "cifar" (3x3/1)

    @property
    def features(self) -> int:
        """Width H of the representation."""
        return self.width * 2 ** (len(self.blocks) - 1) * (4 if self.bottleneck else 1)


class VitFacts(NamedTuple):
    """Facts about a vision transformer and the images that it was trained with."""

    width: int  # H, width of the tokens
    blocks: int
    heads: int
    patch: int = 16  # side of a patch in pixels
    image_size: int = 224
    hidden: int = 0  # hidden units of an MLP; 0 = 4 H
    registers: int = 0  # tokens between the class token and the patches
    layer_scale: bool = False
    pre_norm: bool = False  # LayerNorm before the first block, and patches without a bias (CLIP)
    activation: Literal["gelu", "quick_gelu", "swiglu"] = "gelu"
    biases: Literal["qkv", "qv", "none"] = "qkv"  # attention inputs that have a bias
    epsilon: float = 1e-6  # of every LayerNorm
    positions: Literal["learned", "rotary", "sincos"] = "learned"
    pool: Literal["token", "avg"] = "token"
    crop: float = 0.875  # side of the evaluation crop / side of the resized image
    normalization: Normalization = _IMAGENET

    @property
    def features(self) -> int:
        """Width H of the representation."""
        return self.width


class ConvNextFacts(NamedTuple):
    """Facts about a ConvNeXt and the images that it was trained with."""

    blocks: tuple[int, ...]  # per stage
    widths: tuple[int, ...]
    grn: bool = False  # version 2: global response normalization instead of LayerScale
    image_size: int = 224
    crop: float = 0.875
    normalization: Normalization = _IMAGENET

    @property
    def features(self) -> int:
        """Width H of the representation."""
        return self.widths[-1]


Facts = ResNetFacts | VitFacts | ConvNextFacts
# ResNet-8 and -10 are for CPUs.
RESNETS = {
    "resnet8": ResNetFacts((1, 1, 1)),
    "resnet10": ResNetFacts((1, 1, 1, 1)),
    "resnet18": ResNetFacts((2, 2, 2, 2)),
    "resnet34": ResNetFacts((3, 4, 6, 3)),
    "resnet50": ResNetFacts((3, 4, 6, 3), bottleneck=True),
    "resnet101": ResNetFacts((3, 4, 23, 3), bottleneck=True),
    "resnet152": ResNetFacts((3, 8, 36, 3), bottleneck=True),
    "resnet200": ResNetFacts((3, 24, 36, 3), bottleneck=True),
}
_SIZES = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
    "giant": (1536, 40, 24),
}
_PLAIN = "tiny16 small32 small16 small8 base32 base16 base8 large32 large16 large14 huge14"
_CLIPS = "base32 base16 large14 huge14"
_DINOV3 = {
    **{f"{size}": (*_SIZES[size], 16, 256, 0) for size in ("tiny", "small", "base", "large")},
    "small_plus": (384, 12, 6, 16, 256, 1536),
    "huge_plus": (1280, 32, 20, 16, 256, 5120),
    "7b": (4096, 40, 32, 16, 256, 8192),
}


def _vits() -> dict[str, VitFacts]:
    vits = {f"vit_{size}": VitFacts(*_SIZES[size], positions="sincos") for size in ("tiny", "small", "base")}
    for text in _PLAIN.split():
        size, patch = text.rstrip("0123456789"), int(text.lstrip("abcdefghijklmnopqrstuvwxyz"))
        vits[f"vit_{size}_patch{patch}_224"] = VitFacts(*_SIZES[size], patch)
        if text in _CLIPS.split():
            facts = VitFacts(*_SIZES[size], patch, pre_norm=True, epsilon=1e-5, crop=1, normalization=_CLIP)
            vits[f"vit_{size}_patch{patch}_clip_224"] = facts
            vits[f"vit_{size}_patch{patch}_clip_quickgelu_224"] = facts._replace(activation="quick_gelu")
    for size in ("small", "base", "large", "giant"):
        facts = VitFacts(*_SIZES[size], 14, 518, layer_scale=True, crop=1)
        if size == "giant":
            facts = facts._replace(activation="swiglu", hidden=4096)
        vits[f"vit_{size}_patch14_dinov2"] = facts
        vits[f"vit_{size}_patch14_reg4_dinov2"] = facts._replace(registers=4)
    for size, numbers in _DINOV3.items():
        facts = VitFacts(*numbers, registers=4, layer_scale=True, epsilon=1e-5, pool="avg", crop=1)
        facts = facts._replace(
            positions="rotary", biases="none", activation="swiglu" if numbers[-1] else "gelu"
        )
        if size != "tiny":
            vits[f"vit_{size}_patch16_dinov3"] = facts
        if size != "7b":
            vits[f"vit_{size}_patch16_dinov3_qkvb"] = facts._replace(biases="qv")
    return vits


def _convnexts() -> dict[str, ConvNextFacts]:
    first = {"atto": 40, "femto": 48, "pico": 64, "nano": 80, "tiny": 96, "small": 96, "base": 128}
    depths = {"tiny": 9} | dict.fromkeys(("atto", "femto", "pico"), 6) | {"nano": 8}
    convnexts: dict[str, ConvNextFacts] = {}
    for size, width in (first | {"large": 192, "xlarge": 256, "huge": 352}).items():
        outer = 2 if depths.get(size, 9) < 9 else 3
        facts = ConvNextFacts(
            (outer, outer, depths.get(size, 27), outer), (width, 2 * width, 4 * width, 8 * width)
        )
        convnexts |= {f"convnext_{size}": facts} if size != "huge" else {}
        convnexts |= {f"convnextv2_{size}": facts._replace(grn=True)} if size != "xlarge" else {}
    return convnexts


VITS = _vits()
CONVNEXTS = _convnexts()
