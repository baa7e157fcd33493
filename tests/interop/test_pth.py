"""Files of torch.save without torch; tests/other_tools reads them with torch."""

import subprocess
import sys

import pytest

from barlow_jax.errors import UserError
from barlow_jax.interop import pth, weights

WITHOUT_TORCH = "import runpy, sys; sys.modules['torch'] = None; sys.argv = sys.argv[1:]; "
WITHOUT_TORCH += "runpy.run_path(sys.argv[0], run_name='__main__')"


@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "weights.pth.tar"])
def test_without_torch_the_remedy_is_named(tmp_path, monkeypatch, name):
    """An installed torch is hidden from the reading process."""
    (tmp_path / name).write_bytes(b"\x80\x02.")
    run = subprocess.run
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, **kwargs: run([sys.executable, "-P", "-c", WITHOUT_TORCH, *command[2:]], **kwargs),
    )
    with pytest.raises(
        UserError, match=r"needs torch: pip install 'barlow_jax\[interop\]', or .*safetensors"
    ) as error:
        weights.read(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: ")


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.pth: cannot be read: No such file"):
        weights.read(tmp_path / "none.pth")


def test_the_process_that_reads_sees_nothing_of_this_package():
    """Modules of the package that share a name with torch's dependencies must not hide them."""
    code = f"import runpy, sys; runpy.run_path({pth.__file__!r}); "
    code += "assert not [name for name in sys.modules if name.startswith('barlow_jax')], sys.modules"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
