"""Data sets that a config file takes as its argument, such as `cifar10:cifar100` and `vicreg:stl10`.

Each is normalized as in the code that its published numbers come from, and otherwise follows the recipe of
CIFAR-10 (small images) or of ImageNet.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

import ml_collections

from barlow_jax.config.recipe import IMAGENET_MEAN, IMAGENET_STD

# Mean and std of each channel, from solo-learn's code, and from W-MSE's.
_CIFAR100_PIXELS = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
_STL10_PIXELS = (0.43, 0.42, 0.39), (0.27, 0.26, 0.27)
_TINY_PIXELS = (0.480, 0.448, 0.398), (0.277, 0.269, 0.282)
# ImageNet-100: the classes of Tian et al. 2020 (`imagenet100.txt` of CMC), which solo-learn uses too.
_IMAGENET100 = """
01558993 01692333 01729322 01735189 01749939 01773797 01820546 01855672 01978455 01980166 01983481 02009229
02018207 02085620 02086240 02086910 02087046 02089867 02089973 02090622 02091831 02093428 02099849 02100583
02104029 02105505 02106550 02107142 02108089 02109047 02113799 02113978 02114855 02116738 02119022 02123045
02138441 02172182 02231487 02259212 02326432 02396427 02483362 02488291 02701002 02788148 02804414 02859443
02869837 02877765 02974003 03017168 03032252 03062245 03085013 03259280 03379051 03424325 03492542 03494278
03530642 03584829 03594734 03637318 03642806 03764736 03775546 03777754 03785016 03787032 03794056 03837869
03891251 03903868 03930630 03947888 04026417 04067472 04099969 04111531 04127249 04136333 04229816 04238763
04336792 04418357 04429376 04435653 04485082 04493381 04517823 04589890 04592741 07714571 07715103 07753275
07831146 07836838 13037406 13040303
"""


@dataclasses.dataclass(frozen=True)
class DataSet:
    """Facts about a data set, known before it is prepared, and the config keys that it sets."""

    recipe: str  # config that it follows: cifar10 or imagenet
    num_classes: int
    num_images: Mapping[str, int]  # by split
    keys: Mapping[str, Any]  # values by config key
    mean: tuple[float, ...] = IMAGENET_MEAN  # of each channel
    std: tuple[float, ...] = IMAGENET_STD


def _keys(name: str, size: int, **data: Any) -> dict[str, Any]:
    """Return the keys of a data set's name and image size, and of further fields of `config.data`."""
    fields = {"name": name, "image_size": size, **data}
    return {f"data.{field}": value for field, value in fields.items()}


# As solo-learn on ImageNet-100. A method's own length on ImageNet is kept; solo-learn's is 400 epochs.
_SUBSET = {"network.encoder": "resnet18", "train.batch_size": 256}
_CLASSES = tuple(f"n{number}" for number in _IMAGENET100.split())
_STL10 = {"train_split": "train+unlabelled", "eval_resize": 70, "eval_interpolation": "bicubic", "canvas": 96}
_TINY = {"labels": "folders", "eval_split": "val", "eval_resize": 64, "canvas": 64}
DATA_SETS = {
    "cifar100": DataSet(
        "cifar10", 100, {"train": 50_000, "test": 10_000}, _keys("cifar100", 32), *_CIFAR100_PIXELS
    ),
    # W-MSE's encoder for these two has a max-pooling after the stem; here it has none.
    "stl10": DataSet(
        "cifar10",
        10,
        {"train": 5_000, "test": 8_000, "unlabelled": 100_000},
        _keys("stl10", 64, **_STL10),
        *_STL10_PIXELS,
    ),
    "tiny_imagenet": DataSet(
        "cifar10", 200, {"train": 100_000, "val": 10_000}, _keys("images", 64, **_TINY), *_TINY_PIXELS
    ),
    "imagenette": DataSet(
        "imagenet", 10, {"train": 9_469, "validation": 3_925}, _keys("imagenette/320px-v2", 224) | _SUBSET
    ),
    "imagenet100": DataSet(
        "imagenet",
        100,
        {"train": 126_689, "val": 5_000},
        _keys("images", 224, labels="folders", classes=_CLASSES, eval_split="val") | _SUBSET,
    ),
}


def recipe_of(name: str) -> str:
    """Return the config whose recipe a data set follows; a name that is not in the table follows itself."""
    return DATA_SETS[name].recipe if name in DATA_SETS else name


def use_data_set(config: ml_collections.ConfigDict, name: str, recipe: str) -> None:
    """Change the config of a recipe to another data set that follows it; no change if it is the recipe's own.

    Raises:
      ValueError: no data set of this name follows the recipe.
    """
    if name == recipe:
        return
    if recipe_of(name) != recipe:
        names = [data_set for data_set in DATA_SETS if recipe_of(data_set) == recipe]
        raise ValueError(f"{recipe}.py does not support {name!r}. Use {', '.join([recipe, *names])}")
    data_set = DATA_SETS[name]
    for view in config.recipe.views.values():
        view.normalize.mean, view.normalize.std = data_set.mean, data_set.std
    config.update_from_flattened_dict(data_set.keys)
