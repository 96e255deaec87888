"""What a task of Spark is told, and how it makes events and shares them out by the hash of a key."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.features.events import event_sql
from pipeline.features.families import plan_of
from pipeline.features.past import Part
from pipeline.features.plan import Plan
from pipeline.settings.config import Config
from pipeline.tables.pieces import buckets_of, pieces_of
from pipeline.tables.spark import Stretch
from pipeline.tables.sql import database

if TYPE_CHECKING:
    import duckdb

FILE = 2**40
"""Places that a file of the history has for its rows."""


@dataclass(frozen=True)
class Task:
    """What every task is told, as plain values.

    Parameters
    ----------
    settings : str
        JSON of `OF_THE_FEATURES`.
    memory : str
        Of DuckDB in a task.
    reviewed : bool
        Whether there are labels from review.
    types : mapping of str to str
        Of the events' columns, in DuckDB's words.
    parts : tuple of dict
        The parts of the past, by `Part.to_dict`.
    buckets : int
    first, last : int
        Of the history, events from the one on and before the other count; microseconds.
    ends : tuple of int
        Where a stretch of time ends and the next one begins, microseconds.
    kept : tuple of (str, int)
        Folders of the history's files that lie in buckets (pipeline/features/bucketed.py), with their numbers.
    """

    settings: str
    memory: str
    reviewed: bool
    types: Mapping[str, str]
    parts: tuple[dict[str, Any], ...]
    buckets: int
    first: int
    last: int
    ends: tuple[int, ...]
    kept: tuple[tuple[str, int], ...] = ()

    @cached_property
    def config(self) -> Config:
        """The configuration, as far as features go by it."""
        return Config.model_validate_json(self.settings)

    @cached_property
    def plan(self) -> Plan:
        """What is computed."""
        return plan_of(self.config, reviewed=self.reviewed)

    @cached_property
    def no_review(self) -> pa.Table:
        """Labels from review where there are none."""
        import duckdb

        with duckdb.connect() as connection:
            columns = ("id", self.types["id"]), ("label", "TINYINT"), ("labelled_at", "TIMESTAMP")
            nothing = ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in columns)
            return connection.sql(f"SELECT {nothing} LIMIT 0").to_arrow_table()

    @contextmanager
    def database(self) -> Iterator["duckdb.DuckDBPyConnection"]:
        """Give a database on one core."""
        with TemporaryDirectory() as scratch, database(self.memory, Path(scratch)) as connection:
            connection.execute("SET threads = 1")
            connection.execute("SET TimeZone = 'UTC'")
            yield connection

    def events(self, connection: "duckdb.DuckDBPyConnection", rows: pa.Table, *, copy: int) -> pa.Table:
        """Return the events of rows, in their order."""
        connection.register("rows", rows)
        event = f"{event_sql(rows.schema, self.config, self.plan)}, {copy} AS copy"
        columns = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in self.types.items())
        return connection.sql(f"SELECT {columns} FROM (SELECT {event} FROM rows)").to_arrow_table()

    def times(self, us: pa.ChunkedArray) -> np.ndarray:
        """Return the number of the stretch of time that each moment lies in."""
        return np.searchsorted(np.array(self.ends, np.int64), us.to_numpy(), side="right")


def events_of(task: Task, stretch: Stretch, *, file: int, schema: pa.Schema | None = None) -> pa.Table:
    """Return the events of a stretch of a file.

    Parameters
    ----------
    task : Task
    stretch : Stretch
    file : int
        Number of the file: 0 of the rows asked for, and of another one of the history.
    schema : pyarrow.Schema, optional
        Of all files of the history, where the stretch is of one of them.

    Returns
    -------
    pa.Table
        The columns `Task.types`, and `place`, which no two rows have alike.
    """
    found = []
    with task.database() as connection:
        first = stretch.first + file * FILE
        for batch in stretch.read():
            rows = pa.Table.from_batches([batch])
            if schema is not None:
                rows = pa.concat_tables([schema.empty_table(), rows], promote_options="default").select(schema.names)
            events = task.events(connection, rows, copy=int(schema is not None))
            place = np.arange(first, first + rows.num_rows)
            found.append(events.append_column("place", pa.array(place)))
            first += rows.num_rows
    return pa.concat_tables(found)


def within_reach(task: Task, events: pa.Table) -> pa.Table:
    """Return those of the history's events that the rows asked for look back at."""
    us = events["us"].to_numpy()
    return events.filter(pa.array((us >= task.first) & (us < task.last)))


def by_hash(task: Task, kind: str, table: pa.Table, key: str) -> Iterator[pa.RecordBatch]:
    """Yield a table's rows by bucket of a key; every process has the same DuckDB, and so the same hash."""
    with task.database() as connection:
        connection.register("rows", table)
        buckets = buckets_of(connection, key, task.buckets)
    yield from pieces_of(kind, table, buckets, task.buckets)


def needed(part: Part, task: Task) -> list[str]:
    """Return the columns of events that a part's past is made of, and the verdicts of its rows."""
    of_verdicts = ["id", "fraud", "known_us", *part.verdicts[3:]] if part.risks else []
    return list(dict.fromkeys(["place", *part.events(list(task.types)), *of_verdicts]))


def together(part: Part) -> str:
    """Return the expression by whose hash whole keys lie together."""
    return f"hash({part.key})" if _is_needed(part) else part.key


def spread(part: Part) -> str:
    """Return the same, but for rows without a key, of which nothing is known then, so that they may lie anywhere."""
    whole = together(part)
    return f"CASE WHEN {part.key} IS NULL THEN hash(place) ELSE {whole} END" if _is_needed(part) else whole


def _is_needed(part: Part) -> bool:
    return all(part.key in window.needed for window in part.windows.values())
