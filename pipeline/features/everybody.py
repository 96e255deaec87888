"""Everybody: for each UTC day asked for, what the whole days before it add up to, of all rows and of a category's."""

from typing import TYPE_CHECKING

from pipeline.features.events import TOTALS, mentioned, totals_of
from pipeline.features.plan import BINS_PER_LOG, SIGNED_LOG, Plan
from pipeline.features.risks import everybody_sql
from pipeline.settings.config import Config
from pipeline.tables.period import DAY_US

if TYPE_CHECKING:
    import duckdb


def make_everybody(connection: "duckdb.DuckDBPyConnection", plan: Plan, config: Config) -> None:
    """Make the table everybody: for each UTC day asked for, the totals of the whole days before it."""
    days = config.features.history_days - 1
    connection.execute(f"CREATE TEMP TABLE days AS SELECT DISTINCT us // {DAY_US} AS day FROM events WHERE copy = 0")
    totals = totals_of(plan)
    aggregates = "".join(f", {TOTALS[name]} AS {name}" for name in totals)
    sums = "".join(f", CAST(sum({name}) AS DOUBLE) AS {name}" for name in totals)
    past = f"SELECT us // {DAY_US} AS past{aggregates} FROM events GROUP BY past"
    queries = [f"SELECT day{sums} FROM days JOIN ({past}) ON past BETWEEN day - {days} AND day - 1 GROUP BY day"]
    known_totals = ""
    if mentioned(["all_known"], plan.columns.values()):
        queries.append(everybody_sql(config))
        known_totals = " REPLACE (coalesce(all_known, 0) AS all_known, coalesce(all_frauds, 0) AS all_frauds)"
    if plan.histogram:
        queries.append(_quartiles(days))
    joins = "".join(f" LEFT JOIN ({query}) USING (day)" for query in queries)
    connection.execute(f"CREATE TEMP TABLE everybody AS SELECT *{known_totals} FROM days{joins}")


def _quartiles(days: int) -> str:
    """Return the query of everybody's quartiles, from a histogram of log amounts that days add up to."""
    amount = f"sign(bin) * (exp(abs(bin) / {BINS_PER_LOG}.0) - 1)"
    quartiles = "".join(
        f", min({amount}) FILTER (WHERE below >= 0.{share} * n) AS all_q{share}" for share in (25, 50, 75)
    )
    return f"""SELECT day{quartiles} FROM (
            SELECT day, bin, sum(n) OVER (PARTITION BY day ORDER BY bin) AS below, sum(n) OVER (PARTITION BY day) AS n
            FROM (
                SELECT day, bin, sum(n) AS n FROM days JOIN (
                    SELECT us // {DAY_US} AS past, round({SIGNED_LOG} * {BINS_PER_LOG}) AS bin, count(*) AS n
                    FROM events GROUP BY past, bin
                ) ON past BETWEEN day - {days} AND day - 1 GROUP BY day, bin
            )
        ) GROUP BY day"""


def make_peers(connection: "duckdb.DuckDBPyConnection", place: int, config: Config) -> None:
    """Make a table of a categorical column's totals: for each UTC day asked for and value, the whole days before."""
    key = f"c{place}"
    sums = {"count": "n", "sum": "x", "logs": "l", "log_squares": "l2"}
    connection.execute(
        f"""CREATE TEMP TABLE peers_{key} AS
        SELECT day, {key}{"".join(f", CAST(sum({name}) AS DOUBLE) AS {key}_{alias}" for alias, name in sums.items())}
        FROM days JOIN (
            SELECT us // {DAY_US} AS past, {key}, count(*) AS n, sum(x) AS x, sum(l) AS l,
                sum(CAST(l AS HUGEINT) * l) AS l2
            FROM events GROUP BY past, {key}
        ) ON past BETWEEN day - {config.features.history_days - 1} AND day - 1 GROUP BY day, {key}"""
    )
