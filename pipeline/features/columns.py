"""The columns of the feature table: a row's own, and what the expressions of a plan make of its past."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.features.events import OF_THE_CLOCK, local_sql, mentioned
from pipeline.features.past import parts_of
from pipeline.features.plan import Plan
from pipeline.settings.config import Config
from pipeline.settings.engine import bytes_of
from pipeline.settings.output import name_beside
from pipeline.tables.period import DAY_US
from pipeline.tables.sql import database, may_be_missing, quote, text_sql

if TYPE_CHECKING:
    import duckdb

BYTES_A_VALUE = 5
"""Memory that a value of a row, its past or its features needs on the way, where joins spill the rest."""


def table_sql(
    connection: "duckdb.DuckDBPyConnection",
    plan: Plan,
    config: Config,
    names: Sequence[str],
    *,
    stretch: tuple[int, int] | None = None,
) -> str:
    """Return the query of the rows asked for, their columns and features, by timestamp and id.

    Parameters
    ----------
    connection : DuckDBPyConnection
        With the relations present (the rows), events, past_KEY of each part, everybody, and those of peers.
    plan : Plan
    config : Config
    names : sequence of str
        Columns of the rows.
    stretch : tuple of int, optional
        Moments in microseconds: rows from the first until before the second alone; past_KEY has `us` then.
    """
    # Each join keeps its right side, a table, in memory: DuckDB 2.0.0 ends with an internal error where it is the
    # result of another join that gives its columns as places in a dictionary (its issue 24807).
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    contract = config.contract
    others = {name: name_beside(name, plan.columns) for name in names if name in plan.columns}
    renaming = ", ".join(f"{quote(name)} AS {quote(other)}" for name, other in others.items())
    present = f"present.* RENAME ({renaming})" if renaming else "present.*"
    columns = "".join(f", CAST({expression} AS DOUBLE) AS {quote(name)}" for name, expression in plan.columns.items())
    own = [*OF_THE_CLOCK, *(f"{half}{number}" for number in range(len(contract.places)) for half in ("lat", "lon"))]
    of_row = ["us", "amount", *mentioned(own, plan.columns.values()), *(f"c{place}" for place in sorted(plan.peers))]
    since, until = stretch or (0, 0)
    joins = "".join(
        f" JOIN (SELECT {', '.join(['place', *part.aliases])} FROM past_{part.key}"
        f"{f' WHERE us >= {since} AND us < {until}' if stretch else ''}) AS past_{part.key} USING (place)"
        for part in parts_of(plan)
    )
    for place in sorted(plan.peers):
        key = f"c{place}"
        joins += f" LEFT JOIN peers_{key} ON peers_{key}.day = everybody.day AND peers_{key}.{key} = seen.{key}"
    made = f"""SELECT id{columns} FROM (
            SELECT *, {local_sql("make_timestamp(us)", config)} AS local
            FROM (SELECT id, place, {", ".join(of_row)} FROM events
                WHERE copy = 0{f" AND us >= {since} AND us < {until}" if stretch else ""}) AS seen
            JOIN everybody ON us // {DAY_US} = everybody.day{joins}
        )"""
    moment = f"epoch_us({quote(contract.timestamp)})"
    within = f"WHERE {moment} >= {since} AND {moment} < {until}"
    asked = f"(SELECT * FROM present {within}) AS present" if stretch else "present"
    # To the columns of `present` the join does the same.
    return f"""SELECT {present}{"".join(f", made.{quote(name)}" for name in plan.columns)}
        FROM ({may_be_missing(made, 1 + len(plan.columns))}) AS made
        LEFT JOIN {asked} ON present.{quote(contract.id)} = made.id
        ORDER BY present.{quote(contract.timestamp)}, made.id"""


def stretches(connection: "duckdb.DuckDBPyConnection", plan: Plan, config: Config) -> list[tuple[int, int]]:
    """Return stretches of time whose rows asked for fit into memory with their past, one after the other.

    Joins keep a side in memory, and several of them do not make room for one another by what they spill.
    """
    columns = len(plan.columns) + sum(len(part.aliases) for part in parts_of(plan)) + len(config.contract.columns)
    fitting = max(bytes_of(config.features.memory_limit) // (BYTES_A_VALUE * columns), 1)
    rows, first, last = connection.sql("SELECT count(*), min(us), max(us) FROM events WHERE copy = 0").fetchall()[0]
    number = -(-rows // fitting)
    if number <= 1:
        return [(first or 0, (last or 0) + 1)]
    shares = [part / number for part in range(1, number)]
    inner = connection.sql(f"SELECT approx_quantile(us, {shares}) FROM events WHERE copy = 0").fetchall()[0][0]
    ends = sorted({first, *(moment for moment in inner if first < moment <= last), last + 1})
    return list(pairwise(ends))


def join_files(files: Sequence[Path], out: Path, config: Config) -> Path:
    """Make one feature table of several, in their order."""
    listed = ", ".join(text_sql(str(file)) for file in files)
    with database(config.features.memory_limit, out.parent) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.sql(f"SELECT * FROM read_parquet([{listed}])")
        query = may_be_missing(f"SELECT * FROM read_parquet([{listed}])", len(rows.columns))
        connection.execute(f"COPY ({query}) TO {text_sql(str(out))} (FORMAT parquet)")
    return out
