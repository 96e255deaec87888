"""Which features a configuration declares: for people a sentence each, for DuckDB an expression each."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from pipeline.config import ENTITY_FAMILIES, Config
from pipeline.labels import DAY_US

PRIOR_RATE = 0.01
PRIOR_ROWS = 100


@dataclass(frozen=True)
class Feature:
    """One feature: a column of the feature table and how the encoder reads it.

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
    """

    name: str
    kind: Literal["number", "category"]
    scale: Literal["linear", "log", "cycle"]
    source: str
    text: str
    period: float = 0.0
    expected: str | None = None
    column: str = ""

    def __post_init__(self) -> None:
        if not self.column:
            object.__setattr__(self, "column", self.name)


@dataclass
class Plan:
    """What DuckDB computes for a configuration.

    Parameters
    ----------
    features : list of Feature
    columns : dict
        Column of the feature table to its expression over the row's `aggregates`, everybody's trailing
        totals (``all_*``) and the row's own ``amount`` and ``at``.
    aggregates : dict
        Alias to window aggregate over the events.
    known : dict
        Alias to window aggregate over the labels, in the order in which they became available.
    """

    features: list[Feature] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    aggregates: dict[str, str] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)

    def over(self, entity: int, aggregate: str, days: int, delay: int = 0) -> str:
        """Return the alias of an aggregate over the entity's trailing days, which end `delay` microseconds ago.

        The frame is t - delay - days <= timestamp < t - delay.
        """
        alias = f"e{entity}_{aggregate}_{days}"
        self.aggregates[alias] = _window(entity, aggregate, days, delay)
        return alias

    def over_labels(self, entity: int, aggregate: str, days: int) -> str:
        """Return the alias of an aggregate over the labels that became available in the trailing days."""
        alias = f"e{entity}_{aggregate}_{days}"
        self.known[alias] = _window(entity, aggregate, days, 0)
        return alias


def _window(entity: int, aggregate: str, days: int, delay: int) -> str:
    frame = f"RANGE BETWEEN {delay + days * DAY_US} PRECEDING AND {delay + 1} PRECEDING"
    value = f"CAST({AGGREGATES[aggregate]} OVER (PARTITION BY e{entity} ORDER BY us {frame}) AS DOUBLE)"
    if aggregate != "max":
        value = f"coalesce({value}, 0)"
    return f"CASE WHEN e{entity} IS NOT NULL THEN {value} END"


AGGREGATES = {
    "count": "count(*)",
    "sum": "sum(x)",
    "squares": "sum(x2)",
    "logs": "sum(l)",
    "max": "max(amount)",
    "known": "count(fraud)",
    "frauds": "sum(fraud)",
}


LARGEST = 10**15
LOG_UNIT = 2.0**-32
SIGNED_LOG = "sign(amount) * ln(1 + abs(amount))"


def unit(config: Config) -> float:
    """Return the unit in which amounts are summed, as whole numbers: exact, whatever the order of the rows.

    A millionth up to a ``max_amount`` of a billion, coarser above; amounts beyond 10^15 units count as that.
    """
    digits = math.ceil(math.log10(config.validation.max_amount)) - 15
    return float(10.0 ** min(max(digits, -6), 0))


def list_features(config: Config) -> list[Feature]:
    """Return the features that a configuration declares, in order.

    Examples
    --------
    >>> contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    >>> config = Config.model_validate({"contract": contract, "features": {"families": ["amount", "calendar"]}})
    >>> [feature.name for feature in list_features(config)]
    ['eur', 'eur (log)', 'hour of day', 'weekday']
    """
    return plan(config).features


def plan(config: Config) -> Plan:
    """Return the features that a configuration declares and the SQL behind them."""
    made = Plan()
    for item in config.features.families:
        family, _, only = item.partition(":")
        if family in ENTITY_FAMILIES:
            for index, entity in enumerate(config.contract.entities):
                if not only or entity == only:
                    ENTITY[family](made, config, index, entity)
        else:
            PLAIN[family](made, config)
    unique = {feature.name: feature for feature in made.features}
    made.features = list(unique.values())
    return made


def _amount(made: Plan, config: Config) -> None:
    name = config.contract.amount
    made.features += [
        Feature(name, "number", "linear", name, "The amount."),
        Feature(f"{name} (log)", "number", "log", name, "The amount's logarithm.", column=name),
    ]


def _calendar(made: Plan, config: Config) -> None:
    made.columns["hour of day"] = "hour(local) + minute(local) / 60.0 + second(local) / 3600.0"
    made.columns["weekday"] = "isodow(local) - 1"
    made.features += [
        Feature("hour of day", "number", "cycle", "hour of day", "The hour of day, 0 to 24.", period=24.0),
        Feature("weekday", "number", "cycle", "weekday", "The weekday, Monday is 0.", period=7.0),
    ]


def _columns(made: Plan, config: Config) -> None:
    for name in config.contract.numeric:
        made.features.append(Feature(name, "number", "linear", name, f"The column {name}."))
    for name in config.contract.categorical:
        made.features.append(Feature(name, "category", "linear", name, f"The column {name}."))


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _activity(made: Plan, config: Config, index: int, entity: str) -> None:
    amount, size = config.contract.amount, unit(config)
    windows = sorted(set(config.features.windows_days))
    for days in windows:
        count, total = made.over(index, "count", days), made.over(index, "sum", days)
        name = f"{entity}: transactions in {_days(days)}"
        made.columns[name] = count
        text = f"Transactions of the same {entity} in the {_days(days)} before."
        made.features.append(Feature(name, "number", "log", f"{entity}: transactions", text))
        name = f"{entity}: mean {amount} in {_days(days)}"
        made.columns[name] = f"{total} * {size} / nullif({count}, 0)"
        text = f"Mean {amount} of the same {entity} in the {_days(days)} before."
        made.features.append(Feature(name, "number", "log", f"{entity}: mean {amount}", text))
    name = f"{amount} over the mean of {entity}"
    mean = f"{entity}: mean {amount} in {_days(windows[-1])}"
    made.columns[name] = f"amount / nullif({made.columns[mean]}, 0)"
    text = f"The amount over the mean of the same {entity} in the {_days(windows[-1])} before."
    made.features.append(Feature(name, "number", "log", amount, text, expected=mean))


def _change(made: Plan, config: Config, index: int, entity: str) -> None:
    amount, days = config.contract.amount, config.features.history_days
    mean, deviation, mean_log = _usual(made, config, index, entity)
    expected = f"{entity}: usual {amount}"
    past = f"in the {_days(days)} before, drawn towards everybody's where there are few"
    less = "" if config.features.change_counts == "both" else "; 0 for less than usual"
    for name, expression, text in (
        (
            f"{amount} against {entity}",
            f"(amount - {mean}) / nullif({deviation}, 0)",
            f"The amount less the mean of the same {entity} {past}, in standard deviations{less}.",
        ),
        (
            f"{amount} against {entity} (log)",
            f"{SIGNED_LOG} - {mean_log}",
            f"The amount's logarithm less the mean logarithm of the same {entity} {past}{less}.",
        ),
    ):
        made.columns[name] = _counted(expression, config)
        made.features.append(Feature(name, "number", "linear", amount, text, expected=expected))


def _highest(made: Plan, config: Config, index: int, entity: str) -> None:
    amount, days = config.contract.amount, config.features.history_days
    _, deviation, _ = _usual(made, config, index, entity)
    name = f"{amount} above the highest of {entity}"
    made.columns[name] = f"greatest(amount - {made.over(index, 'max', days)}, 0) / nullif({deviation}, 0)"
    text = (
        f"How far the amount lies above the highest of the same {entity} in the {_days(days)} before, in "
        "standard deviations; 0 below it."
    )
    expected = f"{entity}: usual {amount}"
    made.features.append(Feature(name, "number", "linear", amount, text, expected=expected))


def _usual(made: Plan, config: Config, index: int, entity: str) -> tuple[str, str, str]:
    """Return an entity's usual amount, its standard deviation and the mean logarithm, as expressions.

    With n rows in the entity's past and weight w, each is what n own rows and w of everybody's would give:
    (n own mean + w everybody's mean) / (n + w), for the variance likewise.
    """
    days, size, weight = config.features.history_days, unit(config), config.features.past_weight
    count, total = made.over(index, "count", days), made.over(index, "sum", days)
    squares, logs = made.over(index, "squares", days), made.over(index, "logs", days)
    mean = f"(({total} + {weight} * all_sum / all_count) / ({count} + {weight}) * {size})"
    own = f"coalesce({squares} - {total} * {total} / nullif({count}, 0), 0)"
    everybody = "(all_squares / all_count - (all_sum / all_count) ** 2)"
    deviation = f"(sqrt(greatest({own} + {weight} * {everybody}, 0) / ({count} + {weight})) * {size})"
    mean_log = f"(({logs} + {weight} * all_logs / all_count) / ({count} + {weight}) * {LOG_UNIT})"
    made.columns[f"{entity}: usual {config.contract.amount}"] = mean
    return mean, deviation, mean_log


def _counted(change: str, config: Config) -> str:
    """Return the part of a change that counts; unknown stays unknown."""
    if config.features.change_counts == "both":
        return change
    return f"CASE WHEN {change} < 0 THEN 0 ELSE {change} END"


def _risk(made: Plan, config: Config, index: int, entity: str) -> None:
    if config.contract.label is None:
        return
    weight = config.features.risk_weight
    delay = round(config.features.label_delay_days * DAY_US)
    prior = f"((all_frauds + {PRIOR_ROWS * PRIOR_RATE}) / (all_known + {PRIOR_ROWS}))"
    for days in sorted(set(config.features.windows_days)):
        if config.contract.labelled_at is None:
            known, frauds = (made.over(index, item, days, delay) for item in ("known", "frauds"))
        else:
            known, frauds = (made.over_labels(index, item, days) for item in ("known", "frauds"))
        name = f"{entity}: risk over {_days(days)}"
        made.columns[name] = f"({frauds} + {weight} * {prior}) / ({known} + {weight})"
        text = (
            f"Share of fraud among the rows of the same {entity} whose label became known in the "
            f"{_days(days)} before, drawn towards everybody's where there are few."
        )
        made.features.append(Feature(name, "number", "linear", f"{entity}: risk", text))


ENTITY: dict[str, Callable[[Plan, Config, int, str], None]] = {
    "activity": _activity,
    "change": _change,
    "highest": _highest,
    "risk": _risk,
}
PLAIN: dict[str, Callable[[Plan, Config], None]] = {
    "amount": _amount,
    "calendar": _calendar,
    "columns": _columns,
}
