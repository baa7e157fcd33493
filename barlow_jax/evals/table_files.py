"""A table of features as a file that others read: `.npz` of NumPy, without pickle, or `.parquet` of pyarrow.

features  [N, H] float32; in Parquet a list of fixed size
labels    [N] int32, or [N, C] of several labels (types.FeatureTable); absent where the data set has none
names     [N] what a person finds the image by: a path, or the number in its split
index     [N] int32 places in the data set: what is missing could not be decoded
about     what the features are of, as JSON; in Parquet the schema's metadata has it
"""

from collections.abc import Mapping, Sequence
import json
import pathlib
from typing import Any, BinaryIO

import numpy as np

from barlow_jax.errors import UserError
from barlow_jax.io import files
from barlow_jax.types import FeatureTable

SUFFIXES = (".npz", ".parquet")
_GROUP_BYTES = 2**26  # of the features in a row group, about


def check(path: pathlib.Path) -> None:
    """Raises:
    UserError: such a file cannot be written here.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"--out: needs a file that ends in {' or '.join(SUFFIXES)}, got {path}")
    if path.is_dir():
        raise UserError(f"--out: {path} is a folder")
    if path.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"--out: .parquet is written by pyarrow, and importing that failed ({error}); install pyarrow, or "
                "write an .npz"
            ) from None


def write(path: pathlib.Path, table: FeatureTable, names: Sequence[str], about: Mapping[str, Any]) -> None:
    """Writes the whole file, or none.

    Args:
      path: its suffix says the format.
      table: the features and where they are from; labels of -1 alone are none.
      names: of each row.
      about: what can be said in JSON.
    """
    columns = {"features": table.features}
    if table.labels.ndim > 1 or np.any(table.labels != -1):
        columns["labels"] = table.labels
    columns |= {"names": np.array(names, np.str_), "index": table.index}
    fill = _fill_npz if path.suffix == ".npz" else _fill_parquet
    files.write(path, lambda file: fill(file, columns, json.dumps(about)))


def _fill_npz(file: BinaryIO, columns: Mapping[str, np.ndarray], about: str) -> None:
    np.savez(file, **columns, about=np.array(about))


def _fill_parquet(file: BinaryIO, columns: Mapping[str, np.ndarray], about: str) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    def array(values: np.ndarray) -> pa.Array:
        if values.ndim == 1:
            return pa.array(values.tolist() if values.dtype.kind == "U" else values)
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])

    table = pa.table({name: array(values) for name, values in columns.items()})
    group = max(1, _GROUP_BYTES // columns["features"].strides[0])
    table = table.replace_schema_metadata({"about": about})
    parquet.write_table(
        table, file, row_group_size=group, use_dictionary=False
    )  # hardly two values are alike
