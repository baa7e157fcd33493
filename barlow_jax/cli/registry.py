"""Registry of the commands: one per file of the `commands` package."""

import importlib
import pathlib
import pkgutil
from types import ModuleType


def summaries(package: ModuleType) -> dict[str, str]:
    """Return the summary of every command by its name, without importing the commands.

    A file's name is the command's, with dashes: `show_views.py` is `show-views`, `import_.py` is `import`.
    """
    (folder,) = package.__path__
    files = {
        m.name: pathlib.Path(folder) / f"{m.name}.py" for m in pkgutil.iter_modules([folder]) if not m.ispkg
    }
    return {_command(stem): _summary(path) for stem, path in files.items()}


def load(package: ModuleType, name: str) -> ModuleType:
    """Import the module of a command."""
    (stem,) = (m.name for m in pkgutil.iter_modules(package.__path__) if _command(m.name) == name)
    return importlib.import_module(f"{package.__name__}.{stem}")


def _command(stem: str) -> str:
    return stem.rstrip("_").replace("_", "-")


def _summary(path: pathlib.Path) -> str:
    # Not `ast.parse`: in Python 3.11 it fails at random while another thread parses.
    first_line = path.read_text("utf-8").partition("\n")[0]
    return first_line.strip('"')
