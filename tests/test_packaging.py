"""Declarations of setup.py, and the wheel in an environment without the repository."""

from importlib import metadata
import json
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
import setuptools

ROOT = pathlib.Path(__file__).parents[1]
# jax pins jaxlib, and an extra names other extras of this package.
IMPLIED = {"jaxlib", "barlow_jax"}
NOT_BUILT = (".git", ".venv", ".*_cache", "__pycache__", "*.egg-info", "build", "runs", ".hypothesis")
_IMPORT = re.compile(r"^ *(?:import (\w+)(?:[. ]|$)|from (\w+)[\w.]* import )", re.MULTILINE)
SMALL = [
    "--config.train.max_steps=2",
    "--config.monitor.every_epochs=0",
    "--config.network.width=4",
    "--config.network.projector=16,16",
]


@pytest.fixture
def declared(monkeypatch):
    """The arguments of `setuptools.setup`."""
    arguments = {}
    monkeypatch.setattr(setuptools, "setup", arguments.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    return arguments


def _distribution(requirement):
    return re.match(r"[\w-]+", requirement)[0].lower().replace("_", "-")


def _imported(folder):
    """Return the distributions that the files of a folder import, by the name of the module."""
    by_module = metadata.packages_distributions() | {"umap": ["umap-learn"]}
    own = {path.stem for path in folder.rglob("*.py")} | {"barlow_jax"} | sys.stdlib_module_names
    texts = (path.read_text() for path in folder.rglob("*.py"))
    modules = {a or b for text in texts for a, b in _IMPORT.findall(text)}
    return {name: {_distribution(d) for d in by_module.get(name, [name])} for name in modules - own}


def test_every_import_is_named_in_setup(declared):
    default = {*map(_distribution, declared["install_requires"]), *IMPLIED}
    optional = {_distribution(r) for extra in declared["extras_require"].values() for r in extra}
    package, tests = _imported(ROOT / "barlow_jax"), _imported(ROOT / "tests")
    assert {"jax", "PIL", "torch", "umap"} < package.keys() and "scipy" in tests
    named = default | optional
    assert not {module for module, names in (package | tests).items() if not names & named}
    at_start = {"absl", "etils", "ml_collections", "threadpoolctl", "vl_convert"}
    assert not {module for module in at_start if not package[module] & default}


def test_folders_of_packages_exist_before_the_image_installs_them(declared):
    before, _, _ = (ROOT / "launch" / "Dockerfile").read_text().partition("pip install")
    assert all(folder in before for folder in declared["package_dir"].values())


def _names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.mark.slow
def test_the_wheel_works_without_the_repository(tmp_path):
    def run(*command, **options):
        env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "XLA_FLAGS")}
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=False, env=env, **options
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    tree, built, away = (tmp_path / name for name in ("tree", "dist", "away"))
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*NOT_BUILT))
    build = (sys.executable, "-m", "build", "--no-isolation")
    run(*build, "--outdir", built, tree)  # the sdist, and the wheel from it
    run(*build, "--wheel", "--outdir", tmp_path / "direct", tree)
    (sdist,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    assert _names(wheel) == _names(tmp_path / "direct" / wheel.name)
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "tests/conftest.py", "docs/config.md", "configs/digits.py"} < packed

    # The installed packages are visible, this repository is not: `.pth` files next to them are not read.
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "installed.pth").write_text("\n".join(path for path in sys.path if "site-packages" in path))
    python, program = tmp_path / "venv" / "bin" / "python", tmp_path / "venv" / "bin" / "barlow-jax"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    away.mkdir()
    assert "pretrain" in run(program, "--help", cwd=away)
    code = (
        "import barlow_jax, importlib.resources as r; from barlow_jax.config import shipped; "
        "assert barlow_jax.configs.digits().data.name == 'digits'; "
        "print(barlow_jax.__file__, len(shipped.shipped_configs()), "
        "r.files('barlow_jax').joinpath('py.typed').is_file())"
    )
    file, number, typed = run(python, "-c", code, cwd=away).split()
    assert pathlib.Path(file).is_relative_to(site) and typed == "True"
    assert int(number) == len(list((ROOT / "configs").glob("*.py")))
    last = run(program, "pretrain", "--config", "digits", "--workdir", "run", *SMALL, cwd=away)
    assert json.loads(last)["step"] == 2
    run(program, "report", "--workdir", "run", "--no-images", cwd=away)
    assert (away / "run" / "report.html").stat().st_size > 10_000
