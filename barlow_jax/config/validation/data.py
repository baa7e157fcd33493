"""Rules on the data sets."""

from collections.abc import Iterator

from barlow_jax.config.schema import Config, Data
from barlow_jax.config.value_range import AUTO, DTYPE, parse_limits

_WITHOUT_CAPTIONS = ("digits", "images")
_IMAGES_ONLY = "labels label_column classes held_out channels pixel_dtype value_range tile tile_overlap"


def data_problems(config: Config) -> Iterator[str]:
    """Yield contradictions within the settings of all data sets of a config."""
    yield from problems_of("data", config.data)
    yield from _caption_problems(config)
    for name, transfer in config.transfer.items():
        yield from problems_of(f"transfer.{name}.data", transfer.data)
        if transfer.data.value_range == AUTO:
            yield (
                f"config.transfer.{name}.data.value_range is auto, which is measured for config.data alone. "
                "Set the numbers that the encoder was trained with: low,high."
            )


def problems_of(prefix: str, data: Data) -> Iterator[str]:
    """Yield contradictions within the settings of the data set whose keys begin with `config.<prefix>`."""
    prefix, default = f"config.{prefix}", Data()
    if data.augment_on == "host" and data.pixel_dtype == "float32":
        yield (
            f"{prefix}.augment_on is host, where images are uint8, but {prefix}.pixel_dtype is float32. "
            f"Set {prefix}.augment_on=device."
        )
    if data.cache == "decoded" and data.augment_on == "host":
        yield (
            f"{prefix}.cache is decoded, but decoded images are kept and augmented on the devices. "
            f"Set {prefix}.augment_on=device, or {prefix}.cache=encoded."
        )
    if data.name != "images":
        for key in _IMAGES_ONLY.split():
            if getattr(data, key) != getattr(default, key):
                yield (
                    f"{prefix}.{key} is {getattr(data, key)}, but {data.name} has splits and labels of its "
                    "own, and is read as whole images of three uint8 channels. "
                    f"Set {prefix}.name=images, or {prefix}.{key}={getattr(default, key)}."
                )
        return
    if data.labels == "folders" and data.label_column:
        yield f"{prefix}.label_column is {data.label_column}, but {prefix}.labels=folders. Set one of them."
    if data.pixel_dtype == "uint8" and (data.channels != 3 or data.value_range != DTYPE):
        yield (
            f"{prefix}.pixel_dtype is uint8, which needs {prefix}.channels=3 and {prefix}.value_range=dtype; "
            f"they are {data.channels} and {data.value_range}. Set {prefix}.pixel_dtype=float32."
        )
    try:
        parse_limits(data.value_range, data.channels)
    except ValueError as error:
        yield f"{prefix}.value_range is {data.value_range!r}, but {error}."
    if data.tile_overlap >= max(data.tile, 1):
        yield (
            f"{prefix}.tile_overlap is {data.tile_overlap}, but must be smaller than {prefix}.tile = "
            f"{data.tile}."
        )


def _caption_problems(config: Config) -> Iterator[str]:
    data, words = config.data, "config.data.caption_words"
    if config.network.reads_text and data.caption_words == 0:
        yield f"{words} is 0, but config.network.second_encoder=gru reads captions. Set a maximum length."
    elif data.caption_words and not config.network.reads_text:
        yield (
            f"{words} is {data.caption_words}, but captions need config.network.branches=own and "
            f"config.network.second_encoder=gru. Set those, or {words}=0."
        )
    elif data.caption_words and data.name in _WITHOUT_CAPTIONS:
        yield f"config.data.name is {data.name}, which has no captions. Use captioned_digits, coco_captions."
    elif data.caption_words and data.cache == "decoded":
        yield (
            "config.data.cache is decoded, so the step receives only image indices, but captions are sampled "
            "on the host. Set config.data.cache to none or encoded."
        )
