"""Parquet files of our own making: read in batches, rows taken by place or by mask."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.tables.files import parquet_file
from pipeline.tables.period import TIMESTAMP
from pipeline.tables.writing import ParquetWriter

ROWS_READ = 65_536
"""Rows in memory at a time."""


def read_batches(path: Path, columns: Sequence[str] | None = None, rows: int = ROWS_READ) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file of our own making, ``rows`` at a time at most.

    What Arrow keeps of earlier reads goes back to the system before and after: of large tables, hundreds of MB.
    """
    pa.default_memory_pool().release_unused()
    try:
        with parquet_file(path) as reader:
            yield from reader.iter_batches(rows, columns=list(columns) if columns is not None else None)
    finally:
        pa.default_memory_pool().release_unused()


def take_rows(path: Path, places: np.ndarray, columns: Sequence[str] | None = None) -> pa.Table:
    """Return rows of a Parquet file of our own making by position, in the order given; only they are held in memory.

    Parameters
    ----------
    path : Path
    places : array of int64, shape (n,)
    columns : sequence of str, optional
        The columns to read; all when left out.
    """
    ascending = np.sort(places)
    parts, start = [], 0
    for batch in read_batches(path, columns):
        rows = ascending[slice(*np.searchsorted(ascending, [start, start + batch.num_rows]))]
        parts.append(batch.take(pa.array(rows - start)))
        start += batch.num_rows
    schema = pq.read_schema(path)
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns], schema.metadata)
    table = pa.Table.from_batches(parts, schema=schema)
    return table.take(pa.array(np.searchsorted(ascending, places)))


def filter_rows(path: Path, out: Path, mask: np.ndarray) -> int:
    """Write the rows of a Parquet file of our own making that a mask keeps, in its order; return how many there are.

    Parameters
    ----------
    path, out : Path
        May be the same.
    mask : array of bool, shape (n_rows,)
    """
    start = 0
    with ParquetWriter(out, pq.read_schema(path)) as writer:
        for batch in read_batches(path):
            writer.write(batch.filter(pa.array(mask[start : start + batch.num_rows])))
            start += batch.num_rows
    return int(np.count_nonzero(mask))


def span(path: Path, column: str) -> tuple[datetime, datetime]:
    """Return the first and the last timestamp of a Parquet file that has a row at least.

    They stand in its footer as a rule; where they do not, the column is read.
    """
    with parquet_file(path) as reader:
        kind, parts = reader.schema_arrow.field(column).type, _statistics(reader, column)
    ends = [(part.min_raw, part.max_raw) for part in parts if part is not None and part.has_min_max]
    if kind == TIMESTAMP and len(ends) == len(parts) > 0:
        raw = min(low for low, _ in ends), max(high for _, high in ends)
        first, last = pa.array(raw, pa.int64()).cast(TIMESTAMP).to_pylist()
        return first, last
    bounds = [pc.min_max(batch.column(column)) for batch in read_batches(path, columns=[column])]
    return min(pair["min"].as_py() for pair in bounds), max(pair["max"].as_py() for pair in bounds)


def null_counts(path: Path, columns: Sequence[str]) -> dict[str, int]:
    """Return how many cells of some columns of a Parquet file are missing; NaN is not.

    They stand in its footer as a rule; a column where they do not is read.
    """
    with parquet_file(path) as reader:
        parts = {name: _statistics(reader, name) for name in columns}
    counts = {}
    for name, statistics in parts.items():
        known = [part.null_count for part in statistics if part is not None and part.has_null_count]
        if len(known) == len(statistics):
            counts[name] = sum(known)
        else:
            counts[name] = sum(batch.column(0).null_count for batch in read_batches(path, columns=[name]))
    return counts


def _statistics(reader: pq.ParquetFile, column: str) -> list[pq.Statistics | None]:
    """Return what a file's footer says of a column that is not nested, a row group after the other."""
    footer = reader.metadata
    names = [footer.schema.column(number).path for number in range(len(footer.schema))]
    place = names.index(column)
    return [footer.row_group(number).column(place).statistics for number in range(footer.num_row_groups)]
