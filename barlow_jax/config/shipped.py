"""Configs that come with the package, found by name.

They are `configs/` of the repository, which a wheel carries as `barlow_jax/configs/`.
"""

import difflib
import pathlib

from barlow_jax.errors import UserError

_PACKAGE = pathlib.Path(__file__).parents[1]
FOLDER = next((f for f in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if f.is_dir()), _PACKAGE)


def shipped_configs(suffix: str = ".py") -> dict[str, pathlib.Path]:
    """Return the file of each shipped config by its name, such as `digits`."""
    return {path.stem: path for path in sorted(FOLDER.glob(f"*{suffix}"))}


def config_path(name_or_path: str, suffix: str = ".py", flag: str = "--config") -> pathlib.Path:
    """Return the path of a file that is given by its path or by the name of a shipped one.

    Raises:
      UserError: there is neither such a file nor such a name; the message begins with the flag.
    """
    path, shipped = pathlib.Path(name_or_path), shipped_configs(suffix)
    if path.is_file():
        return path
    if name_or_path in shipped:
        return shipped[name_or_path]
    neighbors = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob(f"*{suffix}")], 1)
    near = [path.parent / name for name in neighbors] or difflib.get_close_matches(path.stem, shipped, 1)
    hint = f"Did you mean {near[0]}?" if near else f"The package has {', '.join(shipped)}."
    raise UserError(f"{flag}: {name_or_path} does not exist. {hint}")


def split_argument(config: str) -> tuple[str, str | None]:
    """Split `FILE.py:ARGUMENT` or `NAME:ARGUMENT`; the argument is None if there is none."""
    stem, colon, argument = config.rpartition(".py:")
    if colon:
        return f"{stem}.py", argument
    name, colon, argument = config.partition(":")
    return (name, argument) if colon and name.isidentifier() else (config, None)
