"""The quarantine table: rejected rows as they came, with the rules that each of them broke."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.tables.cells import as_text, rows_at
from pipeline.tables.reading import SOURCE_FILE, SOURCE_ROW, Table
from pipeline.tables.stretches import TableStretch
from pipeline.tables.writing import ParquetWriter

_LINE, _RULES, _BATCH = "line", "rules", "batch_id"
BROKEN_LINE = "csv line: has as many cells as the header"


def quarantine_schema(schema: pa.Schema) -> pa.Schema:
    """Return the columns of the quarantine table of a table with these columns.

    Every input column is text, since a cell may hold anything; one that has the name of a column below is
    called ``"<name> (as delivered)"``. Then ``line`` (the text of a CSV line that has too few or too many
    cells; all input columns are empty there), ``source_file``, ``source_row``, ``rules`` and ``batch_id``.

    Examples
    --------
    >>> quarantine_schema(pa.schema({"eur": pa.float64(), "rules": pa.string()})).names
    ['eur', 'rules (as delivered)', 'line', 'source_file', 'source_row', 'rules', 'batch_id']
    """
    names = (_LINE, SOURCE_FILE, SOURCE_ROW, _RULES, _BATCH)
    return pa.schema(
        [
            *(pa.field(f"{name} (as delivered)" if name in names else name, pa.string()) for name in schema.names),
            pa.field(_LINE, pa.string()),
            pa.field(SOURCE_FILE, pa.string()),
            pa.field(SOURCE_ROW, pa.int64()),
            pa.field(_RULES, pa.list_(pa.string())),
            pa.field(_BATCH, pa.string()),
        ]
    )


def write_quarantine(
    path: Path,
    table: Table,
    broken: Mapping[str, np.ndarray],
    *,
    batch_id: str,
    batch_rows: int,
    stretch: TableStretch | None = None,
) -> None:
    """Write the rejected rows of a table, or of a stretch of it, which is read for it once more.

    Parameters
    ----------
    path : Path
    table : Table
    broken : mapping of str to numpy.ndarray
        For each rule the rows that broke it: ascending places in the order of ``table.batches``.
    batch_id : str
    batch_rows : int
        Rows in memory at a time.
    stretch : TableStretch, optional
        The one that all these rows are in.

    Raises
    ------
    InputError
        When the table has fewer rows than when it was validated.
    """
    schema = quarantine_schema(table.schema)
    rejects = union(broken.values())
    names = np.array(list(broken), dtype=object)
    rows_written = 0
    with ParquetWriter(path, schema) as writer:
        for batch, rows in rows_at(table, rejects, batch_rows, stretch) if len(rejects) else ():
            breaches = np.column_stack([np.isin(rows, places, assume_unique=True) for places in broken.values()])
            offsets = np.concatenate([[0], np.cumsum(breaches.sum(axis=1))])
            rules = pa.ListArray.from_arrays(
                pa.array(offsets, pa.int32()), pa.array(names[np.nonzero(breaches)[1]], pa.string())
            )
            columns = [
                *(as_text(batch.column(name)) for name in table.schema.names),
                pa.nulls(batch.num_rows, pa.string()),
                batch.column(SOURCE_FILE),
                batch.column(SOURCE_ROW),
                rules,
                pa.repeat(batch_id, batch.num_rows),
            ]
            writer.write(pa.record_batch(columns, schema=schema))
            rows_written += batch.num_rows
        if table.broken:
            writer.write(_broken_lines(table, schema, batch_id))
    if rows_written != len(rejects):
        path.unlink()
        raise InputError(f"{table.path} changed while it was read; run again when it is complete")


def union(rows: Collection[np.ndarray]) -> np.ndarray:
    """Return the rows that are in any of some arrays: int64, ascending, each once.

    Examples
    --------
    >>> union([np.array([3, 5]), np.array([1, 3])]).tolist()
    [1, 3, 5]
    """
    return np.unique(np.concatenate([np.array([], dtype=np.int64), *rows]))


def _broken_lines(table: Table, schema: pa.Schema, batch_id: str) -> pa.RecordBatch:
    values: dict[str, Any] = {
        _LINE: [line.text for line in table.broken],
        SOURCE_FILE: [line.source_file for line in table.broken],
        SOURCE_ROW: [line.source_row for line in table.broken],
        _RULES: [[BROKEN_LINE]] * len(table.broken),
        _BATCH: [batch_id] * len(table.broken),
    }
    count = len(table.broken)
    columns = [
        pa.array(values[field.name], field.type) if field.name in values else pa.nulls(count, field.type)
        for field in schema
    ]
    return pa.record_batch(columns, schema=schema)
