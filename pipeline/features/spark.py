"""Features on Apache Spark: its tasks run the queries of one machine, over rows that it shares out by key.

A task makes events of a batch of rows, or computes the past of a bucket of whole keys (`past_of`), or puts a row's past
and its columns together. Spark reads, sorts and writes the rows, and brings to one place what belongs together. What
everybody's days add up to is small: it is summed here, and every task gets it.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.features.columns import table_sql
from pipeline.features.events import ONE_COPY, Files, event_sql, reach, text_sql
from pipeline.features.everybody import daily_sums, joined_sums_sql, make_everybody
from pipeline.features.families import plan_of
from pipeline.features.past import Part, parts_of, past_of
from pipeline.features.plan import Plan
from pipeline.features.risks import verdicts
from pipeline.features.shards import BYTES_A_ROW
from pipeline.settings.config import Config
from pipeline.settings.engine import bytes_of
from pipeline.settings.output import name_beside
from pipeline.tables.parquet import link_files, span
from pipeline.tables.spark import at_once, on_disk, on_spark, read_parquet, types_of
from pipeline.tables.sql import database, may_be_missing, quote

if TYPE_CHECKING:
    import duckdb
    from pyspark.sql import Column, DataFrame, SparkSession

OF_THE_FEATURES = {"contract", "table", "validation", "features"}
"""Sections of the configuration that features go by: no other leaves this machine."""
FEWEST_BUCKETS = 4
"""Buckets for each core of the cluster at least, so that a heavy one keeps few others from their work."""


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
        Whether there are labels from review: then an event has its own in `reviews`.
    types : dict of str to str
        Of the events' columns, in DuckDB's words.
    """

    settings: str
    memory: str
    reviewed: bool
    types: Mapping[str, str]

    @cached_property
    def config(self) -> Config:
        """The configuration, as far as features go by it."""
        return Config.model_validate_json(self.settings)

    @cached_property
    def plan(self) -> Plan:
        """What is computed."""
        return plan_of(self.config, reviewed=self.reviewed)

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

    def make_verdicts(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Make the relation verdicts of events."""
        if self.reviewed:
            connection.execute(
                "CREATE TEMP VIEW reviewed AS SELECT id, review.label AS label, review.labelled_at AS labelled_at "
                "FROM (SELECT id, unnest(reviews) AS review FROM events)"
            )
        verdicts(connection, self.config, reviewed=self.reviewed)


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
    with on_spark(config.engine, "computing features") as spark:
        buckets, memory = _shares(spark, files, config)
        spark.conf.set("spark.sql.shuffle.partitions", buckets)
        task = _Task(
            config.model_dump_json(include=OF_THE_FEATURES),
            memory=memory,
            reviewed=bool(files.reviewed),
            types=_event_types(files, config, plan),
        )
        present, names = read_parquet(spark, link_files("present", [files.rows], scratch))
        with (
            on_disk(_events(spark, present, names, files=files, task=task, scratch=scratch)) as copies,
            on_disk(_labelled(_one_copy_each(copies, task, buckets), files, scratch)) as events,
        ):
            tables = _everybody(events, task)
            past = [_past(events, part, task, buckets) for part in parts_of(plan)]
            joined = reduce(lambda rows, other: rows.join(other, "place"), past, present)
            _write(joined, names, task=task, tables=tables, folder=scratch / "spark")
    return _as_one(scratch, config, plan)


def _shares(spark: "SparkSession", files: Files, config: Config) -> tuple[int, str]:
    """Return into how many buckets keys are shared out, and how much memory DuckDB has in a task."""
    memory = bytes_of(config.features.memory_limit) // at_once(spark)
    if config.engine.shards != "auto":
        return config.engine.shards, f"{memory}B"
    rows = sum(pq.read_metadata(file).num_rows for file in (files.rows, *files.history))
    fewest = FEWEST_BUCKETS * spark.sparkContext.defaultParallelism
    return max(fewest, math.ceil(2 * rows * BYTES_A_ROW / memory)), f"{memory}B"


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


def _events(
    spark: "SparkSession", present: "DataFrame", names: list[str], *, files: Files, task: _Task, scratch: Path
) -> "DataFrame":
    """Return the events of the rows asked for and of the history in their reach, which may hold copies."""
    from pyspark.sql import functions as sf
    from pyspark.sql.types import LongType, StructField, StructType

    with task.database() as connection:
        nothing = ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in task.types.items())
        schema = connection.sql(f"SELECT {nothing}").to_arrow_table().schema
    kinds = StructType([*types_of(spark, schema), StructField("place", LongType())])
    events = present.mapInArrow(partial(_events_of, task, names, 0), kinds)
    if not files.history:
        return events
    contract = task.config.contract
    past, past_names = read_parquet(spark, link_files("past", files.history, scratch), first=1)
    at = past[f"p{past_names.index(contract.timestamp)}"]
    first, last = (
        sf.lit(str(moment)).cast("timestamp_ntz")
        for moment in reach(*span(files.rows, contract.timestamp), task.config)
    )
    asked = present.select(present[f"p{names.index(contract.id)}"].alias("asked"))
    is_asked = past[f"p{past_names.index(contract.id)}"] == asked["asked"]
    earlier = past.where((at >= first) & (at < last)).join(asked, is_asked, "left_anti")
    return events.unionByName(earlier.mapInArrow(partial(_events_of, task, past_names, 1), kinds))


def _events_of(task: _Task, names: list[str], copy: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    with task.database() as connection:
        for batch in batches:
            rows = pa.Table.from_batches([batch])
            events = task.events(connection, rows.drop(["place"]).rename_columns(names), copy=copy)
            yield from events.append_column("place", rows["place"]).to_batches()


def _bucket(key: str, buckets: int, *, spread: bool = False) -> "Column":
    """Return the bucket of a key; to `spread` is to let rows without one lie in any, where nothing is known of them."""
    from pyspark.sql import functions as sf

    owner = sf.xxhash64(key)
    if spread:
        owner = sf.when(sf.col(key).isNull(), sf.xxhash64("place")).otherwise(owner)
    return sf.pmod(owner, sf.lit(buckets)).alias("bucket")


def _one_copy_each(events: "DataFrame", task: _Task, buckets: int) -> "DataFrame":
    """Return the events with one copy of a row; looking for others takes the ids only."""
    if events.groupBy("id").count().where("count > 1").isEmpty():
        return events
    pieces = events.select("*", _bucket("id", buckets)).groupBy("bucket")
    return pieces.applyInArrow(_of_a_bucket(_one_copy_of, task), events.schema)


def _of_a_bucket(work: Callable[..., pa.Table], *told: Any) -> Callable[[pa.Table], pa.Table]:
    """Return the work on a bucket as a function whose types Spark can read, as it can't of a partial one."""

    def work_on(rows: pa.Table) -> pa.Table:
        return work(*told, rows)

    return work_on


def _one_copy_of(task: _Task, events: pa.Table) -> pa.Table:
    with task.database() as connection:
        connection.register("events", events)
        return connection.sql(f"SELECT * EXCLUDE bucket FROM events {ONE_COPY}").to_arrow_table()


def _labelled(events: "DataFrame", files: Files, scratch: Path) -> "DataFrame":
    """Return the events with the labels from review that each one has, if any has one."""
    from pyspark.sql import functions as sf

    if not files.reviewed:
        return events
    reviewed, names = read_parquet(events.sparkSession, link_files("reviewed", files.reviewed, scratch))
    label, labelled_at = (reviewed[f"p{names.index(name)}"].alias(name) for name in ("label", "labelled_at"))
    own = reviewed.groupBy(reviewed[f"p{names.index('id')}"].alias("id"))
    return events.join(own.agg(sf.collect_list(sf.struct(label, labelled_at)).alias("reviews")), "id", "left")


def _everybody(events: "DataFrame", task: _Task) -> dict[str, bytes]:
    """Return the tables of everybody's totals, each in Arrow's stream format."""
    pieces = events.mapInArrow(partial(_daily_sums, task), "name string, content binary").toArrow()
    tables: dict[str, list[pa.Table]] = {}
    for name, content in zip(*(pieces[column].to_pylist() for column in ("name", "content")), strict=True):
        tables.setdefault(name, []).append(_of_bytes(content))
    with task.database() as connection:
        for name, some in tables.items():
            connection.register(name, _joined(connection, some))
        make_everybody(connection, task.plan, task.config)
        names = ["everybody", *(f"peers_c{place}" for place in sorted(task.plan.peers))]
        return {name: _to_bytes(connection.table(name).to_arrow_table()) for name in names}


def _daily_sums(task: _Task, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    sums: dict[str, list[pa.Table]] = {name: [] for name in daily_sums(task.plan)}
    for batch in batches:
        with task.database() as connection:
            connection.register("events", pa.Table.from_batches([batch]))
            if task.config.contract.label is not None:
                task.make_verdicts(connection)
            for name, query in daily_sums(task.plan).items():
                sums[name].append(connection.sql(query).to_arrow_table())
    with task.database() as connection:
        whole = {name: _to_bytes(_joined(connection, some)) for name, some in sums.items() if some}
    yield pa.record_batch({"name": pa.array(whole, pa.string()), "content": pa.array(whole.values(), pa.binary())})


def _joined(connection: "duckdb.DuckDBPyConnection", pieces: list[pa.Table]) -> pa.Table:
    table = pa.concat_tables(pieces)
    connection.register("pieces", table)
    return connection.sql(joined_sums_sql("pieces", table.column_names)).to_arrow_table()


def _to_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _of_bytes(content: bytes) -> pa.Table:
    with pa.ipc.open_stream(content) as reader:
        return reader.read_all()


def _past(events: "DataFrame", part: Part, task: _Task, buckets: int) -> "DataFrame":
    """Return the past of the rows asked for, as far as a part tells of it."""
    columns = ["place", *part.events(list(task.types))]
    if part.risks:
        keys = (f"e{place}" for place in range(len(task.config.contract.entities)))
        columns += ["id", "fraud", "known_us", *keys, *(["reviews"] if task.reviewed else [])]
    is_needed = all(part.key in window.needed for window in part.windows.values())
    bucket = _bucket(part.key, buckets, spread=is_needed)
    pieces = events.select(*dict.fromkeys(columns), bucket).groupBy("bucket")
    kinds = ", ".join(["place long", *(f"{alias} double" for alias in part.aliases)])
    return pieces.applyInArrow(_of_a_bucket(_past_of_bucket, task, part.to_dict()), kinds)


def _past_of_bucket(task: _Task, values: dict[str, Any], events: pa.Table) -> pa.Table:
    part = Part.of_dict(values)
    with task.database() as connection:
        connection.register("events", events)
        if part.risks:
            task.make_verdicts(connection)
        return past_of(connection, part, reviewed=task.reviewed).select(["place", *part.aliases])


def _write(rows: "DataFrame", names: list[str], *, task: _Task, tables: dict[str, bytes], folder: Path) -> None:
    """Write the feature table's files, in their order by timestamp and id; columns are called f0, f1, ..."""
    from pyspark.sql.types import DoubleType, StructField, StructType

    contract, spark = task.config.contract, rows.sparkSession
    order = [f"p{names.index(name)}" for name in (contract.timestamp, contract.id)]
    own = [rows.schema[f"p{number}"].dataType for number in range(len(names))]
    kinds = [*own, *(DoubleType() for _ in task.plan.columns)]
    schema = StructType([StructField(f"f{number}", kind) for number, kind in enumerate(kinds)])
    shared = spark.sparkContext.broadcast(tables)
    made = rows.orderBy(*order).mapInArrow(partial(_rows_of, task, names, shared), schema)
    made.write.parquet(f"file://{folder.absolute()}")


def _rows_of(task: _Task, names: list[str], shared: Any, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    parts, tables = parts_of(task.plan), {name: _of_bytes(content) for name, content in shared.value.items()}
    for batch in batches:
        rows = pa.Table.from_batches([batch])
        present = rows.select([f"p{number}" for number in range(len(names))]).rename_columns(names)
        with task.database() as connection:
            connection.register("present", present)
            events = task.events(connection, present, copy=0).append_column("place", rows["place"])
            connection.register("events", events)
            for part in parts:
                connection.register(f"past_{part.key}", rows.select(["place", *part.aliases]))
            for name, table in tables.items():
                connection.register(name, table)
            made = connection.sql(table_sql(connection, task.plan, task.config, names)).to_arrow_table()
        yield from made.rename_columns([f"f{number}" for number in range(made.num_columns)]).to_batches()


def _as_one(scratch: Path, config: Config, plan: Plan) -> Path:
    """Make one file of the feature table's, with the names and types that this machine gives them."""
    staged = scratch / "features.parquet"
    rows, files = text_sql(str(scratch / "present-0.parquet")), sorted((scratch / "spark").glob("part-*.parquet"))
    with database(config.features.memory_limit, scratch) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        own = connection.sql(f"DESCRIBE SELECT * FROM read_parquet([{rows}])").fetchall()
        kinds = {name_beside(name, plan.columns): kind for name, kind, *_ in own} | dict.fromkeys(
            plan.columns, "DOUBLE"
        )
        columns = (f"CAST(f{number} AS {kind}) AS {quote(name)}" for number, (name, kind) in enumerate(kinds.items()))
        listed = ", ".join(text_sql(str(file)) for file in files)
        query = may_be_missing(f"SELECT {', '.join(columns)} FROM read_parquet([{listed}])", len(kinds))
        connection.execute(f"COPY ({query}) TO {text_sql(str(staged))} (FORMAT parquet)")
    return staged
