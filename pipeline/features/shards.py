"""Shards: the past of rows in buckets of whole keys, one process a bucket.

A bucket has its share of every key's rows and of their history, so that it runs by itself and what it finds does not
depend on how many there are. As many run at once as there are processors.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from pipeline.errors import ResourceError
from pipeline.features.past import Part, past_of
from pipeline.settings.config import Config
from pipeline.settings.engine import bytes_of
from pipeline.tables.sql import database, text_sql

if TYPE_CHECKING:
    import duckdb

BYTES_A_ROW = 600
"""What a row of the events takes in memory while its windows are computed."""
JOB = "job.json"
TOO_LARGE = 3
"""How a process ends whose bucket does not fit into its memory."""


def make_past(
    connection: "duckdb.DuckDBPyConnection", parts: Sequence[Part], config: Config, scratch: Path, *, reviewed: bool
) -> None:
    """Make the relation past_KEY of each part, with the columns of `past_of`.

    Parameters
    ----------
    connection : DuckDBPyConnection
        With the relations events and, where a part has risks, verdicts.
    parts : sequence of Part
    config : Config
    scratch : Path
        Folder for what shards read and write.
    reviewed : bool

    Raises
    ------
    ResourceError
        When a shard needs more memory than its share, or is ended from outside.
    """
    rows = connection.sql("SELECT count(*) FROM events").fetchall()[0][0]
    shards = shards_of(rows, config)
    if shards == 1 or not rows:
        for part in parts:
            table = past_of(connection, part, reviewed=reviewed, threads=_at_once())
            connection.register(f"past_{part.key}", table)
        return
    folder = scratch / "shards"
    _hand_out(connection, parts, folder, shards)
    _run(parts, folder, config, shards=shards, reviewed=reviewed)
    for part in parts:
        files = ", ".join(text_sql(str(folder / _name(part, bucket))) for bucket in range(shards))
        connection.execute(f"CREATE TEMP VIEW past_{part.key} AS SELECT * FROM read_parquet([{files}])")


def shards_of(rows: int, config: Config) -> int:
    """Return how many shards compute the past of as many rows of events.

    Examples
    --------
    >>> contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    >>> config = Config.model_validate({"contract": contract, "features": {"memory_limit": "1GB"}})
    >>> shards_of(10_000, config), shards_of(10_000_000, config) > 5
    (1, True)
    """
    if config.engine.shards != "auto":
        return config.engine.shards
    needed, limit = rows * BYTES_A_ROW, bytes_of(config.features.memory_limit)
    return 1 if needed <= limit / 2 else math.ceil(needed * _at_once() / limit)


def _at_once() -> int:
    """Return how many processors this process may use, which a scheduler of jobs may have made fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _hand_out(connection: "duckdb.DuckDBPyConnection", parts: Sequence[Part], folder: Path, shards: int) -> None:
    """Write each part's events and verdicts, a folder a bucket."""
    names = [name for name, *_ in connection.sql("DESCRIBE events").fetchall()]
    for part in parts:
        of_relation = {"events": ["place", *part.events(names)], "verdicts": part.verdicts}
        for relation, columns in of_relation.items():
            if not columns:
                continue
            # Every process has the same DuckDB, and so the same hash; of rows without a key nothing is known.
            bucket = f"CAST(hash({part.key}) % {shards} AS INTEGER) AS bucket"
            target = folder / f"{relation}_{part.key}"
            target.mkdir(parents=True)
            connection.execute(
                f"COPY (SELECT {', '.join(dict.fromkeys(columns))}, {bucket} FROM {relation}) TO "
                f"{text_sql(str(target))} (FORMAT parquet, PARTITION_BY (bucket), OVERWRITE_OR_IGNORE)"
            )


def _run(parts: Sequence[Part], folder: Path, config: Config, *, shards: int, reviewed: bool) -> None:
    limit = config.features.memory_limit
    job = {
        "parts": [part.to_dict() for part in parts],
        "reviewed": reviewed,
        "memory_limit": f"{bytes_of(limit) // min(_at_once(), shards)}B",
    }
    (folder / JOB).write_text(json.dumps(job), encoding="utf-8")
    with ThreadPoolExecutor(min(_at_once(), shards)) as pool:
        ends = set(pool.map(lambda bucket: _start(folder, bucket), range(shards)))
    if TOO_LARGE in ends:
        raise ResourceError(
            f"a share of features.memory_limit = {limit!r} is less than a bucket of engine.shards = {shards} needs at "
            "once; raise either of them"
        )
    if ends != {0}:
        raise ResourceError(
            f"a process that computes features ended with status {max(ends, key=abs)}, so they are not whole; look "
            "above for its reason, or for the machine's memory where there is none, and run again"
        )


def _start(folder: Path, bucket: int) -> int:
    """Run a process for a bucket, wait for it, and return how it ended."""
    paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    words = [sys.executable, "-P", "-m", "pipeline.features", str(folder), str(bucket)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(words, env=environment, check=False).returncode


def compute_bucket(folder: Path, bucket: int) -> None:
    """Write the past of a bucket's rows, a file a part."""
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    for part in map(Part.of_dict, job["parts"]):
        with database(job["memory_limit"], folder) as connection:
            connection.execute("SET threads = 1")
            for relation in ("events", "verdicts") if part.risks else ("events",):
                rows = _rows_sql(folder / f"{relation}_{part.key}", bucket)
                connection.execute(f"CREATE TEMP VIEW {relation} AS {rows}")
            past = past_of(connection, part, reviewed=job["reviewed"])
            # In small groups of rows, most of which lie in one stretch of time, so that a stretch need not read all.
            pq.write_table(past, folder / _name(part, bucket), row_group_size=1 << 16)


def _rows_sql(folder: Path, bucket: int) -> str:
    """Return the query of a bucket's rows; one without a row has the columns of the others."""
    own = sorted(folder.glob(f"bucket={bucket}/*.parquet"))
    files = ", ".join(text_sql(str(file)) for file in own or sorted(folder.glob("*/*.parquet")))
    return f"SELECT * FROM read_parquet([{files}], hive_partitioning = false){'' if own else ' LIMIT 0'}"


def _name(part: Part, bucket: int) -> str:
    return f"past_{part.key}-{bucket}.parquet"
