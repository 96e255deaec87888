"""Features on Apache Spark: its tasks run the queries of one machine, over rows that it shares out by key.

Between tasks go pieces of tables, each a row of Spark's: what it is of (`kind`), where it belongs (`bucket`), and its
rows in Arrow's stream format. First a task makes events of some row groups; the history's lie in buckets, but for the
newest (pipeline/features/bucketed.py). The copies of a row, and its labels from review, meet in the bucket of its id;
there one copy is left. A bucket of whole keys has the verdicts of its rows made and their past computed (`past_of`),
and the rows of a stretch of time are put together with their past and written.
What everybody's days add up to is small: it is summed here, and every task gets it.
"""

import math
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.features.bucketed import IDS, in_buckets, is_kept, rows_of
from pipeline.features.columns import table_sql
from pipeline.features.events import ONE_COPY, Files, event_sql, reach
from pipeline.features.everybody import daily_sums, joined_sums_sql, make_everybody
from pipeline.features.past import Part, parts_of, past_of
from pipeline.features.plan import Plan
from pipeline.features.risks import verdicts
from pipeline.features.shards import BYTES_A_ROW
from pipeline.features.tasks import Task, by_hash, events_of, needed, spread, together, within_reach
from pipeline.settings.config import Config
from pipeline.settings.engine import bytes_of
from pipeline.tables.parquet import read_batches, span
from pipeline.tables.pieces import PIECES, of_a_group, piece_of, pieces_of, table_of, tables_of
from pipeline.tables.spark import ROWS_A_TASK, Stretch, a_task_each, at_once, join_on_spark, on_spark, stretches
from pipeline.tables.sql import quote, text_sql

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
GROUPS = 16
"""Groups in which sums of days are added by tasks, so that as many pieces, and not one a task, come to this machine."""
GONE = "gone"
"""Kind of the places of rows in the history's buckets that do not count."""


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
        task = in_buckets(spark, files, task, fixed=config.engine.shards != "auto")
        spark.conf.set("spark.sql.shuffle.partitions", task.buckets)
        shares = _shares(spark, files, task)
        shares.write.partitionBy("kind").option("parquet.enable.dictionary", "false").parquet(
            f"file://{pieces.absolute()}"
        )
        # Spark takes signs in a path for a pattern, but for those with a backslash.
        shared = spark.read.schema(PIECES).parquet(f"file://{_escaped(pieces.absolute())}")
        everybody = spark.sparkContext.broadcast(_everybody(shared, task))
        rows = a_task_each(spark, partial(_rows_by_time, task), stretches(files.rows), PIECES)
        for part in parts_of(plan):
            kinds = [f"{kind}_{part.key}" for kind in ("events", REVIEWED, GONE)]
            of_part = shared.where(shared["kind"].isin(kinds)).groupBy("bucket")
            rows = rows.union(of_part.applyInArrow(of_a_group(_past, task, part.to_dict()), PIECES))
        write = of_a_group(_write, task, everybody, str(written.absolute()))
        rows.groupBy("bucket").applyInArrow(write, "bucket long").collect()
        return join_on_spark(spark, sorted(written.glob("*.parquet")), scratch / "features.parquet")


def _task(spark: "SparkSession", files: Files, config: Config, plan: Plan) -> Task:
    memory = bytes_of(config.features.memory_limit) // at_once(spark)
    slots = spark.sparkContext.defaultParallelism
    asked, *others = (pq.read_metadata(file).num_rows for file in (files.rows, *files.history))
    fewest = max(FEWEST_BUCKETS * slots, math.ceil(2 * (asked + sum(others)) * BYTES_A_ROW / memory))
    first, last = reach(*span(files.rows, config.contract.timestamp), config)
    return Task(
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


def _shares(spark: "SparkSession", files: Files, task: Task) -> "DataFrame":
    """Return events and labels from review by bucket of the parts' keys, and the sums of days."""
    asked = [(ASKED, 0, stretch) for stretch in stretches(files.rows)]
    kept = {number for _, number in task.kept}
    loose = [(number, file) for number, file in enumerate(files.history, 1) if number not in kept]
    others = [(HISTORY, number, piece) for number, file in loose for piece in stretches(file)]
    others += [(REVIEWED, 0, stretch) for file in files.reviewed for stretch in stretches(file)]
    schema = pa.unify_schemas([pq.read_schema(file) for file in files.history]) if files.history else None
    if not others and not kept:
        return a_task_each(spark, partial(_shares_of_rows, task), [stretch for *_, stretch in asked], PIECES)
    by_id = a_task_each(spark, partial(_by_id, task, schema), [*asked, *others], PIECES)
    return by_id.groupBy("bucket").applyInArrow(of_a_group(_shares_of_ids, task), PIECES)


def _by_id(task: Task, schema: pa.Schema | None, item: tuple[str, int, Stretch]) -> Iterator[pa.RecordBatch]:
    """Yield what there is of a row by the bucket of its id."""
    relation, file, stretch = item
    if relation == REVIEWED:
        table = pa.Table.from_batches(stretch.read(["id", "label", "labelled_at"]))
    elif relation == HISTORY:
        table = within_reach(task, events_of(task, stretch, file=file, schema=schema))
    else:
        table = events_of(task, stretch, file=0)
    yield from by_hash(task, REVIEWED if relation == REVIEWED else "events", table, f"CAST(id AS {task.types['id']})")


def _shares_of_rows(task: Task, stretch: Stretch) -> Iterator[pa.RecordBatch]:
    """Yield the shares of rows of which there is no other copy and no label from review."""
    yield from _shares_of(task, events_of(task, stretch, file=0), None, group=stretch.first // ROWS_A_TASK)


def _shares_of_ids(task: Task, pieces: pa.Table) -> pa.Table:
    """Return the shares of whole ids, of each row one copy."""
    tables, bucket = tables_of(pieces), pieces["bucket"][0].as_py()
    events = pa.concat_tables([tables["events"], *rows_of(task, IDS, bucket, tables["events"].column_names)])
    return pa.Table.from_batches(_shares_of(task, events, tables.get(REVIEWED), group=bucket))


def _shares_of(task: Task, copies: pa.Table, reviewed: pa.Table | None, *, group: int) -> Iterator[pa.RecordBatch]:
    """Yield what parts need by bucket of their key, and what days add up to by a group of those that are added first.

    Of rows that lie in buckets of the history, that is which of them do not count, for another copy does.
    """
    with task.database() as connection:
        connection.register("copies", copies)
        events = _one_copy(connection)
        connection.register("events", events)
        if task.reviewed:
            connection.register("reviewed", task.no_review if reviewed is None else reviewed)
        sums = daily_sums(task.plan)
        if "daily_labels" in sums:
            verdicts(connection, (), task.config, reviewed=task.reviewed)
        for name, query in sums.items():
            yield piece_of(name, group % GROUPS, connection.sql(query).to_arrow_table())
        gone = copies.slice(0, 0)
        if events.num_rows < copies.num_rows:
            lost = ~np.isin(copies["place"].to_numpy(), events["place"].to_numpy())
            gone = copies.filter(pa.array(lost & is_kept(task, copies["place"])))
        fresh = events.filter(pa.array(~is_kept(task, events["place"])))
        for part in map(Part.of_dict, task.parts):
            yield from by_hash(task, f"events_{part.key}", fresh.select(needed(part, task)), spread(part))
            if gone.num_rows:
                yield from by_hash(task, f"{GONE}_{part.key}", gone.select(["place", part.key]), together(part))
            if part.risks and task.reviewed:
                query = f"SELECT reviewed.*, {part.key} FROM reviewed JOIN events ON reviewed.id = events.id"
                labels = connection.sql(query).to_arrow_table()
                yield from by_hash(task, f"{REVIEWED}_{part.key}", labels, together(part))


def _one_copy(connection: "duckdb.DuckDBPyConnection") -> pa.Table:
    """Return the rows of the relation copies, of those that have an id alike one."""
    rows, ids = connection.sql("SELECT count(*), count(DISTINCT id) FROM copies").fetchall()[0]
    return connection.sql(f"SELECT * FROM copies {ONE_COPY if rows > ids else ''}").to_arrow_table()


def _everybody(pieces: "DataFrame", task: Task) -> dict[str, bytes]:
    """Return the tables of everybody's totals, each in Arrow's stream format."""
    names = list(daily_sums(task.plan))
    groups = pieces.where(pieces["kind"].isin(names)).groupBy("bucket")
    sums = _added(task, groups.applyInArrow(of_a_group(_added, task), PIECES).toArrow())
    with task.database() as connection:
        for name, table in tables_of(sums).items():
            connection.register(name, table)
        make_everybody(connection, task.plan, task.config)
        made = ["everybody", *(f"peers_c{place}" for place in sorted(task.plan.peers))]
        return {name: piece_of(name, 0, connection.table(name).to_arrow_table())["content"][0].as_py() for name in made}


def _added(task: Task, pieces: pa.Table) -> pa.Table:
    """Return pieces of sums that days add up to as one of each kind."""
    with task.database() as connection:
        added = []
        for name, table in tables_of(pieces).items():
            connection.register("pieces", table)
            sums = connection.sql(joined_sums_sql("pieces", table.column_names)).to_arrow_table()
            added.append(piece_of(name, 0, sums))
        return pa.Table.from_batches(added)


def _rows_by_time(task: Task, stretch: Stretch) -> Iterator[pa.RecordBatch]:
    """Yield rows by the stretch of time that they lie in, their place last."""
    rows = pa.Table.from_batches(stretch.read())
    with task.database() as connection:
        connection.register("rows", rows)
        at = quote(task.config.contract.timestamp)
        us = connection.sql(f"SELECT epoch_us({at}) AS us FROM rows").to_arrow_table()["us"]
    place = pa.array(np.arange(stretch.first, stretch.first + rows.num_rows))
    yield from pieces_of(ASKED, rows.append_column("place", place), task.times(us), len(task.ends) + 1)


def _past(task: Task, values: dict[str, Any], pieces: pa.Table) -> pa.Table:
    """Return the past of a bucket's rows by the stretch of time that they lie in."""
    part, tables, bucket = Part.of_dict(values), tables_of(pieces), pieces["bucket"][0].as_py()
    events = tables[f"events_{part.key}"]
    events = pa.concat_tables([events, *rows_of(task, part.key, bucket, events.column_names)])
    if gone := tables.get(f"{GONE}_{part.key}"):
        events = events.filter(pa.array(~np.isin(events["place"].to_numpy(), gone["place"].to_numpy())))
    with task.database() as connection:
        connection.register("events", events)
        if part.risks:
            connection.register("reviewed", tables.get(f"{REVIEWED}_{part.key}", task.no_review))
            verdicts(connection, part.verdicts[3:], task.config, reviewed=task.reviewed)
        past = past_of(connection, part, reviewed=task.reviewed)
    times = task.times(past["us"])
    kind = f"past_{part.key}"
    return pa.Table.from_batches(pieces_of(kind, past.drop(["us"]), times, len(task.ends) + 1))


def _write(task: Task, everybody: Any, folder: str, pieces: pa.Table) -> pa.Table:
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
