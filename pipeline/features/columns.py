"""The columns of the feature table: a row's own, and what the expressions of a plan make of its past."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.features.events import OF_THE_CLOCK, local_sql, mentioned
from pipeline.features.past import parts_of
from pipeline.features.plan import Plan
from pipeline.settings.config import Config
from pipeline.settings.output import name_beside
from pipeline.tables.period import DAY_US
from pipeline.tables.sql import may_be_missing, quote

if TYPE_CHECKING:
    import duckdb


def table_sql(connection: "duckdb.DuckDBPyConnection", plan: Plan, config: Config, names: Sequence[str]) -> str:
    """Return the query of the rows asked for, their columns and features, by timestamp and id.

    Parameters
    ----------
    connection : DuckDBPyConnection
        With the relations present (the rows), events, past_KEY of each part, everybody, and those of peers.
    plan : Plan
    config : Config
    names : sequence of str
        Columns of the rows.
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
    joins = "".join(f" JOIN past_{part.key} USING (place)" for part in parts_of(plan))
    for place in sorted(plan.peers):
        key = f"c{place}"
        joins += f" LEFT JOIN peers_{key} ON peers_{key}.day = everybody.day AND peers_{key}.{key} = seen.{key}"
    made = f"""SELECT id{columns} FROM (
            SELECT *, {local_sql("make_timestamp(us)", config)} AS local
            FROM (SELECT id, place, {", ".join(of_row)} FROM events WHERE copy = 0) AS seen
            JOIN everybody ON us // {DAY_US} = everybody.day{joins}
        )"""
    # To the columns of `present` the join does the same.
    return f"""SELECT {present}{"".join(f", made.{quote(name)}" for name in plan.columns)}
        FROM ({may_be_missing(made, 1 + len(plan.columns))}) AS made
        LEFT JOIN present ON present.{quote(contract.id)} = made.id
        ORDER BY present.{quote(contract.timestamp)}, made.id"""
