"""Preprocessing for released encoders: from the files next to the weights, or by the architecture."""

from collections.abc import Mapping, Sequence
import math
from typing import Any, NamedTuple

from barlow_jax.config.architectures import CONVNEXTS, VITS
from barlow_jax.errors import UserError
from barlow_jax.io import files
from barlow_jax.io.paths import Path

_PILLOW = {2: "bilinear", 3: "bicubic"}  # resampling filters by Pillow's number


class Preprocessing(NamedTuple):
    """Evaluation images: resized, cropped and normalized."""

    image_size: int
    eval_resize: int
    eval_interpolation: str
    mean: Sequence[float]
    std: Sequence[float]

    def apply(self, tree: dict[str, Any]) -> None:
        """Set the keys of a config's tree; images of other channels than 3 keep their normalization."""
        keys = self._asdict()
        normalization = {key: tuple(keys.pop(key)) for key in ("mean", "std")}
        tree["data"] |= keys
        if tree["data"]["channels"] == 3:
            for view in tree["recipe"]["views"].values():
                view["normalize"] |= normalization


def read(weights: Path, names: Sequence[str]) -> tuple[Preprocessing | None, Sequence[str]]:
    """Return the preprocessing, None if unknown, and those of the architectures that the files allow.

    timm's `config.json` has both; Hugging Face's `preprocessor_config.json` the first, and the activation in
    its `config.json` tells CLIP's two architectures apart.

    Raises:
      UserError: such a file is damaged.
    """
    config = _json(weights.with_name("config.json"))
    stored, facts = config.get("pretrained_cfg"), (VITS | CONVNEXTS).get(names[0])
    activation = config.get("hidden_act") or config.get("vision_config", {}).get("hidden_act")
    allowed = [name for name in names if name == config.get("architecture")]
    allowed += [n for n in names if n in VITS and VITS[n].activation == activation and VITS[n].pre_norm]
    if stored:
        size = stored["input_size"][-1]
        found = Preprocessing(
            size,
            math.floor(size / stored["crop_pct"]),
            stored["interpolation"] if stored["interpolation"] in _PILLOW.values() else "bicubic",
            stored["mean"],
            stored["std"],
        )
    elif given := _json(weights.with_name("preprocessor_config.json")):
        resize = _side(given["size"])
        size = _side(given["crop_size"]) if given.get("do_center_crop", "crop_size" in given) else resize
        if "crop_pct" in given:  # ConvNeXt
            resize = math.floor(size / given["crop_pct"])
        method = _PILLOW.get(given.get("resample", 2), "bicubic")
        found = Preprocessing(size, resize, method, given["image_mean"], given["image_std"])
    elif facts is not None:
        size = facts.image_size
        found = Preprocessing(size, math.floor(size / facts.crop), "bicubic", *facts.normalization)
    else:
        found = None
    return found, allowed or names


def _side(size: int | Mapping[str, int]) -> int:
    return size if isinstance(size, int) else size.get("shortest_edge") or size["height"]


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return files.read_json(path)
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}). Remove it, or download it again") from None
