"""The families of features that a configuration can name: what each one is, in words and as expressions."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Literal

from pipeline.features.plan import (
    CLOCK_UNIT,
    HOUR,
    LOG_UNIT,
    NOBODY,
    RARE,
    SIGNED_LOG,
    Feature,
    Party,
    Plan,
    party,
    unit,
)
from pipeline.settings.config import Config
from pipeline.tables.period import DAY_US, HOUR_US

PRIOR_ROWS = 100
QUARTILES_OF_NORMAL = 1.349
"""Distance between the quartiles of a normal distribution, in standard deviations."""
EARTH_KM = 6371
"""Mean radius."""
LEAST_HOURS = 0.25
"""Added to the time of a way: two shops of one street, paid in within a minute, are no journey."""
BURST_US = HOUR_US // 6
"""The shortest time that velocity looks at: cards are tested, and accounts emptied, within minutes."""

OF_USUAL = ("activity", "change", "robust", "velocity")
"""Families that hold what is against what is usual; ``change_counts`` says whether less of it counts."""
ABOVE = (*OF_USUAL, "highest", "recent", "hours", "seen", "distance", "travel", "risk")
"""Families whose low values are nothing unusual: there is no less of them than in a quiet account."""


def list_features(config: Config) -> list[Feature]:
    """Return the features that a configuration declares, in order.

    Examples
    --------
    >>> contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    >>> config = Config.model_validate({"contract": contract, "features": {"families": ["amount", "calendar"]}})
    >>> [feature.name for feature in list_features(config)]
    ['eur', 'eur (log)', 'hour of day', 'weekday']
    """
    return plan_of(config).features


def core_features(config: Config) -> list[str]:
    """Return the names of the features of ``features.core``, none where it names none.

    Examples
    --------
    >>> contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    >>> families = {"families": ["amount", "calendar"], "core": ["amount"]}
    >>> core_features(Config.model_validate({"contract": contract, "features": families}))
    ['eur', 'eur (log)']
    """
    if not config.features.core:
        return []
    features = config.features.model_copy(update={"families": config.features.core})
    return [feature.name for feature in list_features(config.model_copy(update={"features": features}))]


def plan_of(config: Config, *, reviewed: bool = False) -> Plan:
    """Return the features that a configuration declares and the SQL behind them.

    Parameters
    ----------
    config : Config
    reviewed : bool
        Whether there are labels from review, which become known at a moment of their own.
    """
    plan = Plan()
    for item in config.features.families:
        family, _, only = item.partition(":")
        if family in OF_A_ROW:
            before = len(plan.features)
            OF_A_ROW[family](plan, config)
            _mark(plan, before, family, config)
            continue
        for name in [only] if only else config.contract.entities:
            before, who = len(plan.features), party(config, name)
            if family == "risk":
                _risk(plan, config, who, reviewed=reviewed)
            else:
                OF_A_PARTY[family](plan, config, who)
            _mark(plan, before, family, config, who=who.name)
    plan.features = list({feature.name: feature for feature in plan.features}.values())
    return plan


def _mark(plan: Plan, before: int, family: str, config: Config, *, who: str = "") -> None:
    """Say of the features from the place `before` on which family made them, of whom, and which values are odd."""
    both = family not in ABOVE or (family in OF_USUAL and config.features.change_counts == "both")
    direction: Literal["both", "above"] = "both" if both else "above"
    plan.features[before:] = [
        replace(
            feature,
            family=family,
            party=who,
            direction="above" if feature.unit == "yes or no" else direction,
        )
        for feature in plan.features[before:]
    ]


def _amount(plan: Plan, config: Config) -> None:
    name = config.contract.amount
    plan.features += [
        Feature(name, "number", "linear", name, "The amount."),
        Feature(f"{name} (log)", "number", "log", name, "The amount's logarithm.", column=name),
    ]


def _calendar(plan: Plan, config: Config) -> None:
    plan.add(
        Feature("hour of day", "number", "cycle", "hour of day", "The hour of day, 0 to 24.", period=24.0),
        HOUR,
    )
    plan.add(
        Feature("weekday", "number", "cycle", "weekday", "The weekday, Monday is 0.", period=7.0), "isodow(local) - 1"
    )


def _columns(plan: Plan, config: Config) -> None:
    families = {item.partition(":")[0] for item in config.features.families}
    # A latitude alone says little; where distances are looked at, it is an input through them.
    places = config.contract.places.values() if families & {"distance", "travel"} else ()
    coordinates = {name for place in places for name in place}
    for name in config.contract.numeric:
        if name in coordinates:
            continue
        plan.features.append(Feature(name, "number", "linear", name, f"The column {name}."))
    for name in config.contract.categorical:
        plan.features.append(Feature(name, "category", "linear", name, f"The column {name}."))


def _distance(plan: Plan, config: Config) -> None:
    for (one, here), (other, there) in combinations(enumerate(config.contract.places), 2):
        name = f"km from {here} to {there}"
        plan.add(
            Feature(name, "number", "log", name, f"Kilometres from {here} to {there} of the row.", unit="km"),
            _kilometres(f"lat{one}", f"lon{one}", f"lat{other}", f"lon{other}"),
        )


def _kilometres(latitude: str, longitude: str, other_latitude: str, other_longitude: str) -> str:
    """Return the expression of the distance on a sphere as large as the earth, by the haversine formula."""
    height = (
        f"(sin(radians({other_latitude} - {latitude}) / 2) ** 2 + cos(radians({latitude})) "
        f"* cos(radians({other_latitude})) * sin(radians({other_longitude} - {longitude}) / 2) ** 2)"
    )
    return f"(CASE WHEN {height} < 1 THEN asin(sqrt({height})) WHEN {height} >= 1 THEN pi() / 2 END * {2 * EARTH_KM})"


def _peers(plan: Plan, config: Config) -> None:
    """The amount against the trailing amounts of its category, each category's drawn towards everybody's."""
    amount, days, size = config.contract.amount, _days(config.features.history_days), unit(config)
    for place, name in enumerate(config.contract.categorical):
        plan.peers.add(place)
        usual = {
            item: _drawn(f"coalesce(c{place}_{item}, 0)", f"coalesce(c{place}_count, 0)", f"all_{item}", config)
            for item in ("sum", "logs", "log_squares")
        }
        variance = f"greatest({usual['log_squares']} - {usual['logs']} ** 2, 0)"
        expected = f"{name}: usual {amount}"
        plan.columns[expected] = f"{usual['sum']} * {size}"
        text = (
            f"The amount's logarithm less the mean logarithm of the same {name} in the {days} before, in standard "
            "deviations, drawn towards everybody's where there are few."
        )
        plan.add(
            Feature(f"{amount} against {name}", "number", "linear", amount, text, expected=expected),
            f"({SIGNED_LOG} / {LOG_UNIT} - {usual['logs']}) / nullif(sqrt({variance}), 0)",
        )


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _before(config: Config) -> str:
    """Return the time of a party's own past in words."""
    hours = config.features.past_gap_hours
    but = f", the last {'hour' if hours == 1 else f'{hours:g} hours'} left out" if hours else ""
    return f"in the {_days(config.features.history_days)} before{but}"


def _past(plan: Plan, config: Config, who: Party, aggregate: str, *, same: str = "") -> str:
    """Return the alias of an aggregate over the party's own past, whose last hours do not count.

    A burst of payments would else become usual while it lasts.
    """
    gap = round(config.features.past_gap_hours * HOUR_US)
    return plan.over(who, aggregate, config.features.history_days * DAY_US - gap, delay=gap, same=same)


def _drawn(total: str, count: str, everybody: str, config: Config) -> str:
    """Return a mean that is drawn towards everybody's: (n own mean + w everybody's mean) / (n + w)."""
    weight = config.features.past_weight
    return f"(({total} + {weight} * {everybody} / all_count) / ({count} + {weight}))"


def _activity(plan: Plan, config: Config, who: Party) -> None:
    for days in sorted(set(config.features.windows_days)):
        for aggregate in config.features.aggregates:
            _aggregate(plan, config, who, days=days, aggregate=aggregate)
    if "mean" in config.features.aggregates:
        amount, days = config.contract.amount, max(config.features.windows_days)
        mean = f"{who.name}: mean {amount} in {_days(days)}"
        text = f"The amount over the mean of the same {who.name} in the {_days(days)} before."
        plan.add(
            Feature(f"{amount} over the mean of {who.name}", "number", "log", amount, text, expected=mean),
            f"amount / nullif({plan.columns[mean]}, 0)",
        )


def _aggregate(plan: Plan, config: Config, who: Party, *, days: int, aggregate: str) -> None:
    """Add one aggregate over one window."""
    amount, size, length = config.contract.amount, unit(config), days * DAY_US
    span = _days(days)
    if aggregate == "distinct":
        for place, other in enumerate(config.contract.entities):
            if place not in who.places:
                name = f"{who.name}: different {other} in {span}"
                text = f"How many different {other} the same {who.name} had in the {span} before."
                source = f"{who.name}: different {other}"
                plan.add(Feature(name, "number", "log", source, text), plan.over(who, "distinct", length, of=place))
        return
    count = plan.over(who, "count", length)
    if aggregate == "count":
        text = f"Transactions of the same {who.name} in the {span} before."
        name = f"{who.name}: transactions in {span}"
        plan.add(Feature(name, "number", "log", f"{who.name}: transactions", text), count)
        return
    total = f"{plan.over(who, 'sum', length)} * {size}"
    if aggregate == "mean":
        text, expression = f"Mean {amount}", f"{total} / nullif({count}, 0)"
    elif aggregate == "sum":
        text, expression = f"Sum of {amount}", total
    elif aggregate == "max":
        text, expression = f"Highest {amount}", plan.over(who, "max", length)
    else:
        squares = f"{plan.over(who, 'squares', length)} - {plan.over(who, 'sum', length)} ** 2 / nullif({count}, 0)"
        text, expression = (
            f"Standard deviation of {amount}",
            f"sqrt(greatest({squares}, 0) / nullif({count}, 0)) * {size}",
        )
    name = f"{who.name}: {aggregate} {amount} in {span}"
    text = f"{text} of the same {who.name} in the {span} before."
    plan.add(Feature(name, "number", "log", f"{who.name}: {aggregate} {amount}", text), expression)


def _change(plan: Plan, config: Config, who: Party) -> None:
    amount = config.contract.amount
    mean, deviation = _usual(plan, config, who)
    expected = f"{who.name}: usual {amount}"
    past = f"{_before(config)}, drawn towards everybody's where there are few"
    less = "" if config.features.change_counts == "both" else "; 0 for less than usual"
    for name, expression, text in (
        (
            f"{amount} against {who.name}",
            f"(amount - {mean}) / nullif({deviation}, 0)",
            f"The amount less the mean of the same {who.name} {past}, in standard deviations{less}.",
        ),
        (
            f"{amount} against {who.name} (log)",
            f"{SIGNED_LOG} - {SIGNED_LOG.replace('amount', mean)}",
            f"The amount's logarithm less that of the mean of the same {who.name} {past}{less}.",
        ),
    ):
        plan.add(Feature(name, "number", "linear", amount, text, expected=expected), _counted(expression, config))


def _robust(plan: Plan, config: Config, who: Party) -> None:
    """Median and quartiles instead of mean and standard deviation: a few frauds in the past do not move them."""
    amount, weight = config.contract.amount, config.features.past_weight
    plan.histogram = True
    count, low, middle, high = (_past(plan, config, who, item) for item in ("count", "q25", "q50", "q75"))
    median = f"((coalesce({count} * {middle}, 0) + {weight} * all_q50) / ({count} + {weight}))"
    spread = (
        f"((coalesce({count} * ({high} - {low}), 0) + {weight} * (all_q75 - all_q25)) "
        f"/ ({count} + {weight}) / {QUARTILES_OF_NORMAL})"
    )
    expected = f"{who.name}: median {amount}"
    plan.columns[expected] = median
    less = "" if config.features.change_counts == "both" else "; 0 for less than usual"
    text = (
        f"The amount less the median of the same {who.name} {_before(config)}, over "
        f"the distance of the quartiles / {QUARTILES_OF_NORMAL}, drawn towards everybody's where there are few{less}."
    )
    feature = Feature(f"{amount} against the median of {who.name}", "number", "linear", amount, text, expected=expected)
    plan.add(feature, _counted(f"(amount - {median}) / nullif({spread}, 0)", config))


def _rank(plan: Plan, config: Config, who: Party) -> None:
    amount, weight = config.contract.amount, config.features.past_weight
    count = _past(plan, config, who, "count")
    lower, higher = (f"({_past(plan, config, who, item)} - 1)" for item in ("place", "place_from_above"))
    text = (
        f"Share of lower amounts of the same {who.name} {_before(config)}, equal "
        "ones counted half, drawn towards a half where there are few."
    )
    plan.add(
        Feature(f"{amount}: rank for {who.name}", "number", "linear", amount, text),
        f"({lower} + ({count} - {lower} - {higher} + {weight}) / 2) / ({count} + {weight})",
    )


def _highest(plan: Plan, config: Config, who: Party) -> None:
    amount = config.contract.amount
    _, deviation = _usual(plan, config, who)
    text = (
        f"How far the amount lies above the highest of the same {who.name} {_before(config)}, in "
        "standard deviations; 0 below it."
    )
    expected = f"{who.name}: usual {amount}"
    plan.add(
        Feature(f"{amount} above the highest of {who.name}", "number", "linear", amount, text, expected=expected),
        f"greatest(amount - {_past(plan, config, who, 'max')}, 0) / nullif({deviation}, 0)",
    )


def _recent(plan: Plan, config: Config, who: Party) -> None:
    """A card whose details leaked is used again and again: what the days before this row already showed."""
    amount, days = config.contract.amount, config.features.recent_days
    mean, deviation = _usual(plan, config, who)
    highest = plan.over(who, "max", days * DAY_US)
    text = (
        f"How far the highest amount of the same {who.name} in the {_days(days)} before lies above its usual amount, "
        "in standard deviations; 0 where none does."
    )
    name = f"{who.name}: highest of {_days(days)} above usual {amount}"
    plan.add(
        Feature(name, "number", "log", f"{who.name}: recent {amount}", text, unit="spreads"),
        f"CASE WHEN {mean} IS NOT NULL THEN coalesce(greatest({highest} - {mean}, 0) / nullif({deviation}, 0), 0) END",
    )


def _usual(plan: Plan, config: Config, who: Party) -> tuple[str, str]:
    """Return a party's usual amount and its standard deviation, as expressions.

    With n rows in the party's past and weight w, each is what n own rows and w of everybody's would give:
    (n own mean + w everybody's mean) / (n + w), for the variance likewise.
    """
    size, weight = unit(config), config.features.past_weight
    count, total, squares = (_past(plan, config, who, item) for item in ("count", "sum", "squares"))
    mean = f"({_drawn(total, count, 'all_sum', config)} * {size})"
    scatter = f"coalesce({squares} - {total} * {total} / nullif({count}, 0), 0)"
    everybody = "(all_squares / all_count - (all_sum / all_count) ** 2)"
    deviation = f"(sqrt(greatest({scatter} + {weight} * {everybody}, 0) / ({count} + {weight})) * {size})"
    plan.columns[f"{who.name}: usual {config.contract.amount}"] = mean
    return mean, deviation


def _counted(change: str, config: Config, least: int = 0) -> str:
    """Return the part of a change that counts; unknown stays unknown."""
    if config.features.change_counts == "both":
        return change
    return f"CASE WHEN {change} < {least} THEN {least} ELSE {change} END"


def _recency(plan: Plan, config: Config, who: Party) -> None:
    days = config.features.history_days
    previous = plan.over(who, "previous", days * DAY_US)
    some = plan.over(who, "count", days * DAY_US)
    source = f"{who.name}: last seen"
    text = f"Days since the last transaction of the same {who.name}; {days} where there was none since."
    plan.add(
        Feature(f"{who.name}: days since the last", "number", "log", source, text, unit="days"),
        f"CASE WHEN {some} = 0 THEN {days} ELSE (us - {previous}) / {float(DAY_US)} END",
    )
    text = f"1 for the first transaction of the same {who.name} in {_days(days)}, else 0."
    plan.add(
        Feature(f"{who.name}: first in {_days(days)}", "number", "linear", source, text, unit="yes or no"),
        f"CASE WHEN {some} = 0 THEN 1 WHEN {some} > 0 THEN 0 END",
    )


def _rhythm(plan: Plan, config: Config, who: Party) -> None:
    count = _past(plan, config, who, "count")
    for item, what, now in (("night", "at night (22 to 6 h)", "night"), ("weekend", "on weekends", "weekend")):
        share = _drawn(_past(plan, config, who, item), count, f"all_{item}", config)
        source = f"{who.name}: {item}"
        past = f"of the same {who.name} {_before(config)}, drawn towards everybody's where there are few"
        plan.add(
            Feature(
                f"{who.name}: share {what}",
                "number",
                "linear",
                source,
                f"Share {what} of the transactions {past}.",
                unit="share",
            ),
            share,
        )
        text = f"1 for a transaction {what}, else 0, less the share of such transactions {past}."
        plan.add(
            Feature(f"{item} against {who.name}", "number", "linear", source, text, unit="share"), f"{now} - {share}"
        )


def _hours(plan: Plan, config: Config, who: Party) -> None:
    """The hour against the party's mean direction on the clock (Mardia and Jupp, "Directional Statistics", 2.2)."""
    count = _past(plan, config, who, "count")
    cosine, sine = (
        _drawn(_past(plan, config, who, item), count, f"all_{item}", config) for item in ("cosines", "sines")
    )
    along = f"clock_cosine * {cosine} + clock_sine * {sine}"
    length = f"(sqrt({cosine} ** 2 + {sine} ** 2) * {CLOCK_UNIT!r})"
    text = (
        f"How many hours, 0 to 12, the time of day lies from the mean one of the same {who.name} "
        f"{_before(config)}, drawn towards everybody's where there are few."
    )
    plan.add(
        Feature(f"hours from the usual of {who.name}", "number", "linear", f"{who.name}: hours", text, unit="hours"),
        f"CASE WHEN {length} > 0 THEN acos(greatest(least(({along}) / {length}, 1), -1)) * 12 / pi() END",
    )


def _seen(plan: Plan, config: Config, who: Party) -> None:
    """How rare a value is for the party, as under a Dirichlet prior of `past_weight` rows at everybody's shares."""
    weight = config.features.past_weight
    others = {f"e{place}": name for place, name in enumerate(config.contract.entities) if place not in who.places}
    others |= {f"c{place}": name for place, name in enumerate(config.contract.categorical)}
    past = _past(plan, config, who, "count")
    for key, other in others.items():
        same, everybody = (_past(plan, config, each, "count", same=key) for each in (who, NOBODY))
        # The least of a number and of what is not known is the number.
        share = f"CASE WHEN all_count > 0 THEN least(({everybody} + 1) / (all_count + 1), 1) END"
        name, alike = f"{who.name}: {other} rarity", f"{who.name}: transactions with this {other}"
        plan.columns[alike] = same
        text = (
            f"The logarithm of one over the share that the row's {other} has in the rows of the same {who.name} "
            f"{_before(config)}, drawn towards its share in everybody's where there are few; none is a value, too."
        )
        plan.add(
            Feature(name, "number", "linear", name, text, expected=alike, unit="rarity", of=other),
            f"ln(({past} + {weight}) / ({same} + {weight} * {share}))",
        )


def _travel(plan: Plan, config: Config, who: Party) -> None:
    length = config.features.history_days * DAY_US
    for number, place in enumerate(config.contract.places):
        latitude, longitude, then = (
            plan.over(who, item, length, of=number) for item in ("latitude", "longitude", "there")
        )
        away = _kilometres(f"lat{number}", f"lon{number}", latitude, longitude)
        source = f"{who.name}: way from the last {place}"
        past = f"from the last known {place} of the same {who.name} in the {_days(config.features.history_days)} before"
        plan.add(
            Feature(f"{who.name}: km from the last {place}", "number", "log", source, f"Kilometres {past}.", unit="km"),
            away,
        )
        text = f"Kilometres {past} over the hours since and a quarter of one."
        plan.add(
            Feature(f"{who.name}: km/h from the last {place}", "number", "log", source, text, unit="km/h"),
            f"{away} / ((us - {then}) / {float(HOUR_US)} + {LEAST_HOURS})",
        )


def _velocity(plan: Plan, config: Config, who: Party) -> None:
    amount, hours = config.contract.amount, config.features.history_days * 24 - config.features.past_gap_hours
    past = _past(plan, config, who, "count")
    less = "" if config.features.change_counts == "both" else "; 1 for fewer than usual"
    for length, span in ((BURST_US, "10 minutes"), (HOUR_US, "hour"), (DAY_US, "day")):
        recent = plan.over(who, "count", length)
        usual = "usual ones" if span == "10 minutes" else f"a usual {span}"
        text = (
            f"Transactions of the same {who.name} in the {span} before over those of {usual} {_before(config)}, one "
            f"added to both{less}."
        )
        plan.add(
            Feature(f"{who.name}: pace of the last {span}", "number", "log", f"{who.name}: pace", text, unit="times"),
            _counted(f"({recent} + 1) / ({past} * {length / (hours * HOUR_US)!r} + 1)", config, least=1),
        )
    _, deviation = _usual(plan, config, who)
    name = f"{who.name}: {amount} of the last hour"
    text = (
        f"Sum of the amounts of the same {who.name} in the hour before, over the standard deviation of its amounts "
        f"{_before(config)}, drawn towards everybody's where there are few; 0 for less than none."
    )
    plan.add(
        Feature(name, "number", "log", name, text, unit="spreads"),
        f"greatest({plan.over(who, 'sum', HOUR_US)} * {unit(config)}, 0) / nullif({deviation}, 0)",
    )


def _risk(plan: Plan, config: Config, who: Party, *, reviewed: bool) -> None:
    if config.contract.label is None:
        return
    weight = config.features.risk_weight
    own_moments = reviewed or config.contract.labelled_at is not None
    delay = None if own_moments else round(config.features.label_delay_days * DAY_US)
    prior = f"((all_frauds / {RARE}.0 + {PRIOR_ROWS / RARE}) / (all_known + {PRIOR_ROWS}))"
    for days in sorted(set(config.features.windows_days)):
        labels, frauds = plan.risk(who, days, delay)
        text = (
            f"Share of fraud among the rows of the same {who.name} whose label became known in the "
            f"{_days(days)} before, drawn towards everybody's where there are few."
        )
        plan.add(
            Feature(f"{who.name}: risk over {_days(days)}", "number", "linear", f"{who.name}: risk", text, unit="risk"),
            f"({frauds} / {RARE}.0 + {weight} * {prior}) / ({labels} + {weight})",
        )


OF_A_PARTY: dict[str, Callable[[Plan, Config, Party], None]] = {
    "activity": _activity,
    "change": _change,
    "robust": _robust,
    "rank": _rank,
    "highest": _highest,
    "recent": _recent,
    "recency": _recency,
    "rhythm": _rhythm,
    "hours": _hours,
    "seen": _seen,
    "travel": _travel,
    "velocity": _velocity,
}
OF_A_ROW: dict[str, Callable[[Plan, Config], None]] = {
    "amount": _amount,
    "calendar": _calendar,
    "columns": _columns,
    "distance": _distance,
    "peers": _peers,
}
