"""The history by day and bucket: what tasks need of its rows, made once, and read where it lies by every later night.

A file of the history has a folder ``.buckets/LAYOUT/date=DAY/BATCH-SIZE-TIME`` beside the days, with its events by the
hash of their id, and by that of each part's key what the part needs of them, a Parquet file a bucket that has any. So a
night shares out its own rows and none of the days before. What is changed in the history has another size or time, and
is made anew.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.features.events import Files, event_sql
from pipeline.features.past import Part
from pipeline.features.tasks import FILE, Task, by_hash, events_of, needed, spread, within_reach
from pipeline.tables.files import parquet_file
from pipeline.tables.pieces import PIECES, of_a_group, tables_of
from pipeline.tables.scratch import hidden
from pipeline.tables.spark import Stretch, a_task_each, stretches
from pipeline.tables.writing import replacing

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RISING = ("place", "us", "known_us")
"""Columns in which a value is near the one before it, so that differences take less room."""
IDS = "id"
"""What the files of whole events, by the hash of their id, are called."""
WIDER = 4
"""How many times more buckets than are needed a layout may have that is there already."""
UNUSED = 30 * 86_400
"""Seconds after which a layout that nobody asked for is removed."""


def in_buckets(spark: "SparkSession", files: Files, task: Task, *, fixed: bool) -> Task:
    """Put what lies in no buckets yet of a store's files there, and return the task with the folders of all of them.

    Parameters
    ----------
    spark : SparkSession
    files : Files
        Those in days of the folder that `Files.buckets` lies in are put there; others, such as a draft's, are not.
    task : Task
    fixed : bool
        Whether the number of its buckets is asked for, so that no other will do.
    """
    stored = [(number, file) for number, file in enumerate(files.history, 1) if _is_stored(file, files.buckets)]
    if files.buckets is None or not stored:
        return task
    layout, task = _layout(files.buckets, task, fixed=fixed)
    layout.mkdir(parents=True, exist_ok=True)
    os.utime(layout)
    spark.conf.set("spark.sql.shuffle.partitions", task.buckets)
    fresh = [file for _, file in stored if not (layout / _name(file)).is_dir()]
    if fresh:
        schema = pa.unify_schemas([pq.read_schema(file) for file in files.history])
        _put(spark, fresh, task, layout=layout, schema=schema)
        _prune(files.buckets, layout)
    return replace(task, kept=tuple((str((layout / _name(file)).absolute()), number) for number, file in stored))


def _is_stored(file: Path, buckets: Path | None) -> bool:
    return buckets is not None and file.parent.parent == buckets.parent


def _name(file: Path) -> str:
    """Return the name of a file's folder in a layout."""
    found = file.stat()
    return f"{file.parent.name}/{file.stem}-{found.st_size}-{found.st_mtime_ns}"


def _layout(folder: Path, task: Task, *, fixed: bool) -> tuple[Path, Task]:
    """Return where events lie that are made in a task's way, and the task with as many buckets as they lie in."""
    import duckdb

    columns = pa.schema([(name, pa.string()) for name in task.config.contract.columns])
    parts = [Part.of_dict(values) for values in task.parts]
    about = {
        "events": event_sql(columns, task.config, task.plan),
        "types": dict(task.types),
        "parts": [(part.key, needed(part, task), spread(part)) for part in parts],
        "hash": duckdb.__version__,
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    if not fixed:
        there = [int(found.name.split("-")[0]) for found in folder.glob(f"*-{digest}")]
        fitting = [number for number in there if task.buckets <= number <= WIDER * task.buckets]
        task = replace(task, buckets=min(fitting, default=1 << (task.buckets - 1).bit_length()))
    return folder / f"{task.buckets}-{digest}", task


def _put(spark: "SparkSession", files: Sequence[Path], task: Task, *, layout: Path, schema: pa.Schema) -> None:
    """Put the rows of files into buckets: each file's whole, or not at all."""
    with hidden(layout.parent, "new") as scratch:
        for number in range(len(files)):
            (scratch / f"{number}").mkdir()
        items = [(number, stretch) for number, file in enumerate(files) for stretch in stretches(file)]
        pieces = a_task_each(spark, partial(_shares_of, task, schema), items, PIECES)
        write = of_a_group(_write, str(scratch.absolute()))
        pieces.groupBy("bucket").applyInArrow(write, "bucket long").collect()
        os.sync()  # what has its name is read for months
        for number, file in enumerate(files):
            target = layout / _name(file)
            target.parent.mkdir(exist_ok=True)
            if not target.is_dir():  # another run may have been faster
                (scratch / f"{number}").rename(target)


def _shares_of(task: Task, schema: pa.Schema, item: tuple[int, Stretch]) -> Iterator[pa.RecordBatch]:
    """Yield the events of a stretch by bucket of their id, and of each part's key."""
    number, stretch = item
    events = events_of(task, stretch, file=0, schema=schema).drop(["copy"])
    yield from by_hash(task, f"{number}/{IDS}", events, "id")
    for part in map(Part.of_dict, task.parts):
        columns = [name for name in needed(part, task) if name != "copy"]
        yield from by_hash(task, f"{number}/{part.key}", events.select(columns), spread(part))


def _write(folder: str, pieces: pa.Table) -> pa.Table:
    """Write what lies in a bucket, a file a kind; it is the same, however often it is tried."""
    bucket = pieces["bucket"][0].as_py()
    for kind, table in tables_of(pieces).items():
        if table.num_rows:
            rising = {name: "DELTA_BINARY_PACKED" for name in RISING if name in table.column_names}
            others = [name for name in table.column_names if name not in rising]
            with replacing(Path(folder) / _file(kind, bucket)) as stream:
                pq.write_table(table, stream, compression="zstd", use_dictionary=others, column_encoding=rising)
    return pa.table({"bucket": [bucket]})


def _file(kind: str, bucket: int) -> str:
    return f"{kind}-{bucket:05d}.parquet"


def _prune(folder: Path, layout: Path) -> None:
    """Remove what is of no file of the history any more, and layouts that nobody has asked for in a while."""
    there = {_name(file) for file in folder.parent.glob("date=*/*.parquet")}
    gone = [found for found in layout.glob("date=*/*") if f"{found.parent.name}/{found.name}" not in there]
    others = [found for found in folder.iterdir() if not found.name.startswith(".") and found != layout]
    gone += [found for found in others if time.time() - found.stat().st_mtime > UNUSED]
    for found in gone:
        shutil.rmtree(found, ignore_errors=True)


def rows_of(task: Task, key: str, bucket: int, columns: Sequence[str]) -> list[pa.Table]:
    """Return the history's events within reach that lie in a bucket, a table a file that has any.

    Parameters
    ----------
    task : Task
    key : str
        The key of a part; `IDS` for whole events.
    bucket : int
    columns : sequence of str
    """
    found = []
    for folder, number in task.kept:
        file = Path(folder) / _file(key, bucket)
        if not file.is_file():
            continue
        with parquet_file(file) as reader:
            events = within_reach(task, reader.read())
        place = pa.array(events["place"].to_numpy() + number * FILE)
        events = events.set_column(events.column_names.index("place"), "place", place)
        found.append(events.append_column("copy", pa.array(np.ones(len(place), np.int32))).select(list(columns)))
    return found


def is_kept(task: Task, places: pa.ChunkedArray) -> np.ndarray:
    """Return which places are of rows that lie in buckets of the history."""
    files = places.to_numpy() // FILE
    kept = np.zeros(files.max(initial=0) + 1, dtype=bool)
    numbers = np.array([number for _, number in task.kept], np.int64)
    kept[numbers[numbers < len(kept)]] = True
    return kept[files]
