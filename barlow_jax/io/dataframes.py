"""Records as a table of pandas, if that is installed."""

from collections.abc import Mapping, Sequence
from typing import Any


def make(records: Sequence[Mapping[str, Any]]) -> Any:
    """Return the records as a pandas.DataFrame, or as they are if pandas is not installed."""
    try:
        import pandas
    except ImportError:
        return records
    return pandas.DataFrame(records)
