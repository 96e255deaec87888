"""The past: of each row asked for, what the rows and the labels of its parties in some time before it come to.

Rows that differ in a key, such as the card, never see each other. So what a key's windows need falls into parts, one a
key, and each part into buckets of whole keys, which any process can compute by itself: the same rows, the same bits.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.features.events import mentioned
from pipeline.features.plan import Party, Plan, Window, known_aliases
from pipeline.features.risks import known_sql
from pipeline.features.windows import windowed
from pipeline.tables.period import DAY_US

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Part:
    """What rows that have a key's value alike tell of each other.

    Parameters
    ----------
    key : str
        Column of the events, such as "e0".
    windows : dict of str to Window
        By alias; all begin with the key.
    risks : list of tuple
        Party and days, where labels have moments of their own; all parties begin with the key.
    """

    key: str
    windows: dict[str, Window] = field(default_factory=dict)
    risks: list[tuple[Party, int]] = field(default_factory=list)

    def events(self, names: Sequence[str]) -> list[str]:
        """Return which columns of the events it needs."""
        keys = " ".join(key for who, _ in self.risks for key in who.keys)
        return list(
            dict.fromkeys(("us", "copy", *mentioned(names, [keys, *(window.sql for window in self.windows.values())])))
        )

    @property
    def aliases(self) -> list[str]:
        """What `past_of` calls what it finds."""
        return [*self.windows, *(alias for who, days in self.risks for alias in known_aliases(who, days))]

    @property
    def verdicts(self) -> list[str]:
        """Which columns of the verdicts it needs; none where it has no risks."""
        keys = sorted({key for who, _ in self.risks for key in who.keys})
        return ["us", "fraud", "next_us", *keys] if self.risks else []

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def of_dict(cls, values: dict[str, Any]) -> "Part":
        """Return it from plain values.

        Examples
        --------
        >>> part = Part("e0", {"n": Window(("e0",), "count", 5, 1)}, [(Party("card", (0,)), 7)])
        >>> import json
        >>> Part.of_dict(json.loads(json.dumps(part.to_dict()))) == part
        True
        """
        windows = {
            alias: Window(**{**window, "keys": tuple(window["keys"]), "needed": tuple(window["needed"])})
            for alias, window in values["windows"].items()
        }
        risks = [(Party(who["name"], tuple(who["places"])), days) for who, days in values["risks"]]
        return cls(values["key"], windows, risks)


def parts_of(plan: Plan) -> list[Part]:
    """Return what a plan looks back at, a part a key.

    Examples
    --------
    >>> plan = Plan()
    >>> for who in (Party("card", (0,)), Party("card + shop", (0, 1)), Party("shop", (1,))):
    ...     alias = plan.over(who, "count", 5)
    >>> [(part.key, list(part.windows)) for part in parts_of(plan)]
    [('e0', ['e0_count_5', 'e0_e1_count_5']), ('e1', ['e1_count_5'])]
    """
    parts: dict[str, Part] = {}
    for alias, window in plan.aggregates.items():
        parts.setdefault(window.key, Part(window.key)).windows[alias] = window
    for who, days in plan.risks:
        parts.setdefault(who.keys[0], Part(who.keys[0])).risks.append((who, days))
    return list(parts.values())


def past_of(connection: "duckdb.DuckDBPyConnection", part: Part, *, reviewed: bool, threads: int = 1) -> pa.Table:
    """Return what a part's windows hold, of the rows asked for.

    Parameters
    ----------
    connection : DuckDBPyConnection
        With the relation `events` (rows of whole keys: `part.events`, `place`) and, where the part has risks,
        `verdicts` (`part.verdicts`).
    part : Part
    reviewed : bool
        Whether there are labels from review, which may replace others.
    threads : int
        How many work at once.

    Returns
    -------
    pa.Table
        `place` and `us` of each event whose `copy` is 0, and a column an alias: float64, none where it is not known.
    """
    table = _seen(connection, part, threads)
    if not part.risks:
        return table
    connection.register("seen", table)
    connection.register("counted", _labels(connection, part, threads))
    known = known_sql(part.risks, reviewed=reviewed)
    columns = ", ".join(part.aliases)
    return connection.sql(f"SELECT place, seen.us, {columns} FROM seen JOIN ({known}) USING (place)").to_arrow_table()


def _seen(connection: "duckdb.DuckDBPyConnection", part: Part, threads: int) -> pa.Table:
    """Return the windows over the rows themselves."""
    names = [name for name, *_ in connection.sql("DESCRIBE events").fetchall()]
    needed = Part(part.key, part.windows).events(names)
    order = "us, id" if "id" in needed else "us"
    rows = connection.sql(f"SELECT place, {', '.join(needed)} FROM events ORDER BY {order}").to_arrow_table()
    return _of_asked(rows, part.windows, rows["copy"].to_numpy() == 0, threads)


def _labels(connection: "duckdb.DuckDBPyConnection", part: Part, threads: int) -> pa.Table:
    """Return how many labels, and how many hundredths of frauds, the rows' parties had in each window."""
    keys = "".join(f", {key}" for key in part.verdicts[3:])
    rows = connection.sql(
        f"""SELECT place, us, fraud{keys} FROM (
            SELECT place, us, NULL AS fraud{keys} FROM events WHERE copy = 0
            UNION ALL SELECT NULL AS place, us, fraud{keys} FROM verdicts
        ) ORDER BY us"""
    ).to_arrow_table()
    windows = {
        alias: Window(tuple(who.keys), name, days * DAY_US, 1, needed=tuple(who.keys))
        for who, days in part.risks
        for name, alias in zip(("labels", "verdicts"), known_aliases(who, days), strict=True)
    }
    return _of_asked(rows, windows, rows["place"].is_valid().to_numpy(), threads)


def _of_asked(rows: pa.Table, windows: dict[str, Window], asks: np.ndarray, threads: int) -> pa.Table:
    values = windowed(rows, windows, asks, threads=threads)
    columns = {alias: pa.array(value, from_pandas=True) for alias, value in values.items()}
    return pa.table({**{name: rows[name].filter(pa.array(asks)) for name in ("place", "us")}, **columns})
