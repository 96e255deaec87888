"""Ids that come twice: within a table of any size, and in batches that were scored before."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.tables.parquet import read_batches
from pipeline.tables.sql import database, quote

ID, ROW = "id", "row"

GOOD_KEYS = "SELECT id, row FROM {} ANTI JOIN without USING (row)"
"""Query for the keys of the relation named there that count for something."""
LATER_COPIES = (
    "SELECT row FROM keys JOIN (SELECT id, min(row) AS first FROM keys GROUP BY id HAVING count(*) > 1) USING (id) "
    "WHERE row > first ORDER BY row"
)
"""Query for the rows among ``keys`` whose id an earlier row has."""


def seen_sql(id_type: pa.DataType) -> str:
    """Return the query for the rows among ``keys`` whose id ``elsewhere`` has, as ``seen`` of this type."""
    return f"SELECT row FROM keys SEMI JOIN elsewhere ON {id_sql(id_type)} = seen ORDER BY row"


def id_sql(id_type: pa.DataType) -> str:
    """Return a key's id in this type."""
    return f"CAST(id AS {'BIGINT' if id_type == pa.int64() else 'VARCHAR'})"


class Rise:
    """Whether ids rise from row to row, as in a file that is in their order: then none comes twice.

    Attributes
    ----------
    holds : bool
        Whether each id so far is above the one before; ids that are missing do not count.
    first, last : pyarrow.Array or None
        The first and the last of them, while it holds.

    Examples
    --------
    >>> rise = Rise()
    >>> rise.add(pa.array([1, None, 3]))
    >>> rise.holds
    True
    >>> rise.add(pa.array([3, 4]))
    >>> rise.holds
    False
    """

    def __init__(self) -> None:
        self.holds = True
        self.first: pa.Array | None = None
        self.last: pa.Array | None = None

    def add(self, ids: pa.Array) -> None:
        """Look at the ids of the next rows."""
        ids = ids.drop_null()
        if not self.holds or not len(ids):
            return
        self.holds = self._is_before(ids[:1]) and pc.all(pc.greater(ids[1:], ids[:-1]), min_count=0).as_py()
        self.first, self.last = ids[:1] if self.first is None else self.first, ids[-1:]

    def join(self, other: "Rise") -> None:
        """Look at ids that follow, of which only their rise is known."""
        self.holds = self.holds and other.holds and (other.first is None or self._is_before(other.first))
        if other.first is not None:
            self.first, self.last = other.first if self.first is None else self.first, other.last

    def _is_before(self, first: pa.Array) -> bool:
        return self.last is None or bool(pc.greater(first, self.last)[0].as_py())


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
        connection.register("files", _dataset(keys))
        connection.register("without", pa.table({ROW: without}))
        rows = connection.execute(f"WITH keys AS ({GOOD_KEYS.format('files')}) {LATER_COPIES}")
        return np.asarray(rows.fetchnumpy()[ROW], dtype=np.int64)


def seen_elsewhere(
    keys: Sequence[Path], elsewhere: Sequence[Path], id_column: str, *, memory_limit: str, scratch: Path
) -> np.ndarray:
    """Return the rows whose id is in one of other Parquet files, such as the scores of earlier batches.

    Parameters
    ----------
    keys : sequence of Path
        As in :func:`later_copies`.
    elsewhere : sequence of Path
        Files with the column ``id_column``; one without it holds none of these ids, and neither does one that
        is gone: whoever deletes the results of a batch gives its ids back.

    Returns
    -------
    numpy.ndarray
        int64, ascending.
    """
    files, id_type = files_with_ids(keys, elsewhere, id_column)
    if not files:
        return np.array([], dtype=np.int64)

    def ids() -> Iterator[pa.RecordBatch]:
        for path in files:
            for batch in read_batches(path, [id_column]):
                yield pa.record_batch([batch.column(0).cast(id_type)], names=["seen"])

    with database(memory_limit, scratch) as connection:
        connection.register("keys", _dataset(keys))
        reader = pa.RecordBatchReader.from_batches(pa.schema({"seen": id_type}), ids())
        connection.register("elsewhere", reader)
        rows = connection.execute(seen_sql(id_type))
        return np.asarray(rows.fetchnumpy()[ROW], dtype=np.int64)


def files_with_ids(keys: Sequence[Path], elsewhere: Sequence[Path], id_column: str) -> tuple[list[Path], pa.DataType]:
    """Return those of other files that hold ids, and the type in which an id is the same as there."""
    schemas = {path: pq.read_schema(path) for path in elsewhere if path.exists()}
    files = [path for path, schema in schemas.items() if id_column in schema.names]
    key_type = pq.read_schema(keys[0]).field(ID).type
    is_one_type = all(schemas[path].field(id_column).type == key_type for path in files)
    return files, key_type if is_one_type else pa.string()  # an id that was a number once is the same id as text


def same_elsewhere(
    rows: pa.Table, elsewhere: Sequence[Path], columns: Sequence[str], *, memory_limit: str, scratch: Path
) -> np.ndarray:
    """Return the rows that are in one of other Parquet files with the same values in some columns.

    Parameters
    ----------
    rows : pyarrow.Table
        With the column ``row`` at the end, and before it the columns to compare.
    elsewhere : sequence of Path
        Files with these columns, of the same types.
    columns : sequence of str
        Their names in the files, in the order of the table's.

    Returns
    -------
    numpy.ndarray
        int64, ascending.
    """
    if not elsewhere or not rows.num_rows:
        return np.array([], dtype=np.int64)
    names = [f"c{n}" for n in range(len(columns))]
    with database(memory_limit, scratch) as connection:
        connection.register("given", rows.rename_columns([*names, ROW]))
        connection.register("elsewhere", _dataset(elsewhere))
        same = " AND ".join(
            f"given.{name} = elsewhere.{quote(column)}" for name, column in zip(names, columns, strict=True)
        )
        places = connection.execute(f"SELECT row FROM given SEMI JOIN elsewhere ON {same} ORDER BY row")
        return np.asarray(places.fetchnumpy()[ROW], dtype=np.int64)


def _dataset(paths: Sequence[Path]) -> object:
    import pyarrow.dataset as ds

    # DuckDB would take "[" and "*" in a path for a pattern.
    return ds.dataset([str(path) for path in paths], format="parquet")
