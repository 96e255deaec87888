"""What a configuration's features are made of: columns of the feature table, and the sums and windows behind them."""

import math
from dataclasses import dataclass, field
from typing import Literal

from pipeline.settings.config import Config
from pipeline.tables.period import DAY_US

LARGEST = 10**15
LOG_UNIT = 2.0**-32
HOUR = "hour(local) + minute(local) / 60.0 + second(local) / 3600.0"
CLOCK_UNIT = 2.0**32
"""Length of the hand on the clock whose cosines and sines are summed as whole numbers."""
SIGNED_LOG = "sign(amount) * ln(1 + abs(amount))"
RARE = 100
"""Of as many rows that nobody looked at, one counts as fraud: a label is summed in shares of such a fraud."""
BINS_PER_LOG = 64
"""Everybody's quantiles are read from a histogram of log amounts with this many bins for each factor of e."""


@dataclass(frozen=True)
class Feature:
    """A feature: a column of the feature table and how the encoder reads it.

    Parameters
    ----------
    name : str
        Unique among the features.
    kind : {"number", "category"}
    scale : {"linear", "log", "cycle"}
        What the encoder does before standard scaling: x; sign(x) log(1 + abs(x)); sine and cosine of
        2 pi x / period.
    source : str
        What an analyst calls it; reasons merge the features of one source.
    text : str
        One sentence, for people.
    period : float
        Of a cycle: 24 for hours, 7 for days.
    expected : str, optional
        Column of the feature table that holds, in the source's unit, what the feature compares with.
    column : str
        Column of the feature table that it reads, in the raw unit; the name where none is given.
    unit : str
        What its values are, where they are neither money nor a plain number: a "share" of 1, a "risk", which is one of
        which only a high one is odd, "rarity" (the logarithm of one over a share), "spreads" (standard deviations of
        the usual), "times", "days", "hours", "km", "km/h", "yes or no".
    family : str
        The family that declares it, such as "change".
    party : str
        Whose past it is of, such as "CUSTOMER"; "" for one of the row itself.
    direction : {"both", "above"}
        Which values speak for fraud where they are unusual: "above", high ones only; "both", low ones as well.
    of : str
        Of a rarity, the column whose value it is; `expected` then holds how many of the party's rows had that value.
    """

    name: str
    kind: Literal["number", "category"]
    scale: Literal["linear", "log", "cycle"]
    source: str
    text: str
    period: float = 0.0
    expected: str | None = None
    column: str = ""
    unit: Literal["", "share", "risk", "rarity", "spreads", "times", "days", "hours", "km", "km/h", "yes or no"] = ""
    family: str = ""
    party: str = ""
    direction: Literal["both", "above"] = "both"
    of: str = ""

    def __post_init__(self) -> None:
        if not self.column:
            object.__setattr__(self, "column", self.name)


@dataclass(frozen=True)
class Party:
    """A party: an entity of the contract, or a pair of them such as one customer at one terminal.

    Parameters
    ----------
    name : str
        The entities' names, joined by " + ".
    places : tuple of int
        Which of the contract's entities.
    """

    name: str
    places: tuple[int, ...]

    @property
    def keys(self) -> list[str]:
        """The columns of the events that tell one from another."""
        return [f"e{place}" for place in self.places]


def party(config: Config, name: str) -> Party:
    """Return the party that a configuration names: an entity, or a pair joined by "+".

    Examples
    --------
    >>> roles = {"id": "tx", "timestamp": "at", "amount": "eur", "entities": ["card", "shop"]}
    >>> party(Config.model_validate({"contract": roles}), "card+shop")
    Party(name='card + shop', places=(0, 1))
    """
    entities = config.contract.entities
    names = (name,) if name in entities else config.features.pair(name, entities)
    return Party(" + ".join(names), tuple(entities.index(item) for item in names))


NOBODY = Party("", ())
"""The party of an aggregate over everybody's rows."""
AGGREGATES = {
    "count": "count(*)",
    "sum": "sum(x)",
    "squares": "sum(CAST(x AS HUGEINT) * x)",
    "max": "max(amount)",
    "previous": "max(us)",
    "night": "sum(night)",
    "weekend": "sum(weekend)",
    "cosines": "sum(clock_cosine)",
    "sines": "sum(clock_sine)",
    "place": "rank(ORDER BY amount)",
    "place_from_above": "rank(ORDER BY amount DESC)",
    "q25": "quantile_cont(amount, 0.25)",
    "q50": "quantile_cont(amount, 0.5)",
    "q75": "quantile_cont(amount, 0.75)",
    "known": "count(*)",
    "frauds": f"sum(coalesce({RARE} * fraud, 1))",
}
OF_ONE = {
    "distinct": "count(DISTINCT e{})",
    "latitude": "last_value(lat{} ORDER BY us, id IGNORE NULLS)",
    "longitude": "last_value(lon{} ORDER BY us, id IGNORE NULLS)",
    "there": "max(us) FILTER (WHERE lat{} IS NOT NULL)",
}
"""Aggregates of one of the contract's entities or places, by its number; the last three are of the last known place."""
SUMS = (*(name for name, sql in AGGREGATES.items() if sql.startswith(("count", "sum", "rank"))), "distinct")
"""Aggregates that are 0 over no row; the others are then not known."""


@dataclass(frozen=True)
class Window:
    """A window: an aggregate over a party's rows of some time before a row, t - `first` <= timestamp <= t - `last`.

    Parameters
    ----------
    keys : tuple of str
        Columns of the events whose values the rows have alike; none is a value, too.
    aggregate : str
        A key of `AGGREGATES`, or of `OF_ONE`.
    first, last : int
        Microseconds before the row; `last` is 1 at least, for rows of one moment do not see each other.
    needed : tuple of str
        Keys without which nothing is known.
    of : int, optional
        Number of the contract's entity or place, of an aggregate of `OF_ONE`.
    """

    keys: tuple[str, ...]
    aggregate: str
    first: int
    last: int
    needed: tuple[str, ...] = ()
    of: int | None = None

    @property
    def key(self) -> str:
        """The first of the keys: rows that differ in it never see each other."""
        return self.keys[0]

    @property
    def sql(self) -> str:
        """The expression of its value over the events: a DOUBLE, 0 or none over no row.

        Examples
        --------
        >>> Window(("e0",), "max", 5, 1).sql
        'CAST(max(amount) OVER (PARTITION BY e0 ORDER BY us RANGE BETWEEN 5 PRECEDING AND 1 PRECEDING) AS DOUBLE)'
        """
        function = AGGREGATES[self.aggregate] if self.of is None else OF_ONE[self.aggregate].format(self.of)
        frame = f"RANGE BETWEEN {self.first} PRECEDING AND {self.last} PRECEDING"
        value = f"CAST({function} OVER (PARTITION BY {', '.join(self.keys)} ORDER BY us {frame}) AS DOUBLE)"
        if self.aggregate in SUMS:
            value = f"coalesce({value}, 0)"
        present = " AND ".join(f"{key} IS NOT NULL" for key in self.needed)
        return f"CASE WHEN {present} THEN {value} END" if present else value


@dataclass
class Plan:
    """A plan: what is computed for a configuration.

    Parameters
    ----------
    features : list of Feature
    columns : dict
        Column of the feature table to its expression over the row's `aggregates`, everybody's trailing
        totals (``all_*``), the totals of its categories (``c0_*``), its own ``amount``, ``us`` and ``local``.
    aggregates : dict
        Alias to window over the events.
    risks : list of tuple
        Party and days: the risks, over labels in the order in which they became available.
    peers : set of int
        Which of the contract's categorical columns need totals of their own.
    histogram : bool
        Whether everybody's quartiles are needed.
    """

    features: list[Feature] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    aggregates: dict[str, Window] = field(default_factory=dict)
    risks: list[tuple[Party, int]] = field(default_factory=list)
    peers: set[int] = field(default_factory=set)
    histogram: bool = False

    def over(
        self,
        who: Party,
        aggregate: str,
        length: int,
        *,
        delay: int = 0,
        of: int | None = None,
        same: str = "",
    ) -> str:
        """Return the alias of an aggregate over the party's rows of the `length` microseconds that end `delay` ago.

        The frame is t - delay - length <= timestamp < t - delay. Those of `OF_ONE` are `of` the contract's
        entity, or place, of that number. Where a column of the events has to be the `same`, such as "e1" or "c0", only
        rows count that have the row's value of it; none is a value, too.

        Examples
        --------
        >>> plan = Plan()
        >>> plan.over(Party("card", (0,)), "count", DAY_US)
        'e0_count_86400000000'
        >>> list(plan.aggregates)
        ['e0_count_86400000000']
        """
        keys = [*who.keys, *([same] if same else [])]
        alias = f"{'_'.join(who.keys)}{f'_same_{same}' if same else ''}_{aggregate}_{length}"
        alias += (f"_to_{delay}" if delay else "") + ("" if of is None else f"_of_{of}")
        self.aggregates[alias] = Window(
            tuple(keys), aggregate, delay + length, delay + 1, needed=tuple(who.keys), of=of
        )
        return alias

    def risk(self, who: Party, days: int, delay: int | None) -> tuple[str, str]:
        """Return the aliases of how many labels, and how many frauds, became known in the trailing days.

        Parameters
        ----------
        who : Party
        days : int
        delay : int or None
            Microseconds after which every label is known; None where each has a moment of its own.
        """
        if delay is None:
            self.risks.append((who, days))
            return known_aliases(who, days)
        return self.over(who, "known", days * DAY_US, delay=delay), self.over(who, "frauds", days * DAY_US, delay=delay)

    def add(self, feature: Feature, expression: str) -> None:
        """Add a feature and the expression of the column that it reads."""
        self.columns[feature.column] = expression
        self.features.append(feature)


def known_aliases(who: Party, days: int) -> tuple[str, str]:
    """Return what the labels and the frauds that became known in the trailing days are called."""
    key = "_".join(who.keys)
    return f"{key}_known_{days}", f"{key}_frauds_{days}"


def unit(config: Config) -> float:
    """Return the unit in which amounts are summed, as whole numbers: exact, whatever the order of the rows.

    A millionth up to a ``max_amount`` of a billion, coarser above; amounts beyond 10^15 units count as that.
    """
    digits = math.ceil(math.log10(config.validation.max_amount)) - 15
    return float(10.0 ** min(max(digits, -6), 0))
