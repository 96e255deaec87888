"""The feature table: every row with what its entities have been doing before it, in one DuckDB query.

Definitions
-----------
- A row sees the rows of its entity with an earlier timestamp, back to and including the window's first
  moment: t - window <= their timestamp < t. Rows with equal timestamps do not see each other.
- A label counts from the moment it is available (pipeline/labels.py), at the earliest its row's timestamp: a
  row at t sees those that became available in t - window <= moment < t. One that took longer than
  ``max_window_days`` less the longest window is not used: its row lies too far back.
- "Everybody" is all rows, or labels, of the whole UTC days before the row's day, within the same bounds.
- Amounts and logarithms are summed as whole numbers of a small unit, so that a sum does not depend on the order
  of the rows: the same past gives the same features to the last bit, from a whole table or from the history.
- Rows that come late are seen by every row after them that is computed after they came; features that were
  computed before stay as they were.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.features.listing import LARGEST, LOG_UNIT, SIGNED_LOG, Plan, plan, unit
from pipeline.labels import DAY_US, available_at_sql, quote

if TYPE_CHECKING:
    import duckdb


def compute(rows: Path, history: Sequence[Path], config: Config, out: Path) -> Path:
    """Write the feature table of some rows.

    Parameters
    ----------
    rows : Path
        Parquet: accepted rows, typed.
    history : sequence of Path
        Parquet: earlier rows, with the contract's columns at least; later rows among them are not looked at, and
        of a row that comes twice one copy counts: that in `rows`, else one whose label is known.
    config : Config
    out : Path
        Parquet, written whole or not at all: the columns of `rows` (one that has the name of a feature gets
        " (input)" behind its name), then the feature columns and those that
        features compare with, float64 (null = not known), ordered by timestamp and id.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    ConfigError
        When a column of the contract has the name of a feature.
    """
    import duckdb

    made = plan(config)
    schema = pq.read_schema(rows)
    clash = sorted(set(made.columns) & set(config.contract.columns))
    if clash:
        raise ConfigError(
            f"the contract's column {clash[0]!r} has the name of a feature; rename the column, or leave the feature's "
            "family out of features.families"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch,
        duckdb.connect(config={"memory_limit": config.features.memory_limit}) as connection,
    ):
        connection.execute("SET temp_directory = ?", [scratch])
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("present", ds.dataset(rows))
        _events(connection, [pq.read_schema(file) for file in history], schema, history, config)
        _everybody(connection, config)
        _past(connection, made, config)
        staged = Path(scratch) / "features.parquet"
        connection.execute(f"COPY ({_select(made, config, schema.names)}) TO {_text(str(staged))} (FORMAT parquet)")
        staged.replace(out)
    return out


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _events(
    connection: "duckdb.DuckDBPyConnection",
    schemas: list[pa.Schema],
    schema: pa.Schema,
    history: Sequence[Path],
    config: Config,
) -> None:
    """Make the table events: the rows asked for and the history they may look back into, keys and amounts."""
    contract = config.contract
    at, key = quote(contract.timestamp), quote(contract.id)
    lookback = round(config.features.max_window_days * DAY_US)
    parts = [f"SELECT {_event(schema, config)}, 0 AS copy FROM present"]
    if history:
        connection.register("past", ds.dataset(list(history), schema=pa.unify_schemas(schemas)))
        first, last = connection.sql(f"SELECT min({at}), max({at}) FROM present").fetchall()[0]
        if first is not None:
            parts.append(
                f"SELECT {_event(pa.unify_schemas(schemas), config)}, 1 AS copy FROM past WHERE {at} < TIMESTAMP "
                f"'{last}' AND {at} >= TIMESTAMP '{first}' - to_microseconds({lookback}) "
                f"AND NOT EXISTS (SELECT 1 FROM present WHERE present.{key} = past.{key})"
            )
    connection.execute(f"CREATE TEMP TABLE events AS {' UNION ALL '.join(parts)}")
    rows, ids = connection.sql("SELECT count(*), count(DISTINCT id) FROM events").fetchall()[0]
    if rows != ids:
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE events AS SELECT * FROM events "
            "QUALIFY row_number() OVER (PARTITION BY id ORDER BY copy, fraud IS NULL, known_us DESC, us) = 1"
        )


def _event(schema: pa.Schema, config: Config) -> str:
    contract = config.contract
    amount = quote(contract.amount)
    fixed = f"CAST(round(greatest(least({amount} / {unit(config)!r}, {LARGEST}), -{LARGEST})) AS BIGINT)"
    log = f"CAST(round({SIGNED_LOG.replace('amount', amount)} / {LOG_UNIT!r}) AS BIGINT)"
    label = "NULL" if contract.label is None or contract.label not in schema.names else quote(contract.label)
    available = available_at_sql(config)
    if contract.labelled_at is not None and contract.labelled_at not in schema.names:
        available = available.replace(quote(contract.labelled_at), "NULL", 1)
    known, at = f"epoch_us({available})", quote(contract.timestamp)
    longest = (config.features.max_window_days - max(config.features.windows_days)) * DAY_US
    columns = {
        "id": quote(contract.id),
        "us": f"epoch_us({at})",
        "amount": amount,
        "x": fixed,
        "x2": f"CAST({fixed} AS HUGEINT) * {fixed}",
        "l": log,
        "fraud": f"CASE WHEN {known} - epoch_us({at}) <= {longest} THEN CAST({label} AS TINYINT) END",
        "known_us": f"greatest({known}, epoch_us({at}))",
    } | {f"e{index}": quote(entity) for index, entity in enumerate(contract.entities)}
    return ", ".join(f"{expression} AS {name}" for name, expression in columns.items())


def _everybody(connection: "duckdb.DuckDBPyConnection", config: Config) -> None:
    """Make the table everybody: for each UTC day asked for, the totals of the whole days before it."""
    past_days, label_days = config.features.history_days - 1, max(config.features.windows_days) - 1
    connection.execute(
        f"""CREATE TEMP TABLE everybody AS
        WITH days AS (SELECT DISTINCT us // {DAY_US} AS day FROM events WHERE copy = 0),
        totals AS (
            SELECT us // {DAY_US} AS past, count(*) AS n, sum(x) AS x, sum(x2) AS x2, sum(l) AS l
            FROM events GROUP BY past
        ),
        labels AS (
            SELECT known_us // {DAY_US} AS past, count(fraud) AS known, sum(fraud) AS frauds
            FROM events GROUP BY past
        ),
        amounts AS (
            SELECT day, CAST(sum(n) AS DOUBLE) AS all_count, CAST(sum(x) AS DOUBLE) AS all_sum,
                CAST(sum(x2) AS DOUBLE) AS all_squares, CAST(sum(l) AS DOUBLE) AS all_logs
            FROM days JOIN totals ON past BETWEEN day - {past_days} AND day - 1 GROUP BY day
        ),
        risks AS (
            SELECT day, CAST(sum(known) AS DOUBLE) AS all_known, CAST(sum(frauds) AS DOUBLE) AS all_frauds
            FROM days JOIN labels ON past BETWEEN day - {label_days} AND day - 1 GROUP BY day
        )
        SELECT day, all_count, all_sum, all_squares, all_logs,
            coalesce(all_known, 0) AS all_known, coalesce(all_frauds, 0) AS all_frauds
        FROM days LEFT JOIN amounts USING (day) LEFT JOIN risks USING (day)"""
    )


def _past(connection: "duckdb.DuckDBPyConnection", made: Plan, config: Config) -> None:
    """Make the view past_of: the aggregates of each row asked for."""
    aggregates = "".join(f", {expression} AS {alias}" for alias, expression in made.aggregates.items())
    connection.execute(
        f"CREATE TEMP VIEW seen AS SELECT * FROM (SELECT id, us, amount, copy{aggregates} FROM events) WHERE copy = 0"
    )
    if not made.known:
        return
    entities = "".join(f", e{index}" for index in range(len(config.contract.entities)))
    known = "".join(f", {expression} AS {alias}" for alias, expression in made.known.items())
    connection.execute(
        f"""CREATE TEMP VIEW known AS SELECT * FROM (SELECT id, asks{known} FROM (
            SELECT id, us, NULL AS fraud, TRUE AS asks{entities} FROM events WHERE copy = 0
            UNION ALL
            SELECT NULL AS id, known_us AS us, fraud, FALSE AS asks{entities} FROM events
            WHERE fraud IS NOT NULL
        )) WHERE asks"""
    )


def _select(made: Plan, config: Config, names: Sequence[str]) -> str:
    contract = config.contract
    renamed = ", ".join(f"{quote(name)} AS {quote(f'{name} (input)')}" for name in names if name in made.columns)
    present = f"present.* RENAME ({renamed})" if renamed else "present.*"
    at = "make_timestamp(us)"
    if config.table.time_zone != "UTC":
        at = f"timezone({_text(config.table.time_zone)}, timezone('UTC', {at}))"
    columns = "".join(f", CAST({expression} AS DOUBLE) AS {quote(name)}" for name, expression in made.columns.items())
    labels = "JOIN known USING (id)" if made.known else ""
    return f"""SELECT {present}{"".join(f", made.{quote(name)}" for name in made.columns)}
        FROM present JOIN (
            SELECT id{columns} FROM (
                SELECT *, {at} AS local FROM seen JOIN everybody ON us // {DAY_US} = day {labels}
            )
        ) AS made ON present.{quote(contract.id)} = made.id
        ORDER BY present.{quote(contract.timestamp)}, made.id"""
