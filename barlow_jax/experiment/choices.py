"""Rules that choose the settings of a run on a user's own images, each with its reason.

A rule reads the settings chosen so far, among them the user's own, which stay as they are.
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any

from barlow_jax.config import presets, records
from barlow_jax.config.value_range import AUTO, DTYPE
from barlow_jax.data.image_stats import ValueStats

CAMERA_SIDE = 4096  # a larger shorter side is that of a scan or a scene
CPU_STEPS, ACCELERATOR_STEPS, MAX_EPOCHS = 4_000, 30_000, 300  # without a budget
MIN_STEPS = 50  # a shorter run learns nothing
_CANVAS_BYTES = 512 * 512 * 3  # of an image, on its way to the devices
# The authors' learning rates by batch size, per 256 images (300 epochs, ResNet-50, LARS).
_LARS_RATES = {128: 0.7, 256: 0.4, 512: 0.3, 1024: 0.25}


@dataclasses.dataclass(frozen=True)
class Images:
    """Facts about a collection, of a sample of its images."""

    number: int
    side: int  # median of the shorter sides, in pixels
    longest: int  # longest side
    complete: bool  # the sample is the collection
    channels: int  # the most frequent number
    dtypes: Mapping[str, int]  # number of images by dtype


@dataclasses.dataclass(frozen=True)
class Devices:
    """Facts about the devices of all processes."""

    number: int
    is_cpu: bool
    cores: int  # of this host
    memory: int | None  # bytes of each; None if the device does not report it


class Choices:
    """Config tree of a run, whose keys are chosen except for those that the user has set."""

    def __init__(self, tree: dict[str, Any], fixed: set[str]):
        """Start from a nested dict, which the rules change, and the dotted keys that the user has set."""
        self._tree, self._fixed = tree, fixed
        self.made: list[dict[str, Any]] = []  # "settings" by key, and "reason"

    def get(self, key: str) -> Any:
        """Return the value of a dotted key."""
        return functools.reduce(lambda node, name: node[name], key.split("."), self._tree)

    def set(self, reason: str, settings: Mapping[str, Any]) -> None:
        """Set those of the dotted keys that the user has not set."""
        settings = {key: value for key, value in settings.items() if key not in self._fixed}
        for key, value in settings.items():
            *groups, name = key.split(".")
            functools.reduce(lambda node, group: node[group], groups, self._tree)[name] = value
        if settings:
            for choice in self.made:
                choice["settings"] = {k: v for k, v in choice["settings"].items() if k not in settings}
            self.made = [choice for choice in self.made if choice["settings"]]
            if self.made and self.made[-1]["reason"] == reason:
                settings = self.made.pop()["settings"] | settings
            self.made.append({"settings": settings, "reason": reason})


def choose_pixels(choices: Choices, images: Images) -> None:
    """Choose what is read of each image: channels, precision, value range and tiles."""
    small = images.dtypes.get("uint8", 0)
    is_plain = 2 * small >= sum(images.dtypes.values()) and images.channels in (1, 3)
    reason = f"images are {' and '.join(sorted(images.dtypes))} with {images.channels} channels"
    choices.set(reason, {"data.channels": 3 if is_plain else images.channels})
    is_plain = is_plain and choices.get("data.channels") == 3
    choices.set(reason, {"data.pixel_dtype": "uint8" if is_plain else "float32"})
    # Percentiles of different ranges, of 8 and of 16 bits, mean nothing; and 8 bits need none.
    wide = choices.get("data.pixel_dtype") == "float32" and len(images.dtypes) == 1 and not small
    choices.set(reason, {"data.value_range": AUTO if wide else DTYPE})
    few = images.number < 200
    if images.side > (1024 if few else CAMERA_SIDE):
        what = f"{images.number} images" if few else "images larger than a camera's"
        choices.set(f"{what}, {images.side} pixels on the median shorter side", {"data.tile": 512})


def choose_sizes(choices: Choices, images: Images, devices: Devices) -> None:
    """Choose the size of the views, the stem that fits it, and the canvas."""
    side = choices.get("data.tile") or images.side
    size, why = min(side, 224), f"the median shorter side is {side} pixels"
    if side >= 64:
        size = size // 16 * 16
        if devices.is_cpu:
            size, why = min(size, 96), f"{why}; at most 96 on a CPU"
    elif devices.is_cpu and side > 16:
        # 24 pixels of CIFAR-10's 32 take half the time; with this stem 64 would take seven times as long.
        size, why = min(32, max(16, round(3 * side / 32) * 8)), f"{why}; on a CPU 3/4 of that, at most 32"
    choices.set(why, {"data.image_size": max(size, 8)})
    size = choices.get("data.image_size")
    resize = size * 8 // 7 if size >= 128 else size
    choices.set(why, {"data.eval_resize": resize})
    stem = "imagenet" if size >= 64 else "cifar"
    choices.set(f"views of {size} pixels; the imagenet stem needs 64 or more", {"network.stem": stem})
    value_bytes = 1 if choices.get("data.pixel_dtype") == "uint8" else 4
    limit = int((_CANVAS_BYTES / (choices.get("data.channels") * value_bytes)) ** 0.5)
    limit = 2 * size if devices.is_cpu else max(limit, 2 * size)
    longest = choices.get("data.tile") or images.longest
    canvas = -(-longest // 8) * 8
    if canvas > limit or not images.complete:
        canvas = min(limit, max(canvas, 2 * size))
    reason = f"the longest side is {longest} pixels; both views of a larger image fit into twice their size"
    choices.set(reason, {"data.canvas": canvas})
    decoded = images.number * choices.get("data.canvas") ** 2 * choices.get("data.channels") * value_bytes
    # One larger image among those that were not sampled would not fit.
    same_size = (images.complete or images.side == images.longest) and longest <= choices.get("data.canvas")
    if same_size and 8 * decoded <= (devices.memory or 0):
        choices.set(f"{decoded / 1e6:.0f} MB fit into the devices' memory", {"data.cache": "decoded"})


def choose_recipe(choices: Choices, preset: str | None) -> None:
    """Choose the augmentation; `preset` is the one that the user has named, or None."""
    channels, size = choices.get("data.channels"), choices.get("data.image_size")
    if channels != 3:  # else it is the config file's
        name = preset or ("satellite" if channels > 4 else "photographs")
        ops = records.flatten(dataclasses.asdict(presets.make(name, channels)), "recipe.")
        changed = {k: v for k, v in ops.items() if choices.get(k) != v and ".normalize." not in k}
        choices.set(f"{name} for {channels} channels", changed)
    if size < 64:
        blur = {f"recipe.views.{view}.blur.probability": 0.0 for view in ("a", "b")}
        choices.set(f"in {size} pixels there is little to blur, as in configs/cifar10.py", blur)


def choose_values(choices: Choices, values: ValueStats) -> None:
    """Choose the value range in numbers, and the normalization of the channels."""
    if choices.get("data.value_range") == AUTO:
        reason = "0.1 and 99.9 percentiles of a sample"
        choices.set(reason, {"data.value_range": values.value_range})
    mean = tuple(round(x, 4) for x in values.mean)
    std = tuple(max(round(x, 4), 0.001) for x in values.std)  # of a constant channel, 0
    keys = {f"recipe.views.{v}.normalize.{k}": x for v in "ab" for k, x in (("mean", mean), ("std", std))}
    choices.set("measured on a sample", keys)


def choose_network(choices: Choices, number: int, devices: Devices, hours: float | None) -> None:
    """Choose batch size, network and projector from the number of training images and the budget."""
    limit = 128 if devices.is_cpu else 256 * min(devices.number, 4)
    batch = devices.number * max(1, 2 ** ((min(limit, number) // devices.number).bit_length() - 1))
    reason = f"a power of two on each device, at most {limit} and {number} training images together"
    choices.set(reason, {"train.batch_size": batch})
    evaluated = devices.number * max(1, 256 // devices.number)
    choices.set("little memory", {"eval_batch_size": evaluated})
    if devices.is_cpu:
        core_hours = (hours or 0.4) * devices.cores
        choices.set(
            f"a CPU with {devices.cores} cores" + (f" for {hours:g} hours" if hours else ""),
            {
                "network.encoder": "resnet18" if core_hours >= 80 else "resnet8",
                "network.width": 32 if core_hours >= 8 else 16,
                "network.projector": (2048, 2048) if core_hours >= 80 else (512, 512),
                "network.dtype": "float32",
            },
        )
        return
    small = choices.get("network.stem") == "cifar" or number < 10_000
    width = 8192 if number >= 100_000 else 2048
    choices.set(
        f"{number} training images of {choices.get('data.image_size')} pixels on an accelerator",
        {
            "network.encoder": "resnet18" if small else "resnet50",
            "network.projector": (width,) * 3,
            "network.dtype": "bfloat16",
        },
    )


def choose_optimizer(choices: Choices, devices: Devices) -> None:
    """Choose the optimizer, and its learning rate by the batch size."""
    name = "adamw" if devices.is_cpu else "lars"
    choices.set("AdamW learns faster in the few steps of a CPU; LARS is the authors'", {"optim.name": name})
    batch = choices.get("train.batch_size")
    if choices.get("optim.name") == "adamw":
        choices.set(
            "peak rate 0.002 at any batch size, as measured on CIFAR-10 and on digits",
            {
                "optim.learning_rate": round(0.002 * 256 / batch, 6),
                "optim.bias_learning_rate": None,
                "optim.grad_scale": 1.0,
                "optim.weight_decay": 1e-4,
            },
        )
    elif choices.get("optim.name") == "lars":
        nearest = min(_LARS_RATES, key=lambda size: abs(size.bit_length() - batch.bit_length()))
        rate = {"optim.learning_rate": _LARS_RATES[nearest]}
        choices.set(f"the authors' rate for a batch of {nearest}", rate)


def choose_length(
    choices: Choices, number: int, devices: Devices, budget: tuple[float, float] | None
) -> None:
    """Choose epochs, warm-up and intervals for a number of training images.

    The budget has seconds for steps, and measured seconds of a step; None without --hours.
    """
    per_epoch = max(1, number // choices.get("train.batch_size"))
    if budget is None:
        steps = CPU_STEPS if devices.is_cpu else ACCELERATOR_STEPS
        reason = f"{steps} steps, at most {MAX_EPOCHS} epochs; --hours sets another length"
        epochs = min(MAX_EPOCHS, max(1.0, steps / per_epoch))
    else:
        seconds, per_step = budget
        reason = f"{seconds / 3600:.2g} hours of steps of {per_step:.3g} s, at most the authors' 1000 epochs"
        epochs = min(seconds / per_step, max(1000 * per_epoch, CPU_STEPS)) / per_epoch
    choices.set(reason, {"train.num_epochs": float(f"{epochs:.4g}")})
    epochs = choices.get("train.num_epochs")
    steps = max(1, round(epochs * per_epoch))
    warmup = min(10.0, float(f"{epochs / 20:.3g}"))
    choices.set("5 % of the epochs, at most 10", {"optim.warmup_epochs": warmup})
    choices.set("100 rows of metrics or more", {"train.log_every_steps": min(50, max(1, steps // 100))})
    every = float(f"{epochs / 5:.3g}")
    choices.set("five measurements of the encoder", {"monitor.every_epochs": every})
