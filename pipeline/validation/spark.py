"""Validation on Apache Spark: a table is read by tasks, a stretch each, and ids that come twice meet by their hash.

A task judges the rows of its stretch with the code of one process and writes those that pass, with their ids, into a
folder that the whole cluster sees; what it met besides comes back, and is added up in the table's order. Stretches
begin where the batches of one process do, so that every batch is the same one, whoever judges it.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expectations.suites import SuiteError
from pipeline.errors import AssayError
from pipeline.settings.engine import EngineConfig, bytes_of
from pipeline.tables.pieces import PIECES, buckets_of, of_a_group, pieces_of, tables_of
from pipeline.tables.reading import Table
from pipeline.tables.spark import (
    ROWS_A_TASK,
    Stretch,
    a_task_each,
    answers,
    at_once,
    join_on_spark,
    on_spark,
    session,
    stretches,
)
from pipeline.tables.sql import database
from pipeline.tables.stretches import NotByItself, TableStretch
from pipeline.validation.duplicates import GOOD_KEYS, ID, LATER_COPIES, ROW, files_with_ids, id_sql, seen_sql
from pipeline.validation.quarantine import union, write_quarantine
from pipeline.validation.rows import Findings, Places, Reading

if TYPE_CHECKING:
    import duckdb

Answer = TypeVar("Answer")

KEYS, ELSEWHERE = "keys", "elsewhere"
ROWS_A_BUCKET = 2_000_000
"""Ids that a task holds against each other, about."""


def read_on_spark(reading: Reading, scratch: Path, on_rows: Callable[[int], None]) -> None:
    """Run a reading by the cluster of its configuration; what it finds is what one process does.

    A table that is read in order, such as packed CSV, is read here, and so is one that the cluster does not see,
    or whose results go to a folder that it does not see.

    Parameters
    ----------
    reading : Reading
        One that has read nothing.
    scratch : Path
        Folder that the whole cluster sees at the same path, as it sees the table.
    on_rows : callable
        Called with numbers of rows that were read.

    Raises
    ------
    InputError
        When a file turns out to be unreadable on the way.
    ResourceError
        When the cluster can't be reached, or a job fails.
    """
    engine = reading.config.engine
    session(engine)
    parts = reading.table.stretches(reading.batch_rows, ROWS_A_TASK)
    found = _by_tasks(engine, partial(_findings_of, reading=reading.of_tasks()), scratch, [(part,) for part in parts])
    if not found:
        reading.run(on_rows)
        return
    reading.stretches = parts
    for findings in found:
        reading.findings.add(findings)
        on_rows(findings.rows)


def _findings_of(folder: Path, stretch: TableStretch, *, reading: Reading) -> Findings:
    reading = reading.over(stretch, folder)
    reading.run(lambda rows: None)
    return reading.findings


def quarantine_on_spark(path: Path, reading: Reading, broken: Mapping[str, Places], *, batch_id: str) -> None:
    """Write what `write_quarantine` does, by tasks that read the stretches with rejected rows once more.

    Parameters
    ----------
    path : Path
        In a folder that the whole cluster sees at the same path.
    reading : Reading
    broken, batch_id
        As `write_quarantine` takes them.

    Raises
    ------
    InputError
        When the table has fewer rows than when it was validated.
    ResourceError
        When the cluster can't be reached, or a job fails.
    """
    table, rows = reading.table, reading.batch_rows
    rejects = union(broken.values())
    parts = [part for part in reading.stretches if len(_within(part, rejects))]
    if table.format == "parquet" and parts and table.stretches(rows, ROWS_A_TASK) != reading.stretches:
        parts = []  # it was changed meanwhile, which whoever reads all of it notices
    items = [(part, {name: _within(part, places) for name, places in broken.items()}) for part in parts]
    work = partial(_quarantine_of, table=table, batch_id=batch_id, rows=rows)
    files = _by_tasks(reading.config.engine, work, path.parent, items)
    if not files:
        write_quarantine(path, table, broken, batch_id=batch_id, batch_rows=rows)
        return
    join_rows_on_spark(files, path, engine=reading.config.engine)


def join_rows_on_spark(files: Sequence[Path], out: Path, *, engine: EngineConfig) -> Path:
    """Make one file of the rows that tasks wrote, as `join_on_spark` does, by a cluster."""
    with on_spark(engine, "validation") as spark:
        return join_on_spark(spark, files, out)


def _quarantine_of(
    folder: Path, stretch: TableStretch, broken: Mapping[str, Places], *, table: Table, batch_id: str, rows: int
) -> Path:
    file = folder / "quarantine.parquet"
    write_quarantine(file, table, broken, batch_id=batch_id, batch_rows=rows, stretch=stretch)
    return file


def _within(stretch: TableStretch, places: Places) -> Places:
    """Return those of ascending places that lie in a stretch."""
    return places[slice(*np.searchsorted(places, [stretch.first, stretch.first + stretch.rows]))]


def _by_tasks(
    engine: EngineConfig,
    work: Callable[..., Answer],
    scratch: Path,
    items: Sequence[tuple[TableStretch, *tuple[Any, ...]]],
) -> list[Answer]:
    """Return what some work makes of a folder for its files, a stretch and what goes with it, a task each, in order.

    Nothing where there is nothing to do, and where a stretch can't be read by itself, or it or the folder is not seen
    from a machine of the cluster. What is the table's fault is raised as one process meets it, the first first.
    """
    if not items:
        return []
    with on_spark(engine, "validation") as spark:
        found = answers(spark, partial(_tried, work, str(scratch.absolute())), items)
    if any(answer is None for answer in found):
        return []
    for answer in found:
        if isinstance(answer, Exception):
            raise answer
    return cast("list[Answer]", found)


def _tried(
    work: Callable[..., Answer], scratch: str, item: tuple[TableStretch, *tuple[Any, ...]]
) -> Answer | Exception | None:
    """Return what some work makes of a stretch, the error that is the table's fault, or None where it can't be read."""
    if not (item[0].is_there() and Path(scratch).is_dir()):
        return None
    folder = Path(scratch) / f"{item[0].first:012d}"
    folder.mkdir(exist_ok=True)
    try:
        return work(folder, *item)
    except NotByItself:
        return None
    except (AssayError, SuiteError) as error:
        return error


def later_copies_on_spark(
    keys: Sequence[Path], without: Places, *, engine: EngineConfig, memory_limit: str, scratch: Path
) -> Places:
    """Return what `later_copies` of pipeline.validation.duplicates does, by a cluster that sees files and folder."""
    rejects = scratch.absolute() / "without.parquet"
    pq.write_table(pa.table({ROW: without}), rejects)
    id_type = pq.read_schema(keys[0]).field(ID).type
    ids = _Ids(engine, memory_limit, LATER_COPIES, id_type, str(rejects))
    return ids.rows([(KEYS, ID, stretch) for path in keys for stretch in stretches(path)])


def seen_on_spark(
    keys: Sequence[Path],
    elsewhere: Sequence[Path],
    id_column: str,
    *,
    engine: EngineConfig,
    memory_limit: str,
    scratch: Path,
) -> Places:
    """Return what `seen_elsewhere` of pipeline.validation.duplicates does, by a cluster that sees the files."""
    files, id_type = files_with_ids(keys, elsewhere, id_column)
    others = [(ELSEWHERE, id_column, stretch) for path in files for stretch in stretches(path)]
    own = [(KEYS, ID, stretch) for path in keys for stretch in stretches(path)]
    return _Ids(engine, memory_limit, seen_sql(id_type), id_type).rows([*own, *others] if own and others else [])


@dataclass(frozen=True)
class _Ids:
    """Ids that meet in buckets, by their hash, where a query finds rows.

    Parameters
    ----------
    engine : EngineConfig
    memory_limit : str
        For DuckDB, shared by the tasks of an executor.
    query : str
        Over the relations ``keys`` and ``elsewhere``, of whole ids.
    id_type : pyarrow.DataType
        In which ids are the same.
    without : str
        Parquet file of the keys that count for nothing; "" where all count.
    """

    engine: EngineConfig
    memory_limit: str
    query: str
    id_type: pa.DataType
    without: str = ""

    def rows(self, items: Sequence[tuple[str, str, Stretch]]) -> Places:
        """Return the rows that the query finds: int64, ascending.

        Parameters
        ----------
        items : sequence of (kind, column, Stretch)
            The files' stretches, each with the relation that it is of and its column of ids.
        """
        if not items:
            return np.array([], dtype=np.int64)
        rows = sum(pq.read_metadata(file).num_rows for file in {stretch.file for *_, stretch in items})
        with on_spark(self.engine, "looking for ids that come twice") as spark:
            slots = spark.sparkContext.defaultParallelism
            buckets = max(slots, math.ceil(rows / ROWS_A_BUCKET))
            memory = f"{bytes_of(self.memory_limit) // at_once(spark)}B"
            spark.conf.set("spark.sql.shuffle.partitions", buckets)
            pieces = a_task_each(spark, partial(self._by_id, memory, buckets), items, PIECES)
            found = pieces.groupBy("bucket").applyInArrow(of_a_group(self._in_bucket, memory), "row long").toArrow()
        return np.sort(found[ROW].to_numpy())

    def _by_id(self, memory: str, buckets: int, item: tuple[str, str, Stretch]) -> Iterator[pa.RecordBatch]:
        """Yield the ids of a stretch by the bucket of their hash."""
        kind, column, stretch = item
        rows = pa.Table.from_batches(stretch.read([column, ROW] if kind == KEYS else [column]))
        with _database(memory) as connection:
            if kind == ELSEWHERE:
                rows = pa.table({"seen": rows.column(0).cast(self.id_type)})
            elif self.without:
                connection.register("files", rows)
                ends = pc.min_max(rows[ROW])
                is_near = (pc.field(ROW) >= ends["min"]) & (pc.field(ROW) <= ends["max"])
                connection.register("without", pq.read_table(self.without, filters=is_near))
                rows = connection.sql(GOOD_KEYS.format("files")).to_arrow_table()
            connection.register("rows", rows)
            key = "seen" if kind == ELSEWHERE else id_sql(self.id_type)
            yield from pieces_of(kind, rows, buckets_of(connection, key, buckets), buckets)

    def _in_bucket(self, memory: str, pieces: pa.Table) -> pa.Table:
        """Return the rows that the query finds among whole ids."""
        with _database(memory) as connection:
            for kind, table in tables_of(pieces).items():
                connection.register(kind, table)
            return connection.sql(self.query).to_arrow_table()


@contextmanager
def _database(memory: str) -> Iterator["duckdb.DuckDBPyConnection"]:
    """Give a database on one core."""
    with TemporaryDirectory() as scratch, database(memory, Path(scratch)) as connection:
        connection.execute("SET threads = 1")
        yield connection
