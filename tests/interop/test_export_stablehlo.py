"""The serialized program, called without this package, against the encoder."""

import json
import subprocess
import sys
import textwrap

import jax
from jax import export
import numpy as np
import pytest

from barlow_jax.config import overrides
from barlow_jax.errors import UserError
from barlow_jax.interop import export_stablehlo

# The lines of the README stand at `{lines}`.
ALONE = """
import sys
sys.modules["barlow_jax"] = None  # importing it is an ImportError
import numpy as np
for number in (1, 3, 7):
    images = np.load(f"{{number}}.npy")
{lines}
    np.save(f"features{{number}}.npy", features)
assert not [name for name in sys.modules if name.startswith(("barlow_jax.", "flax", "tensorflow"))]
"""


def test_it_is_called_without_this_package_by_the_lines_of_its_readme(small, noise, features, tmp_path):
    subject = small()
    export_stablehlo.write(subject, tmp_path)
    lines = (tmp_path / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert len(lines.splitlines()) == 3
    for number in (1, 3, 7):
        np.save(tmp_path / f"{number}.npy", noise(number))
    code = ALONE.format(lines=textwrap.indent(lines, "    "))
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    for number in (1, 3, 7):
        found, expected = np.load(tmp_path / f"features{number}.npy"), features(subject, noise(number))
        assert found.shape == (number, subject.num_features) and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_the_program_is_for_all_platforms_any_batch_and_one_size_of_images(small, tmp_path):
    export_stablehlo.write(small(), tmp_path)
    exported = export.deserialize((tmp_path / export_stablehlo.FILE).read_bytes())
    assert exported.platforms == ("cpu", "tpu", "cuda")
    assert [str(aval) for aval in exported.in_avals] == ["uint8[b,16,16,3]"]
    assert [str(aval) for aval in exported.out_avals] == ["float32[b,16]"]
    with pytest.raises(ValueError, match="16"):
        exported.call(np.zeros((2, 8, 8, 3), np.uint8))


def test_the_folder_has_the_config_and_describes_the_images(small, tmp_path):
    subject = small()
    entries = export_stablehlo.write(subject, tmp_path)
    config, problems = overrides.from_tree(json.loads((tmp_path / "config.json").read_text()))
    assert config == subject.config and not problems
    readme = (tmp_path / "README.md").read_text()
    assert "`images`: `[B, 16, 16, 3]` uint8" in readme and "`features`: `[B, 16]` float32" in readme
    assert "resized to 20 pixels" in readme and "cpu, tpu, cuda" in readme
    assert jax.__version__ in readme
    assert 'open("{out}/encoder.jaxexport"' in entries["load"][1] and 'open("encoder.jaxexport"' in readme


def test_bfloat16_weights_take_half_of_the_bytes(small, tmp_path):
    sizes = []
    for dtype in ("float32", "bfloat16"):
        export_stablehlo.write(small(width=64, dtype=dtype), tmp_path)
        sizes.append((tmp_path / export_stablehlo.FILE).stat().st_size)
    assert 0.49 < sizes[1] / sizes[0] < 0.53


def test_weights_that_a_serialized_program_cannot_hold_are_refused_before_computing(
    small, tmp_path, monkeypatch
):
    monkeypatch.setattr(export_stablehlo, "_MOST_BYTES", 1000)
    with pytest.raises(UserError, match=r"--format=jax.*--format=savedmodel"):
        export_stablehlo.write(small(), tmp_path)
    assert not list(tmp_path.iterdir())
