"""Pieces of tables that go from task to task on Spark, where they meet by bucket.

A piece is a row of Spark's: what it is of (`kind`), where it belongs (`bucket`), and its rows in Arrow's stream format.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import duckdb

PIECES = "kind string, bucket long, content binary"
"""Names and types of a piece's columns, as Spark says them."""


def buckets_of(connection: "duckdb.DuckDBPyConnection", key: str, number: int) -> np.ndarray:
    """Return the bucket, of so many, of each of the relation ``rows`` by the hash of a key.

    Every process has the same DuckDB, and so the same hash.
    """
    query = f"SELECT CAST(hash({key}) % {number} AS BIGINT) AS bucket FROM rows"
    return connection.sql(query).to_arrow_table()["bucket"].to_numpy()


def pieces_of(kind: str, table: pa.Table, buckets: np.ndarray, number: int) -> Iterator[pa.RecordBatch]:
    """Yield a table's rows, a piece a bucket; one without a row has the columns.

    Examples
    --------
    >>> table = pa.table({"n": [1, 2, 3]})
    >>> pieces = pa.Table.from_batches(pieces_of("a", table, np.array([1, 0, 1]), 2))
    >>> pieces["bucket"].to_pylist(), tables_of(pieces.slice(1))["a"]["n"].to_pylist()
    ([0, 1], [1, 3])
    """
    table = table.combine_chunks().take(pa.array(np.argsort(buckets, kind="stable")))
    ends = np.searchsorted(np.sort(buckets), np.arange(number + 1))
    for bucket, (start, end) in enumerate(pairwise(ends)):
        yield piece_of(kind, bucket, table.slice(start, end - start))


def piece_of(kind: str, bucket: int, table: pa.Table) -> pa.RecordBatch:
    """Return a table as one piece."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content = pa.array([sink.getvalue().to_pybytes()], pa.binary())
    return pa.record_batch({"kind": [kind], "bucket": pa.array([bucket], pa.int64()), "content": content})


def tables_of(pieces: pa.Table) -> dict[str, pa.Table]:
    """Return the tables that pieces make up, by kind."""
    found: dict[str, list[pa.Table]] = {}
    for kind, content in zip(pieces["kind"].to_pylist(), pieces["content"], strict=True):
        found.setdefault(kind, []).append(table_of(content.as_buffer()))
    return {kind: pa.concat_tables(some) for kind, some in found.items()}


def table_of(content: bytes | pa.Buffer) -> pa.Table:
    """Return the rows of a piece by its content."""
    with pa.ipc.open_stream(content) as reader:
        return reader.read_all()


def of_a_group(work: Callable[..., pa.Table], *told: Any) -> Callable[[pa.Table], pa.Table]:
    """Return some work on a group as a function whose types Spark can read, as it can't those of a partial one."""

    def work_on(pieces: pa.Table) -> pa.Table:
        return work(*told, pieces)

    return work_on
