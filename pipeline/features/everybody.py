"""Everybody: for each UTC day asked for, what the whole days before it add up to, of all rows and of a category's.

What days add up to is made of whole numbers that a day's rows add up to, in whatever pieces they are summed.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.features.events import TOTALS, mentioned, totals_of
from pipeline.features.plan import BINS_PER_LOG, SIGNED_LOG, Plan
from pipeline.features.risks import DAILY_LABELS, everybody_sql
from pipeline.settings.config import Config
from pipeline.tables.period import DAY_US

if TYPE_CHECKING:
    import duckdb

KEYS = re.compile(r"day|past|until|bin|c\d+")
"""Columns of the daily sums that are not summed."""


def daily_sums(plan: Plan) -> dict[str, str]:
    """Return the relations that everybody's totals are made of, by name: queries over events, and over verdicts."""
    totals = "".join(f", {TOTALS[name]} AS {name}" for name in totals_of(plan))
    sums = {
        "days": f"SELECT DISTINCT us // {DAY_US} AS day FROM events WHERE copy = 0",
        "daily_totals": f"SELECT us // {DAY_US} AS past{totals} FROM events GROUP BY past",
    }
    if _has_labels(plan):
        sums["daily_labels"] = DAILY_LABELS
    if plan.histogram:
        log_bin = f"round({SIGNED_LOG} * {BINS_PER_LOG}) AS bin"
        sums["daily_bins"] = f"SELECT us // {DAY_US} AS past, {log_bin}, count(*) AS n FROM events GROUP BY past, bin"
    for place in sorted(plan.peers):
        sums[f"daily_c{place}"] = (
            f"SELECT us // {DAY_US} AS past, c{place}, count(*) AS n, sum(x) AS x, sum(l) AS l, "
            f"sum(CAST(l AS HUGEINT) * l) AS l2 FROM events GROUP BY past, c{place}"
        )
    return sums


def joined_sums_sql(relation: str, columns: Sequence[str]) -> str:
    """Return the query that makes one of daily sums of several pieces, which stand in a relation.

    Examples
    --------
    >>> joined_sums_sql("pieces", ["past", "n"])
    'SELECT past, sum(CAST(n AS HUGEINT)) AS n FROM pieces GROUP BY ALL'
    """
    keys = [name for name in columns if KEYS.fullmatch(name)]
    sums = [f"sum(CAST({name} AS HUGEINT)) AS {name}" for name in columns if name not in keys]
    return f"SELECT {', '.join([*keys, *sums])} FROM {relation} GROUP BY ALL"


def make_everybody(connection: "duckdb.DuckDBPyConnection", plan: Plan, config: Config) -> None:
    """Make the table everybody, and one of each category with peers, over the relations `daily_sums`."""
    days = config.features.history_days - 1
    sums = "".join(f", CAST(sum({name}) AS DOUBLE) AS {name}" for name in totals_of(plan))
    queries = [f"SELECT day{sums} FROM days JOIN daily_totals ON past BETWEEN day - {days} AND day - 1 GROUP BY day"]
    known_totals = ""
    if _has_labels(plan):
        queries.append(everybody_sql(config))
        known_totals = " REPLACE (coalesce(all_known, 0) AS all_known, coalesce(all_frauds, 0) AS all_frauds)"
    if plan.histogram:
        queries.append(_quartiles(days))
    joins = "".join(f" LEFT JOIN ({query}) USING (day)" for query in queries)
    connection.execute(f"CREATE TEMP TABLE everybody AS SELECT *{known_totals} FROM days{joins}")
    for place in sorted(plan.peers):
        connection.execute(f"CREATE TEMP TABLE peers_c{place} AS {_peers(f'c{place}', days)}")


def _has_labels(plan: Plan) -> bool:
    return bool(mentioned(["all_known"], plan.columns.values()))


def _quartiles(days: int) -> str:
    """Return the query of everybody's quartiles, from a histogram of log amounts that days add up to."""
    amount = f"sign(bin) * (exp(abs(bin) / {BINS_PER_LOG}.0) - 1)"
    quartiles = "".join(
        f", min({amount}) FILTER (WHERE below >= 0.{share} * n) AS all_q{share}" for share in (25, 50, 75)
    )
    return f"""SELECT day{quartiles} FROM (
            SELECT day, bin, sum(n) OVER (PARTITION BY day ORDER BY bin) AS below, sum(n) OVER (PARTITION BY day) AS n
            FROM (
                SELECT day, bin, sum(n) AS n FROM days JOIN daily_bins ON past BETWEEN day - {days} AND day - 1
                GROUP BY day, bin
            )
        ) GROUP BY day"""


def _peers(key: str, days: int) -> str:
    """Return the query of a categorical column's totals: for each day asked for and value, the whole days before."""
    sums = {"count": "n", "sum": "x", "logs": "l", "log_squares": "l2"}
    totals = "".join(f", CAST(sum({name}) AS DOUBLE) AS {key}_{alias}" for alias, name in sums.items())
    return (
        f"SELECT day, {key}{totals} FROM days JOIN daily_{key} ON past BETWEEN day - {days} AND day - 1 "
        f"GROUP BY day, {key}"
    )
