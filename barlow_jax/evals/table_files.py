"""Feature tables as files for other programs: NumPy's `.npz` without pickle, or pyarrow's `.parquet`.

features  [N, H] float32; in Parquet a list of fixed size
labels    [N] int32, or multi-label [N, C] (types.FeatureTable); absent if the data set has none
names     [N] path of the image, or its index in its split
index     [N] int32 index in the data set; missing indices could not be decoded
row       [N] int32 row of the tile's corner in its image, in pixels, and its column; absent without tiles
about     the source of the features as JSON; in Parquet it is in the schema's metadata
"""

from collections.abc import Mapping, Sequence
import json
from typing import Any, BinaryIO

import numpy as np

from barlow_jax.errors import UserError
from barlow_jax.io import files
from barlow_jax.io.paths import Path
from barlow_jax.types import FeatureTable

SUFFIXES = (".npz", ".parquet")
_GROUP_BYTES = 2**26  # approximate size of the features in a row group


def check(path: Path) -> None:
    """Check that such a file can be written here.

    Raises:
      UserError: the suffix is unknown, or the path is a folder.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"--out is {path}, but must end in {' or '.join(SUFFIXES)}")
    if path.is_dir():
        raise UserError(f"--out: {path} is a folder; pass a file")


def write(
    path: Path,
    table: FeatureTable,
    names: Sequence[str],
    about: Mapping[str, Any],
    corners: np.ndarray | None = None,
) -> None:
    """Write the file atomically, in the format that its suffix selects.

    Labels that are all -1 are left out. `about` describes the source of the features as JSON values;
    `corners` are `[N, 2]` rows and columns of tiles.
    """
    columns = {"features": table.features}
    if table.labels.ndim > 1 or np.any(table.labels != -1):
        columns["labels"] = table.labels
    columns |= {"names": np.array(names, np.str_), "index": table.index}
    if corners is not None:
        columns |= {"row": corners[:, 0].astype(np.int32), "column": corners[:, 1].astype(np.int32)}
    if path.suffix == ".npz":
        files.write(path, lambda file: np.savez(file, **columns, about=np.array(json.dumps(about))))
    else:
        files.write(path, lambda file: _fill_parquet(file, columns, json.dumps(about)))


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
    # Features hardly repeat, so a dictionary would only cost time.
    parquet.write_table(table, file, row_group_size=group, use_dictionary=False)
