"""Configs as Python objects: those that come with the package, and config files."""

from collections.abc import Callable
import difflib

from barlow_jax.config import overrides, shipped
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError


def load_config(name_or_path: str) -> Config:
    """Return the config of a file, or a shipped one by its name.

        load_config("my_config.py"), load_config("vicreg:cifar10")

    Args:
      name_or_path: path of a Python file with `get_config()`, which is run, or name of a shipped config.
        `:ARGUMENT` after it is passed to `get_config`.

    Raises:
      UserError: the file does not exist, fails, or has wrong keys or values.
    """
    config_dict, problems = overrides.load_config_file(str(name_or_path))
    config, more = overrides.from_tree(config_dict.to_dict())
    if problems := [*problems, *more]:
        raise UserError.from_problems(problems)
    return config


class Configs:
    """Shipped configs by name: `configs.digits()`, `configs.vicreg("digits")`.

    Each is a function that returns a `Config`, with the text of the config file (paper, expected results,
    hardware) as its documentation: `help(configs.digits)`. `dir(configs)` lists the names.
    """

    def __dir__(self) -> list[str]:
        return list(shipped.shipped_configs())

    def __getattr__(self, name: str) -> Callable[..., Config]:
        files = shipped.shipped_configs()
        if name not in files:
            near = difflib.get_close_matches(name, files, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Choose from {', '.join(files)}."
            raise AttributeError(f"there is no shipped config {name!r}. {hint}")

        def make(argument: str | None = None) -> Config:
            return load_config(name if argument is None else f"{name}:{argument}")

        make.__name__ = make.__qualname__ = name
        make.__doc__ = files[name].read_text("utf-8").split('"""')[1]
        return make


configs = Configs()
