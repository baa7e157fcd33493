"""Structure of the package: order of the rooms, length of files and functions, duties of single rooms."""

import ast
import functools
import pathlib
import re
import subprocess
import sys

PACKAGE = pathlib.Path(__file__).parents[1] / "barlow_jax"
# From top to bottom: a module imports from its own room and from those further down.
ROOMS = (
    "__main__",
    "commands",
    "api",
    "cli",
    "reporting",
    "experiment",
    "evals",
    "training",
    "interop",
    "planning",
    "checkpoints",
    "workdir",
    "distributed",
    "objectives",
    "losses",
    "networks",
    "optim",
    "augment",
    "data",
    "papers",
    "config",
    "io",
    "types",
    "errors",
    "version",
)
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
NAMES = {
    path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    for path in MODULES
}
# Outside of data/: the writers of TensorFlow's own formats, each within a function.
WITH_TENSORFLOW = {"interop/export_savedmodel.py"}
LONGEST_FILE, LONGEST_FUNCTION = 300, 60


@functools.cache
def _tree(path):
    return ast.parse(path.read_text())


def _room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _imports(path, *, module_level=False):
    """Full names that a file imports: of modules, and of what may be a module or a name in one."""
    for node in _tree(path).body if module_level else ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _modules_imported(path, **options):
    """The modules of this package that a file imports, by their names in NAMES."""
    names = {
        name.removeprefix("barlow_jax.")
        for name in _imports(path, **options)
        if name.startswith("barlow_jax.")
    }
    # `from barlow_jax.io import files` needs files alone, and the room's own `__init__` holds no code.
    return {name for name in names & set(NAMES.values()) if not any(n.startswith(f"{name}.") for n in names)}


def _with_tensorflow():
    """Modules that cannot be imported without TensorFlow."""
    needed = {
        NAMES[path]
        for path in MODULES
        if any(name.split(".")[0].startswith("tensorflow") for name in _imports(path, module_level=True))
    }
    graph = {NAMES[path]: _modules_imported(path, module_level=True) for path in MODULES}
    while more := {name for name, others in graph.items() if others & needed} - needed:
        needed |= more
    return needed


def for_each(paths):
    """Turn a check of a file into one test of all files, whose failure names each file that does not pass."""

    def decorate(check):
        def test():
            problems = {}
            for path in paths:
                try:
                    check(path)
                except AssertionError as error:
                    problems[str(path.relative_to(PACKAGE.parent))] = str(error)
            assert not problems

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return decorate


by_module = for_each(MODULES)


@by_module
def test_only_data_imports_tensorflow(path):
    if _room(path) != "data" and path.relative_to(PACKAGE).as_posix() not in WITH_TENSORFLOW:
        assert not [name for name in _imports(path) if name.split(".")[0].startswith("tensorflow")]


def test_everything_else_imports_without_tensorflow():
    needed = _with_tensorflow()
    assert needed, "data/ imports TensorFlow"
    code = "import sys; sys.modules.update(tensorflow=None, tensorflow_datasets=None)\n"
    code += "\n".join(f"import barlow_jax.{name}" for name in sorted({*NAMES.values()} - needed))
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


@by_module
def test_nothing_that_can_hold_code_is_loaded(path):
    """A config file is code, and the one exception."""
    for node in ast.walk(_tree(path)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"} & {
            n.split(".")[0] for n in names
        }
        called = node.func if isinstance(node, ast.Call) else None
        name = getattr(called, "attr", getattr(called, "id", None))
        assert name not in ("eval", "exec") and (name != "exec_module" or _room(path) == "config")
        if name == "load" and getattr(getattr(called, "value", None), "id", None) == "np":
            assert any(k.arg == "allow_pickle" and k.value.value is False for k in node.keywords)
        if name == "load" and getattr(getattr(called, "value", None), "id", None) == "torch":
            assert any(k.arg == "weights_only" and k.value.value is True for k in node.keywords)


def test_no_file_is_too_long():
    lengths = {NAMES[path]: len(path.read_text().splitlines()) for path in MODULES}
    assert not {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE}


@by_module
def test_imports_go_down(path):
    room = _room(path)
    assert room in ROOMS, f"{room} is not in the list of rooms: add it there"
    upward = [name for name in _modules_imported(path) if ROOMS.index(name.split(".")[0]) < ROOMS.index(room)]
    assert not upward


def test_no_import_cycle():
    """Function-level imports included, so that none of them hides a cycle."""
    left = {NAMES[path]: _modules_imported(path) - {NAMES[path]} for path in MODULES}
    while ready := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in ready}
    assert not left


@by_module
def test_only_distributed_names_the_mesh_types(path):
    names = {name for name in _imports(path) if name.startswith("jax.")}
    names |= {ast.unparse(node) for node in ast.walk(_tree(path)) if isinstance(node, ast.Attribute)}
    mesh_types = {f"jax.sharding.{name}" for name in ("Mesh", "PartitionSpec", "NamedSharding")}
    assert _room(path) == "distributed" or not names & mesh_types


@by_module
def test_messages_are_logged(path):
    """Only the command line prints: results to standard output, and usage."""
    called = [node.func for node in ast.walk(_tree(path)) if isinstance(node, ast.Call)]
    prints = [c for c in called if getattr(c, "id", None) == "print"]
    writes = [c for c in called if isinstance(c, ast.Attribute) and ast.unparse(c) == "tqdm.tqdm.write"]
    assert not writes or NAMES[path] == "io.log"
    assert not prints or NAMES[path] in ("cli.results", "interop.pth")  # the latter is a script as well


@by_module
def test_functions_fit_a_screen(path):
    functions = [n for n in ast.walk(_tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {node.name: node.end_lineno - node.lineno + 1 for node in functions}
    assert not {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION}


# Fragments: "Of a pod, the first host." A reader looks for the subject in vain.
FRAGMENT = re.compile(r"(Of|Those|Who|As|By|From|That|What|Where|Whether)\b")
ROOT = PACKAGE.parent
FILES = sorted(
    path for folder in (PACKAGE.name, "configs", "launch", "tests") for path in (ROOT / folder).rglob("*.py")
)


@for_each(FILES)
def test_no_docstring_begins_with_a_fragment(path):
    documented = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
    docstrings = [
        ast.get_docstring(node) or "" for node in ast.walk(_tree(path)) if isinstance(node, documented)
    ]
    assert not [text.splitlines()[0] for text in docstrings if FRAGMENT.match(text)]
