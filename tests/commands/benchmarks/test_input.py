"""bench input through the entry point; and each stage makes what its name says."""

import numpy as np
import pytest

from barlow_jax.data import pipeline, pipeline_stages, sources
from barlow_jax.data.sampler import EpochSampler, SampleRange


@pytest.mark.slow
def test_every_stage_is_timed_beside_decoding_and_the_official_pipeline(run_command, config_file, tmp_path):
    results, said = run_command(
        "bench", "input", "--config", config_file, "--images", 100, "--workdir", tmp_path
    )
    names = [row["stage"] for row in results["rows"]]
    assert names == ["read", "decode", "canvas", "transfer", "geometry", "color", "official"]
    assert all(row["pairs_per_cpu_second"] > 0 < row["pairs_per_second"] for row in results["rows"])
    assert (tmp_path / "results" / "bench-input.png").stat().st_size > 5_000
    assert "x official" in said and "official, on Pillow" in said


def test_stages_hold_what_the_pipeline_makes(small_config, typed):
    config = typed(small_config)
    source = sources.open_split(config.data, "train")
    sampler = EpochSampler(config.seed, source.num_examples, 6)
    made = {
        name: next(stage(1)) for name, stage in pipeline_stages.make_stages(config, source, sampler).items()
    }
    whole = next(pipeline.train_batches(source, config.data, config.recipe.views, SampleRange(sampler, 0, 1)))
    assert set(made["decode"].views["pixels"]) == {8 * 8 * 3} and np.all(made["read"].views["bytes"] > 50)
    for batch in made.values():
        np.testing.assert_array_equal(batch.index, whole.index)
    for name, views in whole.views.items():
        np.testing.assert_array_equal(made["color"].views[name], views)
        assert made["geometry"].views[name].shape == views.shape
    encoded = list(pipeline_stages.read_encoded(source, 3))
    assert all(image.startswith(b"\x89PNG") for image in encoded) and len(encoded) == 3


def test_mistakes_are_named(run_command, config_file):
    _, said = run_command("bench", "input", "--config", config_file, "--images", 10, code=2)
    assert "--images is 10, but must be at least 50" in said
    run_command(
        "bench",
        "input",
        "--config",
        config_file,
        "--config.data.name=captioned_digits",
        "--config.data.augment_on=device",
        code=2,
    )
    _, said = run_command("bench", "input", code=2)
    assert "--config is missing" in said
