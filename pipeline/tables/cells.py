"""Cells of a table as they came, found again by their place, as text and as words."""

from collections.abc import Collection, Iterator

import numpy as np
import pyarrow as pa

from pipeline.tables.reading import SOURCE_FILE, SOURCE_ROW, Table
from pipeline.tables.stretches import TableStretch


def describe_cells(
    table: Table, cells: Collection[tuple[str, int]], batch_rows: int
) -> dict[tuple[str, int], tuple[str, str]]:
    """Return what some cells hold and where they are, as words.

    Parameters
    ----------
    table : Table
    cells : collection of (str, int)
        Each a column and a row: a place in the order of ``table.batches``.
    batch_rows : int
        Rows in memory at a time.

    Returns
    -------
    dict
        By cell, its value ("'-1'", or "nothing") and its place ("in.csv, source_row 90").
    """
    words = {}
    for batch, rows in rows_at(table, np.unique([row for _, row in cells]), batch_rows):
        for column, row in cells:
            if row in rows:
                at = int(np.searchsorted(rows, row))
                value = as_text(batch.column(column))[at].as_py()
                text = "nothing" if value is None else repr(value if len(value) <= 40 else value[:40] + "…")
                file, place = batch.column(SOURCE_FILE)[at].as_py(), batch.column(SOURCE_ROW)[at].as_py()
                words[column, row] = text, f"{file}, {SOURCE_ROW} {place}"
    return words


def as_text(column: pa.Array) -> pa.Array:
    """Return any column as text, as it came.

    Examples
    --------
    >>> as_text(pa.array([1e300, None])).to_pylist(), as_text(pa.array([[1, None]])).to_pylist()
    (['1e+300', None], ['[1, None]'])
    """
    try:
        return column.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # nested, or bytes that are no text
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())


def rows_at(
    table: Table, rows: np.ndarray, batch_rows: int, stretch: TableStretch | None = None
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """Yield the rows at some places, with these places; the table, or a stretch of it, is read to its end.

    Parameters
    ----------
    table : Table
    rows : array of int64
        Ascending places in the order of ``table.batches``.
    batch_rows : int
        Rows in memory at a time.
    stretch : TableStretch, optional
        What is read of the table; all when left out.
    """
    start = stretch.first if stretch else 0
    for batch in table.batches(batch_rows, stretch):
        end = start + batch.num_rows
        places = rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)]
        if len(places):
            yield batch.take(pa.array(places - start)), places
        start = end
