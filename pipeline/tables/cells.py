"""Cells of a table as they came, found again by their place, as text and as words."""

from collections.abc import Collection, Iterator

import numpy as np
import pyarrow as pa

from pipeline.tables.reading import SOURCE_FILE, SOURCE_ROW, Table


def describe_cells(
    table: Table, wanted: Collection[tuple[str, int]], batch_rows: int
) -> dict[tuple[str, int], tuple[str, str]]:
    """Return, for some cells given as (column, row), what they hold and where they are, as words.

    The row is a place in the order of ``table.batches``.
    """
    found = {}
    for batch, rows in rows_at(table, np.unique([row for _, row in wanted]), batch_rows):
        for column, row in wanted:
            if row in rows:
                at = int(np.searchsorted(rows, row))
                value = as_text(batch.column(column))[at].as_py()
                shown = "nothing" if value is None else repr(value if len(value) <= 40 else value[:40] + "…")
                file, place = batch.column(SOURCE_FILE)[at].as_py(), batch.column(SOURCE_ROW)[at].as_py()
                found[column, row] = shown, f"{file}, {SOURCE_ROW} {place}"
    return found


def as_text(column: pa.Array) -> pa.Array:
    """Return any column as text, as it came."""
    try:
        return column.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # nested, or bytes that are no text
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())


def rows_at(table: Table, rows: np.ndarray, batch_rows: int) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """Yield the rows at these places (ascending), with their places; the table is read to its end."""
    start = 0
    for batch in table.batches(batch_rows):
        end = start + batch.num_rows
        here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)]
        if len(here):
            yield batch.take(pa.array(here - start)), here
        start = end
