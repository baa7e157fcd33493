"""Cached programs against freshly compiled ones; a cache that is damaged, incomplete or not writable."""

import hashlib
import json

import jax
from jax.experimental.compilation_cache import compilation_cache as jax_cache
import jax.numpy as jnp
import numpy as np
import pytest

from barlow_jax.training import compilation_cache


@pytest.fixture(autouse=True)
def _no_other_cache(monkeypatch):
    """Turn off the cache that the tests share, and cache every program."""
    shared = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    jax_cache.reset_cache()
    monkeypatch.setattr(compilation_cache, "_MIN_COMPILE_S", 0.0)
    yield
    jax.config.update("jax_compilation_cache_dir", shared)
    jax_cache.reset_cache()


@pytest.fixture
def loads(monkeypatch):
    """Return a function that counts the programs loaded from the cache."""
    counts = [0]

    def listen(event, **_):
        counts[0] += event == "/jax/compilation_cache/cache_hits"

    jax.monitoring.register_event_listener(listen)
    yield lambda: counts[0]
    jax.monitoring.unregister_event_listener(listen)


def _compute():
    """Run a program that is new to this process each time, but has the same key."""

    def summed_tanh(x):
        return jnp.tanh(x @ x.T).sum(0)

    return np.asarray(jax.jit(summed_tanh)(jnp.linspace(0.0, 1.0, 64).reshape(8, 8)))


def _run(folder, calls=1):
    with compilation_cache.persistent(str(folder)) as save:
        results = [_compute() for _ in range(calls)]
        save()
    return results[0]


def _entries(folder):
    return sorted(path for path in folder.rglob("*-cache.*") if "summed_tanh" in path.name)


def test_a_second_process_loads_what_the_first_compiled_to_the_same_bits(tmp_path, loads):
    cold = _run(tmp_path / "cache")
    (entry,) = _entries(tmp_path / "cache")
    assert entry.suffix[1:] == hashlib.sha256(entry.read_bytes()).hexdigest()
    before = loads()
    warm = _run(tmp_path / "cache")
    assert loads() > before
    np.testing.assert_array_equal(cold, warm)
    assert jax.config.jax_compilation_cache_dir is None
    assert entry.parent.stat().st_mode & 0o077 == 0, "code that nobody else may write"


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [_flip, _truncate])
def test_a_damaged_program_is_never_loaded_and_is_compiled_again(tmp_path, capsys, damage):
    cold = _run(tmp_path)
    (entry,) = _entries(tmp_path)
    intact = entry.read_bytes()
    damage(entry)
    np.testing.assert_array_equal(_run(tmp_path), cold)
    assert f"damaged compiled program {entry}" in capsys.readouterr().err
    (again,) = _entries(tmp_path)
    assert again.stem == entry.stem and again.suffix[1:] == hashlib.sha256(again.read_bytes()).hexdigest()
    assert len(again.read_bytes()) == pytest.approx(len(intact), rel=0.1)


def test_a_folder_that_cannot_be_used_causes_a_warning(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    _run(tmp_path / "file")
    assert "--config.train.compilation_cache=DIR" in capsys.readouterr().err


def test_an_interrupted_write_leaves_no_entry(tmp_path, loads):
    _run(tmp_path)
    (entry,) = _entries(tmp_path)
    (entry.parent / f".{entry.stem}.123").write_bytes(entry.read_bytes()[:100])
    entry.unlink()
    before = loads()
    _run(tmp_path)
    assert loads() == before and len(_entries(tmp_path)) == 1


def test_the_oldest_entries_are_removed_above_the_size_limit(tmp_path, monkeypatch):
    _run(tmp_path)
    monkeypatch.setattr(compilation_cache, "_MAX_BYTES", 0)
    _flip(_entries(tmp_path)[0])
    _run(tmp_path)
    assert _entries(tmp_path) == []


@pytest.mark.parametrize("how", ["off", "the user's own"])
def test_jax_keeps_its_setting_if_the_cache_is_off_or_set_by_the_user(tmp_path, how):
    if how == "off":
        with compilation_cache.persistent(None):
            _compute()
            assert jax.config.jax_compilation_cache_dir is None
        return
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    _run(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_a_run_with_loaded_programs_has_the_same_bits_as_one_that_compiled_all(tmp_path, config_file, loads):
    from barlow_jax.__main__ import main

    def pretrain(name, steps, cache):
        code = main(
            [
                "pretrain",
                "--config",
                config_file,
                "--workdir",
                str(tmp_path / name),
                "--config.monitor.every_epochs=0",
                f"--config.train.max_steps={steps}",
                f"--config.train.compilation_cache={cache}",
            ]
        )
        assert code == 0

    pretrain("whole", 8, "none")
    assert loads() == 0
    pretrain("cut", 4, tmp_path / "cache")
    before = loads()
    pretrain("cut", 8, tmp_path / "cache")
    assert loads() > before and any("train_step" in path.name for path in (tmp_path / "cache").rglob("*"))
    rows = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "cut")
    ]
    measured = ("images_per_second", "data_wait_fraction")
    one, other = ([{k: v for k, v in row.items() if k not in measured} for row in side] for side in rows)
    assert one == other and len(one) == 4
