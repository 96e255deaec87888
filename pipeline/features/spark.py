"""Features on Apache Spark: its tasks run the queries of one machine, over rows that it shares out by key.

Between tasks go pieces of tables, each a row of Spark's: what it is of (`kind`), where it belongs (`bucket`), and its
rows in Arrow's stream format. First a task makes events of some row groups. The copies of a row, and its labels from
review, meet in the bucket of its id; there one copy is left. A bucket of whole keys has the verdicts of its rows made
and their past computed (`past_of`), and the rows of a stretch of time are put together with their past and written.
What everybody's days add up to is small: it is summed here, and every task gets it.
"""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.features.columns import table_sql
from pipeline.features.events import ONE_COPY, Files, event_sql, reach
from pipeline.features.everybody import daily_sums, joined_sums_sql, make_everybody
from pipeline.features.families import plan_of
from pipeline.features.past import Part, parts_of, past_of
from pipeline.features.plan import Plan
from pipeline.features.risks import verdicts
from pipeline.features.shards import BYTES_A_ROW
from pipeline.settings.config import Config
from pipeline.settings.engine import bytes_of
from pipeline.tables.parquet import read_batches, span
from pipeline.tables.pieces import PIECES, buckets_of, of_a_group, piece_of, pieces_of, table_of, tables_of
from pipeline.tables.spark import Stretch, a_task_each, at_once, join_on_spark, on_spark, stretches
from pipeline.tables.sql import database, quote, text_sql

if TYPE_CHECKING:
    import duckdb
    from pyspark.sql import DataFrame, SparkSession

OF_THE_FEATURES = {"contract", "table", "validation", "features"}
"""Sections of the configuration that features go by: no other leaves this machine."""
FEWEST_BUCKETS = 4
"""Buckets for each core of the cluster at least, so that a heavy one keeps few others from their work."""
ROWS_WRITTEN = 100_000
"""Rows of a stretch of time, about, that are put together and written at once."""
ASKED, HISTORY, REVIEWED = "asked", "history", "reviewed"
"""What a stretch of a file is of."""


@dataclass(frozen=True)
class _Task:
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

    @cached_property
    def config(self) -> Config:
        """The configuration, as far as features go by it."""
        return Config.model_validate_json(self.settings)

    @cached_property
    def plan(self) -> Plan:
        """What is computed."""
        return plan_of(self.config, reviewed=self.reviewed)

    @property
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


def compute_on_spark(files: Files, config: Config, plan: Plan, scratch: Path) -> Path:
    """Write the feature table by a Spark cluster.

    Parameters
    ----------
    files : Files
        With a row at least.
    config : Config
    plan : Plan
    scratch : Path
        Folder that the whole cluster sees at the same path, as it sees the files.

    Returns
    -------
    Path
        Parquet file in the scratch folder.

    Raises
    ------
    ResourceError
        When the cluster can't be reached, or a job fails.
    """
    pieces, written = scratch / "pieces", scratch / "written"
    written.mkdir()
    with on_spark(config.engine, "computing features") as spark:
        task = _task(spark, files, config, plan)
        spark.conf.set("spark.sql.shuffle.partitions", task.buckets)
        shares = _shares(spark, files, task)
        shares.write.partitionBy("kind").option("parquet.enable.dictionary", "false").parquet(
            f"file://{pieces.absolute()}"
        )
        # Spark takes signs in a path for a pattern, but for those with a backslash.
        kept = spark.read.schema(PIECES).parquet(f"file://{_escaped(pieces.absolute())}")
        everybody = spark.sparkContext.broadcast(_everybody(kept, task))
        rows = a_task_each(spark, partial(_rows_by_time, task), stretches(files.rows), PIECES)
        for part in parts_of(plan):
            of_part = kept.where(kept["kind"].isin(f"events_{part.key}", f"{REVIEWED}_{part.key}")).groupBy("bucket")
            rows = rows.union(of_part.applyInArrow(of_a_group(_past, task, part.to_dict()), PIECES))
        write = of_a_group(_write, task, everybody, str(written.absolute()))
        rows.groupBy("bucket").applyInArrow(write, "bucket long").collect()
        return join_on_spark(spark, sorted(written.glob("*.parquet")), scratch / "features.parquet")


def _task(spark: "SparkSession", files: Files, config: Config, plan: Plan) -> _Task:
    memory = bytes_of(config.features.memory_limit) // at_once(spark)
    slots = spark.sparkContext.defaultParallelism
    asked, *others = (pq.read_metadata(file).num_rows for file in (files.rows, *files.history))
    fewest = max(FEWEST_BUCKETS * slots, math.ceil(2 * (asked + sum(others)) * BYTES_A_ROW / memory))
    first, last = reach(*span(files.rows, config.contract.timestamp), config)
    return _Task(
        config.model_dump_json(include=OF_THE_FEATURES),
        memory=f"{memory}B",
        reviewed=bool(files.reviewed),
        types=_event_types(files, config, plan),
        parts=tuple(part.to_dict() for part in parts_of(plan)),
        buckets=fewest if config.engine.shards == "auto" else config.engine.shards,
        first=_us(first),
        last=_us(last),
        ends=_ends(files.rows, config, max(2 * slots, math.ceil(asked / ROWS_WRITTEN))),
    )


def _us(moment: Any) -> int:
    return int(np.datetime64(moment, "us").astype(np.int64))


def _event_types(files: Files, config: Config, plan: Plan) -> dict[str, str]:
    """Return the types of the events' columns, which those asked for and those of the history have alike."""
    import duckdb

    queries = []
    with duckdb.connect() as connection:
        for copy, some in enumerate(filter(None, ([files.rows], files.history))):
            schema = pa.unify_schemas([pq.read_schema(file) for file in some])
            connection.register(f"rows{copy}", schema.empty_table())
            queries.append(f"SELECT {event_sql(schema, config, plan)}, {copy} AS copy FROM rows{copy}")
        described = connection.sql(f"DESCRIBE {' UNION ALL '.join(queries)}").fetchall()
    return {name: kind for name, kind, *_ in described}


def _ends(rows: Path, config: Config, stretches_of_time: int) -> tuple[int, ...]:
    """Return moments between which about as many rows lie; rows of one moment lie together."""
    import duckdb

    at, shares = config.contract.timestamp, [number / stretches_of_time for number in range(1, stretches_of_time)]
    with duckdb.connect() as connection:
        moments = pa.schema([pq.read_schema(rows).field(at)])
        connection.register("moments", pa.RecordBatchReader.from_batches(moments, read_batches(rows, [at])))
        query = f"SELECT approx_quantile(epoch_us({quote(at)}), {shares}) FROM moments"
        return tuple(sorted(set(connection.sql(query).fetchall()[0][0])))


def _shares(spark: "SparkSession", files: Files, task: _Task) -> "DataFrame":
    """Return the events and verdicts by bucket of the parts' keys, and the sums of days."""
    asked = [(ASKED, 0, stretch) for stretch in stretches(files.rows)]
    others = [(HISTORY, number, piece) for number, file in enumerate(files.history, 1) for piece in stretches(file)]
    others += [(REVIEWED, 0, stretch) for file in files.reviewed for stretch in stretches(file)]
    schema = pa.unify_schemas([pq.read_schema(file) for file in files.history]) if files.history else None
    if not others:
        return a_task_each(spark, partial(_shares_of_rows, task), [stretch for *_, stretch in asked], PIECES)
    by_id = a_task_each(spark, partial(_by_id, task, schema), [*asked, *others], PIECES)
    return by_id.groupBy("bucket").applyInArrow(of_a_group(_shares_of_ids, task), PIECES)


def _events_of(task: _Task, stretch: Stretch, *, file: int, schema: pa.Schema | None = None) -> pa.Table:
    """Return the events of a stretch of the rows asked for, or, with a schema, of the history in their reach."""
    found = []
    with task.database() as connection:
        first = stretch.first + file * 2**40
        for batch in stretch.read():
            rows = pa.Table.from_batches([batch])
            if schema is not None:
                rows = pa.concat_tables([schema.empty_table(), rows], promote_options="default").select(schema.names)
            events = task.events(connection, rows, copy=min(file, 1))
            place = np.arange(first, first + rows.num_rows)
            found.append(events.append_column("place", pa.array(place)))
            first += rows.num_rows
        events = pa.concat_tables(found)
    if schema is None:
        return events
    us = events["us"].to_numpy()
    return events.filter(pa.array((us >= task.first) & (us < task.last)))


def _by_id(task: _Task, schema: pa.Schema | None, item: tuple[str, int, Stretch]) -> Iterator[pa.RecordBatch]:
    """Yield what there is of a row by the bucket of its id."""
    relation, file, stretch = item
    if relation == REVIEWED:
        table = pa.Table.from_batches(stretch.read(["id", "label", "labelled_at"]))
    else:
        table = _events_of(task, stretch, file=file, schema=schema if relation == HISTORY else None)
    yield from _by_hash(task, REVIEWED if relation == REVIEWED else "events", table, f"CAST(id AS {task.types['id']})")


def _by_hash(task: _Task, kind: str, table: pa.Table, key: str) -> Iterator[pa.RecordBatch]:
    """Yield a table's rows by bucket of a key; every process has the same DuckDB, and so the same hash."""
    with task.database() as connection:
        connection.register("rows", table)
        buckets = buckets_of(connection, key, task.buckets)
    yield from pieces_of(kind, table, buckets, task.buckets)


def _shares_of_rows(task: _Task, stretch: Stretch) -> Iterator[pa.RecordBatch]:
    """Yield the shares of rows of which there is no other copy and no label from review."""
    yield from _shares_of(task, _events_of(task, stretch, file=0), None)


def _shares_of_ids(task: _Task, pieces: pa.Table) -> pa.Table:
    """Return the shares of whole ids, of each row one copy."""
    tables = tables_of(pieces)
    return pa.Table.from_batches(_shares_of(task, tables["events"], tables.get(REVIEWED)))


def _shares_of(task: _Task, events: pa.Table, reviewed: pa.Table | None) -> Iterator[pa.RecordBatch]:
    """Yield events and labels from review by bucket of each part's key, and what days add up to."""
    with task.database() as connection:
        connection.register("copies", events)
        connection.execute(f"CREATE TEMP TABLE events AS SELECT * FROM copies {ONE_COPY}")
        if task.reviewed:
            connection.register("reviewed", task.no_review if reviewed is None else reviewed)
        sums = daily_sums(task.plan)
        if "daily_labels" in sums:
            verdicts(connection, (), task.config, reviewed=task.reviewed)
        for name, query in sums.items():
            yield piece_of(name, 0, connection.sql(query).to_arrow_table())
        events = connection.table("events").to_arrow_table()
        for part in map(Part.of_dict, task.parts):
            yield from _by_hash(task, f"events_{part.key}", events.select(_needed(part, task)), _spread(part))
            if part.risks and task.reviewed:
                query = f"SELECT reviewed.*, {part.key} FROM reviewed JOIN events ON reviewed.id = events.id"
                labels = connection.sql(query).to_arrow_table()
                yield from _by_hash(task, f"{REVIEWED}_{part.key}", labels, _together(part))


def _needed(part: Part, task: _Task) -> list[str]:
    """Return the columns of events that a part's past is made of, and the verdicts of its rows."""
    of_verdicts = ["id", "fraud", "known_us", *part.verdicts[3:]] if part.risks else []
    return list(dict.fromkeys(["place", *part.events(list(task.types)), *of_verdicts]))


def _together(part: Part) -> str:
    """Return the expression by whose hash whole keys lie together."""
    return f"hash({part.key})" if _is_needed(part) else part.key


def _spread(part: Part) -> str:
    """Return the same, but for rows without a key, of which nothing is known then, so that they may lie anywhere."""
    together = _together(part)
    return f"CASE WHEN {part.key} IS NULL THEN hash(place) ELSE {together} END" if _is_needed(part) else together


def _is_needed(part: Part) -> bool:
    return all(part.key in window.needed for window in part.windows.values())


def _everybody(pieces: "DataFrame", task: _Task) -> dict[str, bytes]:
    """Return the tables of everybody's totals, each in Arrow's stream format."""
    names = list(daily_sums(task.plan))
    tables = tables_of(pieces.where(pieces["kind"].isin(names)).toArrow())
    with task.database() as connection:
        for name in names:
            connection.register("pieces", tables[name])
            query = joined_sums_sql("pieces", tables[name].column_names)
            connection.execute(f"CREATE TEMP TABLE {name} AS {query}")
        make_everybody(connection, task.plan, task.config)
        made = ["everybody", *(f"peers_c{place}" for place in sorted(task.plan.peers))]
        return {name: piece_of(name, 0, connection.table(name).to_arrow_table())["content"][0].as_py() for name in made}


def _rows_by_time(task: _Task, stretch: Stretch) -> Iterator[pa.RecordBatch]:
    """Yield rows by the stretch of time that they lie in, their place last."""
    rows = pa.Table.from_batches(stretch.read())
    with task.database() as connection:
        connection.register("rows", rows)
        at = quote(task.config.contract.timestamp)
        us = connection.sql(f"SELECT epoch_us({at}) AS us FROM rows").to_arrow_table()["us"]
    place = pa.array(np.arange(stretch.first, stretch.first + rows.num_rows))
    yield from pieces_of(ASKED, rows.append_column("place", place), task.times(us), len(task.ends) + 1)


def _past(task: _Task, values: dict[str, Any], pieces: pa.Table) -> pa.Table:
    """Return the past of a bucket's rows by the stretch of time that they lie in."""
    part, tables = Part.of_dict(values), tables_of(pieces)
    with task.database() as connection:
        connection.register("events", tables[f"events_{part.key}"])
        if part.risks:
            connection.register("reviewed", tables.get(f"{REVIEWED}_{part.key}", task.no_review))
            verdicts(connection, part.verdicts[3:], task.config, reviewed=task.reviewed)
        past = past_of(connection, part, reviewed=task.reviewed)
    times = task.times(past["us"])
    kind = f"past_{part.key}"
    return pa.Table.from_batches(pieces_of(kind, past.drop(["us"]), times, len(task.ends) + 1))


def _write(task: _Task, everybody: Any, folder: str, pieces: pa.Table) -> pa.Table:
    """Write the feature table of a stretch of time, whole or not at all, however often it is tried."""
    tables, bucket = tables_of(pieces), pieces["bucket"][0].as_py()
    asked = tables.pop(ASKED)
    rows, place = asked.remove_column(asked.num_columns - 1), asked.column(asked.num_columns - 1)
    target = Path(folder) / f"{bucket:06d}.parquet"
    if rows.num_rows:
        with task.database() as connection:
            connection.register("present", rows)
            connection.register("events", task.events(connection, rows, copy=0).append_column("place", place))
            tables |= {name: table_of(content) for name, content in everybody.value.items()}
            for name, table in tables.items():
                connection.register(name, table)
            query = table_sql(connection, task.plan, task.config, rows.column_names)
            own = target.with_name(f".{target.name}.{os.urandom(4).hex()}")
            connection.execute(f"COPY ({query}) TO {text_sql(str(own))} (FORMAT parquet)")
            own.replace(target)
    return pa.table({"bucket": [bucket]})


def _escaped(path: Path) -> str:
    return "".join(f"\\{sign}" if sign in "[]{}*?\\" else sign for sign in str(path))
