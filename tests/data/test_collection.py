"""Images of any kind of source: names, contents, splits and labels."""

from barlow_jax.config.schema import Data
from barlow_jax.data import collection


def _write(root, *names, content=b"x"):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content + name.encode())


def _data(path, **settings):
    return Data(name="images", data_dir=str(path), **settings)


def test_held_out_images_stay_so_when_images_are_added(tmp_path):
    _write(tmp_path, *(f"{n % 3}/{n}.png" for n in range(200)))
    splits = [{*collection.open_collection(_data(tmp_path), name).names} for name in ("train", "held_out")]
    assert not splits[0] & splits[1] and len(splits[0] | splits[1]) == 200 and 10 < len(splits[1]) < 30
    _write(tmp_path, *(f"more/{n}.tiff" for n in range(100)))
    assert splits[1] <= {*collection.open_collection(_data(tmp_path), "held_out").names}
    most = {*collection.open_collection(_data(tmp_path, held_out=0.5), "held_out").names}
    assert splits[1] <= most and 120 < len(most) < 180
