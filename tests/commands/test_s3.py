"""Data and outputs in s3://, served by moto on this machine."""

from moto.server import ThreadedMotoServer
import numpy as np
import pytest
import s3fs

from barlow_jax.io.paths import Path


@pytest.fixture
def s3(tmp_path, monkeypatch):
    """Path of an empty bucket; copies of its data have a folder of their own."""
    server = ThreadedMotoServer(port=0)
    server.start()
    environment = {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    path = Path("s3://bucket")
    path.fs.mkdir("bucket")
    yield path
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_images_are_read_from_s3_and_outputs_are_written_there(s3, finished, run_command):
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), np.uint8)):
        with (s3 / "data" / f"{number}.npy").open("wb") as file:
            np.save(file, pixels)
    run_command("embed", "--workdir", finished, "--images", s3 / "data", "--out", s3 / "features.npz")
    with (s3 / "features.npz").open("rb") as file:
        assert np.load(file)["features"].shape == (9, 16)
    run_command("export", "--workdir", finished, "--format", "torchvision", "--out", s3 / "exported")
    assert {path.name for path in (s3 / "exported").iterdir()} == {"README.md", "encoder.safetensors"}


def test_a_workdir_in_s3_is_refused_with_the_possible_schemes(config_file, run_command):
    _, error = run_command("pretrain", "--config", config_file, "--workdir", "s3://bucket/run", code=2)
    assert "the schemes of buckets are gs" in error
