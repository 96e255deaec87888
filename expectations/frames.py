"""Rows as the frames that Great Expectations' pandas engine reads."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa


def to_frame(rows: pa.RecordBatch | pa.Table) -> pd.DataFrame:
    """Return rows as a frame (index 0, 1, ...) in the types on which the pandas engine is right and fast.

    Timestamps and dates become times in UTC and numbers 64 bits wide: Great Expectations compares those as a
    column, others value by value in Python. Whole numbers with gaps stay whole.

    Examples
    --------
    >>> rows = pa.table({"tx": pa.array([7, None], pa.int32()), "eur": pa.array([1.5, None], pa.float32())})
    >>> to_frame(rows)["tx"].tolist(), str(to_frame(rows)["eur"].dtype)
    ([7, nan], 'float64')
    """
    columns: dict[str, Any] = {}
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        kind = column.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            columns[name] = column.cast(pa.timestamp("us", "UTC"), safe=False).to_pandas()
        elif pa.types.is_integer(kind) and kind != pa.uint64():
            columns[name] = _whole_numbers(column.cast(pa.int64()))
        elif pa.types.is_floating(kind):
            columns[name] = column.cast(pa.float64()).to_pandas()
        else:
            columns[name] = column.to_pandas()
    return pd.DataFrame(columns, index=pd.RangeIndex(rows.num_rows))


def _whole_numbers(column: pa.Array | pa.ChunkedArray) -> pd.Series:
    values = column.to_pandas(integer_object_nulls=True)
    if column.null_count:
        values[values.isna()] = np.nan  # which can be compared with a number; None cannot
    return values
