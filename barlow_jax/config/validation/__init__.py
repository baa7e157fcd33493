"""What cannot work is said before anything slow starts, all of it at once."""

from collections.abc import Iterator, Mapping
import dataclasses

from barlow_jax.config.schema import Config, Network
from barlow_jax.config.validation import bounds
from barlow_jax.config.validation.data import data_problems
from barlow_jax.config.validation.evaluations import evaluation_problems
from barlow_jax.config.validation.objective import objective_problems
from barlow_jax.config.validation.recipe import recipe_problems

# Pixels of the image to one of the stem's output; each stage after the first halves that again.
_STEM_STRIDE = {"imagenet": 4, "cifar": 1}


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the machine and the data set say; None and absent where it is not known."""

    num_devices: int | None = None
    num_images: Mapping[str, int] = dataclasses.field(default_factory=dict)  # by split


def validate(config: Config, facts: Facts) -> list[str]:
    """Every problem of a config, one sentence each; empty when the run can start."""
    checks = (
        _ranges(config),
        data_problems(config),
        evaluation_problems(config),
        recipe_problems(config),
        objective_problems(config),
        _shapes(config),
        _mesh(config, facts),
        _sizes(config, facts),
    )
    return [problem for check in checks for problem in check]


def _ranges(config: Config) -> Iterator[str]:
    positive = {
        "train.num_epochs": config.train.num_epochs,
        "train.microbatches": config.train.microbatches,
        "train.log_every_steps": config.train.log_every_steps,
        "eval_batch_size": config.eval_batch_size,
        "network.width": config.network.width,
        "network.batch_norm_epsilon": config.network.batch_norm_epsilon,
        "optim.learning_rate": config.optim.learning_rate,
        "optim.trust_coefficient": config.optim.trust_coefficient,
        "optim.grad_scale": config.optim.grad_scale,
        "checkpoint.every_epochs": config.checkpoint.every_epochs,
        "checkpoint.keep_newest": config.checkpoint.keep_newest,
        "monitor.k": config.monitor.k,
        "monitor.max_images": config.monitor.max_images,
        "data.image_size": config.data.image_size,
        "data.canvas": config.data.canvas,
        "data.caption_min_count": config.data.caption_min_count,
        "network.text.embedding_size": config.network.text.embedding_size,
        "network.text.hidden_size": config.network.text.hidden_size,
        "data.prefetch": config.data.prefetch,
        "distributed.initialization_timeout_s": config.distributed.initialization_timeout_s,
        "distributed.heartbeat_timeout_s": config.distributed.heartbeat_timeout_s,
        "distributed.shutdown_timeout_s": config.distributed.shutdown_timeout_s,
    }
    optional = {
        "train.max_steps": config.train.max_steps,
        "train.max_skipped_steps": config.train.max_skipped_steps,
        "optim.bias_learning_rate": config.optim.bias_learning_rate,
        "checkpoint.keep_every_epochs": config.checkpoint.keep_every_epochs,
    }
    positive |= {key: value for key, value in optional.items() if value is not None}
    data = {"data": config.data} | {f"transfer.{name}.data": t.data for name, t in config.transfer.items()}
    not_negative = {
        f"{key}.max_decode_failures": there.max_decode_failures
        for key, there in data.items()
        if there.max_decode_failures is not None
    }
    not_negative |= {
        "seed": config.seed,
        "data.caption_words": config.data.caption_words,
        "data.threads": config.data.threads,
        "optim.weight_decay": config.optim.weight_decay,
        "optim.warmup_epochs": config.optim.warmup_epochs,
        "monitor.every_epochs": config.monitor.every_epochs,
    }
    fractions = {
        "optim.final_scale": config.optim.final_scale,
        "network.batch_norm_momentum": config.network.batch_norm_momentum,
    }
    below_one = {"optim.momentum": config.optim.momentum}
    yield from bounds.outside(positive, not_negative, fractions, below_one)
    if config.optim.warmup_epochs > config.train.num_epochs:
        yield (
            f"config.optim.warmup_epochs: {config.optim.warmup_epochs} is longer than the run of "
            f"config.train.num_epochs = {config.train.num_epochs}"
        )


def _shapes(config: Config) -> Iterator[str]:
    network = config.network
    sizes = {f"recipe.views.{name}.crop.size": view.crop.size for name, view in config.recipe.views.items()}
    sizes = {key: size for key, size in sizes.items() if size is not None}
    for key, size in ({"data.image_size": config.data.image_size} | sizes).items():
        second = None if network.reads_text else network.second_encoder
        for encoder in dict.fromkeys((network.encoder, second or network.encoder)):
            yield from (f"config.{key}: {words}, got {size}" for words in _too_small(network, encoder, size))
    if config.data.image_size > config.data.eval_resize:
        yield (
            f"config.data.image_size: the crop of {config.data.image_size} pixels is larger than the image, "
            f"which is resized to config.data.eval_resize = {config.data.eval_resize}"
        )


def _too_small(network: Network, encoder: str, size: int) -> Iterator[str]:
    if encoder.startswith("vit"):
        if network.patch < 1 or size % network.patch:
            yield f"{encoder} cuts the image into patches of config.network.patch = {network.patch}, which must divide it"
        return
    stages = 3 if encoder == "resnet8" else 4
    smallest = _STEM_STRIDE[network.stem] * 2 ** (stages - 1)
    if size < smallest:
        yield (
            f"{encoder} with the {network.stem} stem halves the image down to a {smallest}th and needs "
            f"{smallest} pixels or more"
        )


def _mesh(config: Config, facts: Facts) -> Iterator[str]:
    devices, slices = facts.num_devices, 1 if config.mesh.slices is None else config.mesh.slices
    if slices < 1:
        yield f"config.mesh.slices: must be 1 or more, got {slices}"
    elif devices and devices % slices:
        yield f"config.mesh.slices: {devices} devices are not divisible into {slices} slices"
    elif devices and config.mesh.projector == "sharded":
        each = devices // slices
        for width in dict.fromkeys(config.network.projector):
            if width % each:
                yield (
                    f"config.mesh.projector: the width {width} is not divisible by the {each} devices of a slice; "
                    "use replicated, or another config.network.projector"
                )


def _sizes(config: Config, facts: Facts) -> Iterator[str]:
    batch_size, devices, microbatches = config.train.batch_size, facts.num_devices, config.train.microbatches
    pieces = (devices or 1) * microbatches
    if microbatches > 1 and batch_size % pieces == 0 and batch_size // microbatches < 2:
        yield f"config.train.microbatches: batch statistics need 2 images or more in each, got {microbatches}"
    if microbatches > 1 and batch_size % pieces:
        yield (
            f"config.train.batch_size: {batch_size} is not divisible into {microbatches} microbatches on "
            f"{devices or 'any number of'} devices; the next that is: {-(-batch_size // pieces) * pieces}"
        )
    if batch_size < 2:
        yield f"config.train.batch_size: batch statistics need 2 images or more, got {batch_size}"
    for key, size in (("train.batch_size", batch_size), ("eval_batch_size", config.eval_batch_size)):
        if devices and size % devices:
            up = -(-size // devices) * devices
            yield f"config.{key}: {size} is not divisible by the {devices} devices; the next that is: {up}"
    images = facts.num_images.get(config.data.train_split)
    if images is not None and 2 <= images < batch_size:
        yield (
            f"config.train.batch_size: split {config.data.train_split!r} of {config.data.name} has {images} "
            f"images, fewer than one batch of {batch_size}"
        )
    for split, count in facts.num_images.items():
        if count < 2:
            yield f"config.data: split {split!r} of {config.data.name} holds {count} images; 2 are needed"
