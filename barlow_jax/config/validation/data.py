"""What is wrong with the settings of the data."""

from collections.abc import Iterator

from barlow_jax.config.schema import Config, Data

# Data sets that are arrays, and need no TensorFlow.
IN_MEMORY = ("arrays", "captioned_digits")
_WITHOUT_CAPTIONS = ("digits", "folder", "arrays")


def data_problems(config: Config) -> Iterator[str]:
    """Of all data sets of a config."""
    yield from problems_of("data", config.data)
    yield from _caption_problems(config)
    for name, transfer in config.transfer.items():
        yield from problems_of(f"transfer.{name}.data", transfer.data)


def host_arrays(prefix: str) -> str:
    """Why arrays are not augmented on the host; the data set stands at `config.<prefix>`."""
    return (
        f"config.{prefix}.augment_on: the host's ops are TensorFlow's, and arrays are read without it; "
        f"set config.{prefix}.augment_on=device"
    )


def problems_of(prefix: str, data: Data) -> Iterator[str]:
    """Of a data set that stands at `config.<prefix>`."""
    if data.name in IN_MEMORY and data.augment_on == "host":
        yield host_arrays(prefix)
    if data.name in IN_MEMORY and data.cache == "encoded":
        yield f"config.{prefix}.cache: arrays are in memory as they are; set it to none, or to decoded"
    if data.cache == "decoded" and data.augment_on == "host":
        yield (
            f"config.{prefix}.cache: decoded images stay on the devices, and are augmented there; "
            f"set config.{prefix}.augment_on=device, or config.{prefix}.cache=encoded"
        )


def _caption_problems(config: Config) -> Iterator[str]:
    data = config.data
    if config.network.reads_text and data.caption_words < 1:
        yield (
            "config.data.caption_words: config.network.second_encoder=gru reads captions; say of how many words at most, "
            f"got {data.caption_words}"
        )
    elif data.caption_words and not config.network.reads_text:
        yield (
            "config.data.caption_words: captions need config.network.branches=own and "
            "config.network.second_encoder=gru; set those, or this to 0"
        )
    elif data.caption_words and data.name in _WITHOUT_CAPTIONS:
        yield f"config.data.name: {data.name} has no captions; captioned_digits and TFDS's coco_captions have"
    elif data.caption_words and data.cache == "decoded":
        yield (
            "config.data.cache: of images on the devices a step is told the numbers alone, and captions are drawn on the "
            "host; set config.data.cache to none or encoded"
        )
