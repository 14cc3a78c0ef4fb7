# SPDX-License-Identifier: Apache-2.0
"""Reads and writes numeric columns of parquet files; errors name the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gr00t_policy_core.errors import DatasetError

Matrix = npt.NDArray[np.float32]


def read_table(file: Path, columns: Sequence[str], filters: Any = None) -> Any:
    """Read columns of a parquet file as a `pyarrow.Table`.

    Args:
        file: The path of the parquet file.
        columns: The names of the columns to read.
        filters: Selects rows, as in `pyarrow.parquet.read_table`; None reads all.

    Raises:
        DatasetError: The file is missing or damaged, or lacks a column.
        ImportError: pyarrow is not installed.
    """
    pa, pq = import_pyarrow()
    if not file.is_file():
        raise DatasetError(file, "no such file")
    try:
        names = pq.read_schema(file).names
        missing = [column for column in columns if column not in names]
        if missing:
            raise DatasetError(file, f"no column {missing}, only {names}")
        return pq.read_table(file, columns=list(columns), filters=filters, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(file, _why_unreadable(file, error)) from error


def as_matrix(column: Any) -> Matrix:
    """Convert a column of lists, fixed-size lists, numbers or booleans to float32 (rows, width).

    True becomes 1, and a missing value within a list NaN.

    Raises:
        ValueError: A row is missing, rows have different lengths, or values are not numbers.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    rows, width = len(column), 1
    if column.null_count:
        raise ValueError(f"{column.null_count} rows are missing")
    kind = column.type
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        widths = pc.unique(pc.list_value_length(column)).to_pylist()
        if len(widths) != 1:
            raise ValueError(f"expected lists of one length, got lengths {sorted(widths)}")
        width = widths[0]
        column = pc.list_flatten(column)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ValueError(f"expected numbers or lists of numbers, got {kind}")
    matrix: Matrix = column.to_numpy().reshape(rows, width).astype(np.float32)
    return matrix


def vector_array(rows: npt.NDArray[Any]) -> Any:
    """The rows of a column as a `pyarrow.Array`: numbers, or fixed-size lists of them.

    Args:
        rows: (rows,) or (rows, D).

    Raises:
        ImportError: pyarrow is not installed.
    """
    pa, _ = import_pyarrow()
    if rows.ndim == 1:
        return pa.array(rows)
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])


def write_table(columns: Mapping[str, Any], file: Path) -> None:
    """Write a parquet file.

    Args:
        columns: The columns by name, each a `pyarrow.Array` or a list.
        file: The path of the file; its folders are made.

    Raises:
        ImportError: pyarrow is not installed.
    """
    pa, pq = import_pyarrow()
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), file)


def import_pyarrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet.

    Raises:
        ImportError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError(
            "a dataset needs pyarrow: run pip install '.[replay]' in the folder of gr00t_ros"
        ) from error
    return pa, pq


def _why_unreadable(file: Path, error: Exception) -> str:
    with file.open("rb") as stream:
        if stream.read(24) == b"version https://git-lfs.":
            return "is a Git LFS pointer, not the data: run `git lfs pull` in the dataset"
    return f"cannot be read as parquet: {error}"
