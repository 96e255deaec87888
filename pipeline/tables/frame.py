"""A pandas DataFrame as Arrow has it, so that its cells are judged as those of a file are."""

from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd


def frame_to_arrow(frame: "pd.DataFrame", decimal: str) -> pa.Table:
    """Return a frame's columns, in whatever way pandas stores them, without its index.

    NaN, NaT, None and pandas.NA are missing cells. A column of mixed values becomes text, which is parsed cell by
    cell.

    Parameters
    ----------
    frame : pandas.DataFrame
    decimal : str
        ``table.decimal``, the sign that numbers among mixed values are written with.

    Examples
    --------
    >>> import pandas as pd
    >>> frame_to_arrow(pd.DataFrame({"eur": [1, None, "2.50", 0.5]}, dtype=object), ".")["eur"].to_pylist()
    ['1', None, '2.50', '0.5']
    """
    columns = [_column(frame.iloc[:, place], decimal) for place in range(frame.shape[1])]
    return pa.table(columns, names=[str(name) for name in frame.columns])


def _column(column: "pd.Series", decimal: str) -> pa.Array | pa.ChunkedArray:
    try:
        cells = pa.array(column, from_pandas=True)
    except (pa.ArrowException, OverflowError):
        return text_cells(column, decimal)
    # Arrow would take a time without a zone for UTC among others with one, and has no type for spans of time.
    is_mixed = column.dtype == object and pa.types.is_timestamp(cells.type)
    return text_cells(column, decimal) if is_mixed or isinstance(cells.type, pa.BaseExtensionType) else cells


def text_cells(column: "pd.Series", decimal: str) -> pa.Array:
    """Return a column's cells as text; a missing one stays missing."""
    return pa.array([_text(value, decimal) for value in column], pa.string())


def _text(value: Any, decimal: str) -> str | None:
    import pandas as pd

    if pd.api.types.is_scalar(value) and pd.isna(value):
        return None
    return repr(float(value)).replace(".", decimal) if isinstance(value, float) else str(value)
