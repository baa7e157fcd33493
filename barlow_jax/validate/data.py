"""What is wrong with the settings of the data."""

from collections.abc import Iterator

from barlow_jax.config import Config, Data


def data_problems(config: Config) -> Iterator[str]:
    """Of all data sets of a config."""
    yield from problems_of("data", config.data)
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
    if data.name == "arrays" and data.augment_on == "host":
        yield host_arrays(prefix)
    if data.name == "arrays" and data.cache == "encoded":
        yield f"config.{prefix}.cache: arrays are in memory as they are; set it to none, or to decoded"
    if data.cache == "decoded" and data.augment_on == "host":
        yield (
            f"config.{prefix}.cache: decoded images stay on the devices, and are augmented there; "
            f"set config.{prefix}.augment_on=device, or config.{prefix}.cache=encoded"
        )
