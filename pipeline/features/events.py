"""The events: the rows asked for and the history that they may look back into, as keys, moments and whole numbers."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.features.plan import CLOCK_UNIT, HOUR, LARGEST, LOG_UNIT, SIGNED_LOG, Plan, unit
from pipeline.features.risks import longest_wait
from pipeline.labels.known import available_at_sql
from pipeline.settings.config import Config
from pipeline.tables.period import DAY_US
from pipeline.tables.sql import quote, text_sql

if TYPE_CHECKING:
    import duckdb

TOTALS = {
    "all_count": "count(*)",
    "all_sum": "sum(x)",
    "all_squares": "sum(CAST(x AS HUGEINT) * x)",
    "all_logs": "sum(l)",
    "all_log_squares": "sum(CAST(l AS HUGEINT) * l)",
    "all_night": "sum(night)",
    "all_weekend": "sum(weekend)",
    "all_cosines": "sum(clock_cosine)",
    "all_sines": "sum(clock_sine)",
}
"""What expressions may name of everybody's rows."""


OF_THE_CLOCK = ("night", "weekend", "clock_cosine", "clock_sine")
"""What expressions may name of a row's own moment."""


@dataclass(frozen=True)
class Files:
    """The Parquet files that a feature table is made of: rows asked for, earlier ones, labels from review.

    In the folder `buckets`, which may lie in one of days of the history, these are kept as tasks of Spark need them.
    """

    rows: Path
    history: tuple[Path, ...] = ()
    reviewed: tuple[Path, ...] = ()
    buckets: Path | None = None


ONE_COPY = "QUALIFY row_number() OVER (PARTITION BY id ORDER BY copy, fraud IS NULL, known_us DESC, us) = 1"
"""Which of a row's copies counts: that asked for, else one whose label is known."""


def read_files(connection: "duckdb.DuckDBPyConnection", name: str, files: Sequence[Path], scratch: Path) -> None:
    """Make a view of Parquet files; DuckDB reads them through links, for it takes * and [ in a name for a pattern."""
    if not files:
        return
    links = [scratch / f"{name}-{number}.parquet" for number in range(len(files))]
    for link, file in zip(links, files, strict=True):
        link.symlink_to(file.resolve())
    listed = ", ".join(text_sql(str(link)) for link in links)
    connection.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM read_parquet([{listed}], union_by_name = true)")


def mentioned(names: Iterable[str], expressions: Iterable[str]) -> list[str]:
    """Return which names expressions contain; names of the table's own columns never stand in one."""
    words = set(re.findall(r"\w+", " ".join(expressions)))
    return [name for name in names if name in words]


def totals_of(plan: Plan) -> list[str]:
    """Return which of everybody's totals a plan needs."""
    return mentioned(TOTALS, [*plan.columns.values(), "all_count"])


def make_events(
    connection: "duckdb.DuckDBPyConnection", schema: pa.Schema, history: Sequence[Path], *, config: Config, plan: Plan
) -> None:
    """Make the relation events: the rows asked for and the history they may look back into, keys and amounts.

    A row has a number, its `place`; `copy` is 0 for one that is asked for.
    """
    contract = config.contract
    at, key = quote(contract.timestamp), quote(contract.id)
    parts = [f"SELECT {event_sql(schema, config, plan)}, 0 AS copy FROM present"]
    if history:
        past = pa.unify_schemas([pq.read_schema(file) for file in history])
        ends = connection.sql(f"SELECT min({at}), max({at}) FROM present").fetchall()[0]
        if ends[0] is not None:
            first, last = reach(ends[0], ends[1], config)
            parts.append(
                f"SELECT {event_sql(past, config, plan)}, 1 AS copy FROM past WHERE {at} >= TIMESTAMP '{first}' "
                f"AND {at} < TIMESTAMP '{last}' AND NOT EXISTS (SELECT 1 FROM present WHERE present.{key} = past.{key})"
            )
    connection.execute(f"CREATE TEMP TABLE stored AS {' UNION ALL '.join(parts)}")
    rows, ids = connection.sql("SELECT count(*), count(DISTINCT id) FROM stored").fetchall()[0]
    if rows != ids:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE stored AS SELECT * FROM stored {ONE_COPY}")
    connection.execute("CREATE TEMP VIEW events AS SELECT *, rowid AS place FROM stored")


def reach(first: datetime, last: datetime, config: Config) -> tuple[datetime, datetime]:
    """Return from when on, and before when, features of rows from `first` to `last` look at earlier ones."""
    return first - timedelta(microseconds=round(config.features.max_window_days * DAY_US)), last


def event_sql(schema: pa.Schema, config: Config, plan: Plan) -> str:
    """Return the expressions that make an event of a row, over a relation that has a schema's columns."""
    contract = config.contract
    amount = quote(contract.amount)
    fixed = f"CAST(round(greatest(least({amount} / {unit(config)!r}, {LARGEST}), -{LARGEST})) AS BIGINT)"
    log = f"CAST(round({SIGNED_LOG.replace('amount', amount)} / {LOG_UNIT!r}) AS BIGINT)"
    label = "NULL" if contract.label is None or contract.label not in schema.names else quote(contract.label)
    available = available_at_sql(config)
    if contract.labelled_at is not None and contract.labelled_at not in schema.names:
        available = available.replace(quote(contract.labelled_at), "NULL", 1)
    known_us, at = f"epoch_us({available})", quote(contract.timestamp)
    columns = {
        "id": quote(contract.id),
        "us": f"epoch_us({at})",
        "amount": amount,
        "fraud": f"CASE WHEN {known_us} - epoch_us({at}) <= {longest_wait(config)} THEN CAST({label} AS TINYINT) END",
        "known_us": f"greatest({known_us}, epoch_us({at}))",
    } | {f"e{place}": quote(entity) for place, entity in enumerate(contract.entities)}
    local = local_sql(at, config)
    extras = {
        "x": fixed,
        "l": log,
        "night": f"CASE WHEN hour({local}) < 6 OR hour({local}) >= 22 THEN 1 ELSE 0 END",
        "weekend": f"CASE WHEN isodow({local}) > 5 THEN 1 ELSE 0 END",
    }
    angle = f"({HOUR.replace('local', local)}) * pi() / 12"
    for name, function in (("clock_cosine", "cos"), ("clock_sine", "sin")):
        extras[name] = f"CAST(round({function}({angle}) * {CLOCK_UNIT!r}) AS BIGINT)"
    for number, (latitude, longitude) in enumerate((quote(a), quote(b)) for a, b in contract.places.values()):
        # 0 and 0 is what is written where nothing is known.
        known = f"abs({latitude}) <= 90 AND abs({longitude}) <= 180 AND ({latitude} <> 0 OR {longitude} <> 0)"
        extras[f"lat{number}"] = f"CASE WHEN {known} THEN CAST({latitude} AS DOUBLE) END"
        extras[f"lon{number}"] = f"CASE WHEN {known} THEN CAST({longitude} AS DOUBLE) END"
    expressions = [
        *(window.sql for window in plan.aggregates.values()),
        *plan.columns.values(),
        *(TOTALS[name] for name in totals_of(plan)),
    ]
    expressions += ["x l"] if plan.peers else []
    columns |= {name: extras[name] for name in mentioned(extras, expressions)}
    categories = {f"c{place}": quote(name) for place, name in enumerate(contract.categorical)}
    peers = [f"c{place}" for place in plan.peers]
    columns |= {name: categories[name] for name in mentioned(categories, [*expressions, *peers])}
    return ", ".join(f"{expression} AS {name}" for name, expression in columns.items())


def local_sql(at: str, config: Config) -> str:
    """Return the expression of a moment on the clocks of the table's time zone."""
    return (
        at
        if config.table.time_zone == "UTC"
        else f"timezone({text_sql(config.table.time_zone)}, timezone('UTC', {at}))"
    )
