"""The labels behind the risks, each from the moment at which it became known, until another one replaces it.

A row whose label is overdue counts as a fraud by one part in a hundred, and as normal by the rest, unless the table
says when labels became known. Where only alerts are reviewed, the share of fraud among the labels of a terminal would
be that of its alerts, far above that of its rows. And where nobody has reviewed anything yet, every risk is that
hundredth: the first labels then change the risk of those entities alone whose rows were looked at.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.features.plan import RARE, Party, known_aliases
from pipeline.settings.config import Config
from pipeline.tables.period import DAY_US

if TYPE_CHECKING:
    import duckdb


def longest_wait(config: Config) -> int:
    """Return the most microseconds that a label may take and still be used: its row must lie within reach."""
    return (config.features.max_window_days - max(config.features.windows_days)) * DAY_US


def verdicts(
    connection: "duckdb.DuckDBPyConnection", entities: Sequence[str], config: Config, *, reviewed: bool
) -> None:
    """Make the relation verdicts: one row a label, with `us`, when it became known, and `next_us`, until when it held.

    What it says is in `fraud`, in hundredths: 100 or 0. A row without a label has one that says 1, from the label delay
    on, unless review gave one by then, or the table says when labels became known: then a label that is not known yet
    may still come.

    Parameters
    ----------
    connection : DuckDBPyConnection
        With the relation events and, where `reviewed`, the relation reviewed (id, label, labelled_at).
    entities : sequence of str
        Columns of the events, such as "e0", that verdicts have as well.
    config : Config
    reviewed : bool
    """
    keys = "".join(f", events.{entity}" for entity in entities)
    labels = f"SELECT id{keys}, known_us AS us, {RARE} * fraud AS fraud, 0 AS later FROM events WHERE fraud IS NOT NULL"
    if config.contract.labelled_at is None:
        silent = f"SELECT id{keys}, known_us AS us, 1 AS fraud, 0 AS later FROM events"
        by_then = "SELECT 1 FROM reviewed WHERE id = events.id AND epoch_us(labelled_at) <= known_us"
        labels += f" UNION ALL {silent} WHERE fraud IS NULL" + (f" AND NOT EXISTS ({by_then})" if reviewed else "")
    if not reviewed:
        connection.execute(f"CREATE TEMP VIEW verdicts AS SELECT *, CAST(NULL AS BIGINT) AS next_us FROM ({labels})")
        return
    connection.execute(
        f"""CREATE TEMP TABLE verdicts AS SELECT *, lead(us) OVER (PARTITION BY id ORDER BY us) AS next_us FROM (
            SELECT * FROM (
                {labels} UNION ALL
                SELECT events.id{keys}, greatest(epoch_us(labelled_at), us) AS us, {RARE} * label AS fraud, 1 AS later
                FROM reviewed JOIN events ON reviewed.id = events.id
                WHERE epoch_us(labelled_at) - us <= {longest_wait(config)}
            ) QUALIFY row_number() OVER (PARTITION BY id, us ORDER BY later DESC, fraud DESC) = 1
        )"""
    )


DAILY_LABELS = f"""SELECT us // {DAY_US} AS past, NULL AS until, count(*) AS known, sum(fraud) AS frauds
    FROM verdicts GROUP BY past
    UNION ALL
    SELECT us // {DAY_US} AS past, next_us // {DAY_US} AS until, -count(*) AS known, -sum(fraud) AS frauds
    FROM verdicts WHERE next_us IS NOT NULL GROUP BY past, until"""
"""The query of the labels that became known on each day, and of those that another one replaced by a later day."""


def everybody_sql(config: Config) -> str:
    """Return the query of the labels of the whole days before each day: all_known, and all_frauds in hundredths."""
    days = max(config.features.windows_days) - 1
    return f"""SELECT day, CAST(sum(known) AS DOUBLE) AS all_known, CAST(sum(frauds) AS DOUBLE) AS all_frauds
        FROM days JOIN daily_labels ON past BETWEEN day - {days} AND day - 1 AND (until IS NULL OR until < day)
        GROUP BY day"""


def known_sql(risks: Sequence[tuple[Party, int]], *, reviewed: bool) -> str:
    """Return the query of each asked row's labels in each window, by parties, and of the frauds in hundredths.

    Parameters
    ----------
    risks : sequence of tuple
        Party and days.
    reviewed : bool
        Whether labels may have been replaced.

    Returns
    -------
    str
        `place` of the row, and the columns `known_aliases`, over the relation counted, which has all labels that became
        known, and where labels may have been replaced over events and verdicts.
    """
    if not reviewed:
        return "SELECT * FROM counted"
    parties = list(dict.fromkeys(who for who, _ in risks))
    joins = "".join(f" LEFT JOIN ({_replaced(who, risks)}) USING (place)" for who in parties)
    columns = "".join(
        f", {alias} - coalesce(less_{alias}, 0) AS {alias}" for item in risks for alias in known_aliases(*item)
    )
    return f"SELECT place{columns} FROM counted{joins}"


def _replaced(who: Party, risks: Sequence[tuple[Party, int]]) -> str:
    """Return the query of the labels in each window that another one had replaced before the row."""
    windows = [days for other, days in risks if other == who]
    sums = ""
    for days in windows:
        count, total = known_aliases(who, days)
        within = f"FILTER (WHERE old.us >= events.us - {days * DAY_US})"
        sums += f", count(*) {within} AS less_{count}, coalesce(sum(old.fraud) {within}, 0) AS less_{total}"
    same = " AND ".join(f"events.{key} = old.{key}" for key in who.keys)
    return (
        f"SELECT events.place{sums} FROM events "
        f"JOIN (SELECT * FROM verdicts WHERE next_us IS NOT NULL) AS old ON {same} AND old.next_us < events.us "
        f"AND old.us >= events.us - {max(windows) * DAY_US} "
        "WHERE events.copy = 0 GROUP BY events.place"
    )
