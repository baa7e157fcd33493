"""Imports go down only, and TensorFlow stays in its wing."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "barlow_jax"
FLOORS = {
    0: (
        "config",
        "recipe",
        "canvas",
        "protocols",
        "configdict",
        "validate",
        "order",
        "files",
        "errors",
        "runs",
        "published",
        "standings",
        "signs",
        "ablations",
        "methods",
        "digests",
        "journal",
        "provenance",
        "io",
        "version",
        "papers",
    ),
    1: (
        "types",
        "mesh",
        "processes",
        "networks",
        "terms",
        "objectives",
        "optim",
        "augment",
        "data",
        "compiler",
        "distributed",
        "losses",
        "planning",
    ),
    2: ("step", "gradients", "feed", "resident", "loop", "checkpoints", "running", "training", "workdir"),
    3: ("exports", "interop"),
    4: ("programs", "pretrained", "report", "evals", "experiment", "commands"),
    5: ("cli", "flags", "registry", "__main__"),
}
ROOMS = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def _room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "barlow_jax" else []
            names += [f"{node.module}.{alias.name}" for alias in node.names if node.module == "barlow_jax"]
        for name in names:
            parts = name.split(".")
            if parts[0] == "barlow_jax" and len(parts) > 1 and parts[1] in ROOMS:
                yield parts[1]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    room = _room(path)
    assert room in ROOMS, f"{room} has no floor: add it to the house"
    for other in _imported_rooms(path):
        assert ROOMS[other] <= ROOMS[room], (
            f"{room} (floor {ROOMS[room]}) imports {other} (floor {ROOMS[other]})"
        )


# Outside the data wing, and within a function.
WITH_TENSORFLOW = {"interop/export_savedmodel.py"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_data_wing_and_what_writes_tensorflows_format_import_tensorflow(path):
    if _room(path) == "data" or path.relative_to(PACKAGE).as_posix() in WITH_TENSORFLOW:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not any(name.split(".")[0].startswith("tensorflow") for name in names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_that_can_hold_code_is_loaded(path):
    """A config file is code, and the one exception."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"} & {
            n.split(".")[0] for n in names
        }
        called = node.func if isinstance(node, ast.Call) else None
        name = getattr(called, "attr", getattr(called, "id", None))
        assert name not in ("eval", "exec") and (name != "exec_module" or path.name == "overrides.py")
        if name == "load" and getattr(getattr(called, "value", None), "id", None) == "np":
            assert any(k.arg == "allow_pickle" and k.value.value is False for k in node.keywords)
        if name == "load" and getattr(getattr(called, "value", None), "id", None) == "torch":
            assert any(k.arg == "weights_only" and k.value.value is True for k in node.keywords)


# What runs where TensorFlow is not installed imports none of these.
WING = {
    "data.digits",
    "data.host_ops",
    "data.decode_failures.replacement",
    "data.pipeline",
    "data.records",
    "data.sources",
    "data.stages",
    "data.views",
    "commands.bench_input",
}


def test_everything_but_the_files_of_the_wing_imports_without_tensorflow():
    names = {".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in MODULES}
    assert names >= WING
    names = {name.removesuffix(".__init__") for name in names - WING}
    code = "import sys; sys.modules.update(tensorflow=None, tensorflow_datasets=None)\n"
    code += "\n".join(f"import barlow_jax.{name}" for name in sorted(names))
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


def test_no_file_is_longer_than_three_hundred_lines():
    long = {str(p): n for p in MODULES if (n := len(p.read_text().splitlines())) > 300}
    assert not long
