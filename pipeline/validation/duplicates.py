"""Ids that come twice: within a table of any size, and in batches that were scored before."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.tables.parquet import read_batches

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ID, ROW = "id", "row"


def later_copies(keys: Sequence[Path], without: np.ndarray, *, memory_limit: str, scratch: Path) -> np.ndarray:
    """Return the rows whose id an earlier row has.

    Parameters
    ----------
    keys : sequence of Path
        Parquet files with the columns ``id`` (int64 or string) and ``row`` (int64, no number twice).
    without : numpy.ndarray
        Rows that count for nothing, since they were rejected.
    memory_limit : str
        For DuckDB, such as ``"2GB"``; beyond it, ids are spilled to ``scratch``.
    scratch : Path
        Folder for temporary files.

    Returns
    -------
    numpy.ndarray
        int64, ascending.
    """
    with _database(memory_limit, scratch) as database:
        database.register("keys", _dataset(keys))
        database.register("without", pa.table({ROW: without}))
        rows = database.execute(
            "WITH good AS (SELECT id, row FROM keys ANTI JOIN without USING (row)) "
            "SELECT row FROM good JOIN (SELECT id, min(row) AS first FROM good GROUP BY id HAVING count(*) > 1) "
            "USING (id) WHERE row > first ORDER BY row"
        )
        return np.asarray(rows.fetchnumpy()[ROW], dtype=np.int64)


def seen_elsewhere(
    keys: Path, elsewhere: Sequence[Path], id_column: str, *, memory_limit: str, scratch: Path
) -> np.ndarray:
    """Return the rows whose id is in one of other Parquet files, such as the scores of earlier batches.

    Parameters
    ----------
    keys : Path
        As in :func:`later_copies`.
    elsewhere : sequence of Path
        Files with the column ``id_column``; one without it holds none of these ids, and neither does one that
        is gone: whoever deletes the results of a batch gives its ids back.

    Returns
    -------
    numpy.ndarray
        int64, ascending.
    """
    schemas = {path: pq.read_schema(path) for path in elsewhere if path.exists()}
    files = [path for path, schema in schemas.items() if id_column in schema.names]
    if not files:
        return np.array([], dtype=np.int64)
    key_type = pq.read_schema(keys).field(ID).type
    is_one_type = all(schemas[path].field(id_column).type == key_type for path in files)
    id_type = key_type if is_one_type else pa.string()  # an id that was a number once is the same id as text

    def ids() -> Iterator[pa.RecordBatch]:
        for path in files:
            for batch in read_batches(path, [id_column]):
                yield pa.record_batch([batch.column(0).cast(id_type)], names=["seen"])

    with _database(memory_limit, scratch) as database:
        database.register("keys", _dataset([keys]))
        reader = pa.RecordBatchReader.from_batches(pa.schema({"seen": id_type}), ids())
        database.register("elsewhere", reader)
        sql_type = "BIGINT" if id_type == pa.int64() else "VARCHAR"
        rows = database.execute(
            f"SELECT row FROM keys SEMI JOIN elsewhere ON CAST(id AS {sql_type}) = seen ORDER BY row"
        )
        return np.asarray(rows.fetchnumpy()[ROW], dtype=np.int64)


def _dataset(paths: Sequence[Path]) -> object:
    import pyarrow.dataset as ds

    # DuckDB would take "[" and "*" in a path for a pattern.
    return ds.dataset([str(path) for path in paths], format="parquet")


@contextmanager
def _database(memory_limit: str, scratch: Path) -> Iterator["DuckDBPyConnection"]:
    import duckdb

    database = duckdb.connect(config={"memory_limit": memory_limit, "temp_directory": str(scratch)})
    try:
        yield database
    finally:
        database.close()
