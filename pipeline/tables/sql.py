"""DuckDB: a database in memory for the length of a block, and names and texts quoted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ResourceError

if TYPE_CHECKING:
    import duckdb


@contextmanager
def database(memory_limit: str, scratch: Path) -> Iterator["duckdb.DuckDBPyConnection"]:
    """Give an empty DuckDB database, which is gone after the block.

    Parameters
    ----------
    memory_limit : str
        Such as ``"2GB"``; beyond it, what does not fit is spilled to ``scratch``.
    scratch : Path
        Folder for temporary files.

    Raises
    ------
    ResourceError
        When a query in the block needs more than that at once.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, database("1GB", Path(folder)) as connection:
    ...     connection.sql("SELECT 6 * 7").fetchall()
    [(42,)]
    """
    import duckdb

    try:
        with duckdb.connect(config={"memory_limit": memory_limit, "temp_directory": str(scratch)}) as connection:
            yield connection
    except duckdb.OutOfMemoryException:
        raise ResourceError(
            f"features.memory_limit = {memory_limit!r} is less than one step over these rows needs at once; raise it, "
            "give a shorter period, or name fewer families in features.families"
        ) from None


def quote(name: str) -> str:
    """Return a column's name as an SQL identifier.

    Examples
    --------
    >>> quote("tx id")
    '"tx id"'
    """
    return '"' + name.replace('"', '""') + '"'


def text_sql(value: str) -> str:
    """Return a text as an SQL literal.

    Examples
    --------
    >>> text_sql("it's")
    "'it''s'"
    """
    return "'" + value.replace("'", "''") + "'"


def may_be_missing(query: str, columns: int) -> str:
    """Return a query whose columns DuckDB writes to Parquet as ones that may be missing, of whatever rows.

    It marks those in which it knows that there is no missing value: the same table would have another schema then,
    depending on how it was made.
    """
    return f"{query} UNION ALL SELECT {', '.join(['NULL'] * columns)} FROM range(0)"
