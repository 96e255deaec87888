"""Ids that come twice: within a table of any size, and in batches that were scored before."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.tables.parquet import read_batches
from pipeline.tables.sql import database

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
    with database(memory_limit, scratch) as connection:
        connection.register("keys", _dataset(keys))
        connection.register("without", pa.table({ROW: without}))
        found = connection.execute(
            "WITH good AS (SELECT id, row FROM keys ANTI JOIN without USING (row)) "
            "SELECT row FROM good JOIN (SELECT id, min(row) AS kept FROM good GROUP BY id HAVING count(*) > 1) "
            "USING (id) WHERE row > kept ORDER BY row"
        )
        return np.asarray(found.fetchnumpy()[ROW], dtype=np.int64)


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
    kinds = {path: pq.read_schema(path) for path in elsewhere if path.exists()}
    files = [path for path, schema in kinds.items() if id_column in schema.names]
    if not files:
        return np.array([], dtype=np.int64)
    kind = pq.read_schema(keys).field(ID).type
    same = all(kinds[path].field(id_column).type == kind for path in files)
    compared = kind if same else pa.string()  # an id that was a number once is the same id as text

    def ids() -> Iterator[pa.RecordBatch]:
        for path in files:
            for batch in read_batches(path, [id_column]):
                yield pa.record_batch([batch.column(0).cast(compared)], names=["seen"])

    with database(memory_limit, scratch) as connection:
        connection.register("keys", _dataset([keys]))
        reader = pa.RecordBatchReader.from_batches(pa.schema({"seen": compared}), ids())
        connection.register("elsewhere", reader)
        kind_in_sql = "BIGINT" if compared == pa.int64() else "VARCHAR"
        found = connection.execute(
            f"SELECT row FROM keys SEMI JOIN elsewhere ON CAST(id AS {kind_in_sql}) = seen ORDER BY row"
        )
        return np.asarray(found.fetchnumpy()[ROW], dtype=np.int64)


def _dataset(paths: Sequence[Path]) -> object:
    import pyarrow.dataset as ds

    # DuckDB would take "[" and "*" in a path for a pattern.
    return ds.dataset([str(path) for path in paths], format="parquet")
