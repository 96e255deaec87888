"""The families of features that a configuration can name."""

from dataclasses import replace

import pytest

from pipeline.features import list_features
from pipeline.features.plan import Feature
from pipeline.settings.config import FAMILIES
from tests.pipeline.features.by_hand import AGGREGATES, config

FEW = "drawn towards everybody's where there are few"
PAST = "in the 5 days before, the last 24 hours left out"
BEFORE = f"of the same card {PAST}"


def test_features_are_declared_by_family_and_entity():
    chosen = config(families=("amount", "change:card", "risk:shop"), windows_days=(2,))
    assert [feature.name for feature in list_features(chosen)] == [
        "eur",
        "eur (log)",
        "eur against card",
        "eur against card (log)",
        "shop: risk over 2 days",
    ]
    for family in FAMILIES:
        only = list_features(config(families=(family,)))
        others = {f.name for f in list_features(config(families=tuple(f for f in FAMILIES if f != family)))}
        assert not others & {feature.name for feature in only}
    every = list_features(config())
    assert len({feature.name for feature in every}) == len(every)
    assert all(feature.text.endswith(".") for feature in every)


def declared(*families, **settings):
    contract = {"numeric": ("age",), "categorical": ("channel",)}
    days = {"windows_days": (1,), "history_days": 5, "recent_days": 2}
    return list_features(config(contract, families=families, aggregates=AGGREGATES, **days, **settings))


def unmarked(features):
    """Features as their family declares them, without what all of the family's have in common."""
    return [replace(feature, family="", party="", direction="both") for feature in features]


def marks(*families, **settings):
    return {(item.family, item.party, item.direction) for item in declared(*families, **settings)}


def test_a_feature_says_its_family_its_party_and_whether_low_values_are_odd_as_well():
    of_rows = ("amount", "calendar", "columns", "peers")
    assert marks(*of_rows) == {(family, "", "both") for family in of_rows}
    assert marks("rank:card", "rhythm:shop") == {("rank", "card", "both"), ("rhythm", "shop", "both")}
    always, against = ("highest", "recent", "hours", "seen", "risk"), ("activity", "change", "robust", "velocity")
    named = [f"{family}:card+shop" for family in always + against]
    assert marks(*named) == {(family, "card + shop", "above") for family in always + against}
    both = {(family, "card + shop", "both") for family in against}
    assert marks(*named, change_counts="both") == {(family, "card + shop", "above") for family in always} | both
    assert [feature.direction for feature in declared("recency:card")] == ["both", "above"]


def test_what_is_of_the_row_itself_is_declared_with_how_it_is_read_and_what_it_is():
    assert unmarked(declared("amount", "calendar", "columns", "peers")) == [
        Feature("eur", "number", "linear", "eur", "The amount."),
        Feature("eur (log)", "number", "log", "eur", "The amount's logarithm.", column="eur"),
        Feature("hour of day", "number", "cycle", "hour of day", "The hour of day, 0 to 24.", period=24),
        Feature("weekday", "number", "cycle", "weekday", "The weekday, Monday is 0.", period=7),
        Feature("age", "number", "linear", "age", "The column age."),
        Feature("channel", "category", "linear", "channel", "The column channel."),
        Feature(
            "eur against channel",
            "number",
            "linear",
            "eur",
            "The amount's logarithm less the mean logarithm of the same channel in the 5 days before, in standard "
            f"deviations, {FEW}.",
            expected="channel: usual eur",
        ),
    ]


def test_activity_is_declared_with_its_window_and_merged_over_windows():
    past = "of the same card in the 1 day before."
    features = [
        ("transactions", f"Transactions {past}"),
        ("sum eur", f"Sum of eur {past}"),
        ("mean eur", f"Mean eur {past}"),
        ("std eur", f"Standard deviation of eur {past}"),
        ("max eur", f"Highest eur {past}"),
        ("different shop", "How many different shop the same card had in the 1 day before."),
    ]
    ratio = "The amount over the mean of the same card in the 1 day before."
    assert unmarked(declared("activity:card")) == [
        *(Feature(f"card: {what} in 1 day", "number", "log", f"card: {what}", text) for what, text in features),
        Feature("eur over the mean of card", "number", "log", "eur", ratio, expected="card: mean eur in 1 day"),
    ]


@pytest.mark.parametrize(("counts", "less", "fewer"), [("above", "; 0 for less than usual", "; 1 for fewer than usual"),
                                                       ("both", "", "")])  # fmt: skip
def test_what_goes_by_the_past_is_declared_with_what_it_compares_with(counts, less, fewer):
    families = ("change", "robust", "rank", "highest", "recent", "recency", "rhythm", "hours", "velocity", "risk")
    usual = "card: usual eur"
    change = f"the mean of the same card {PAST}, {FEW}"
    lines = [
        ("eur against card", "linear", "eur", f"The amount less {change}, in standard deviations{less}.", usual),
        ("eur against card (log)", "linear", "eur", f"The amount's logarithm less that of {change}{less}.", usual),
        (
            "eur against the median of card",
            "linear",
            "eur",
            f"The amount less the median {BEFORE}, over the distance of the quartiles / 1.349, {FEW}{less}.",
            "card: median eur",
        ),
        (
            "eur: rank for card",
            "linear",
            "eur",
            f"Share of lower amounts {BEFORE}, equal ones counted half, drawn towards a half where there are few.",
        ),
        (
            "eur above the highest of card",
            "linear",
            "eur",
            f"How far the amount lies above the highest {BEFORE}, in standard deviations; 0 below it.",
            usual,
        ),
        (
            "card: highest of 2 days above usual eur",
            "log",
            "card: recent eur",
            (
                "How far the highest amount of the same card in the 2 days before lies above its usual amount, in "
                "standard deviations; 0 where none does."
            ),
        ),
        (
            "card: days since the last",
            "log",
            "card: last seen",
            "Days since the last transaction of the same card; 5 where there was none since.",
        ),
        (
            "card: first in 5 days",
            "linear",
            "card: last seen",
            "1 for the first transaction of the same card in 5 days, else 0.",
        ),
    ]
    for item, what in (("night", "at night (22 to 6 h)"), ("weekend", "on weekends")):
        lines += [
            (
                f"card: share {what}",
                "linear",
                f"card: {item}",
                f"Share {what} of the transactions {BEFORE}, {FEW}.",
            ),
            (
                f"{item} against card",
                "linear",
                f"card: {item}",
                f"1 for a transaction {what}, else 0, less the share of such transactions {BEFORE}, {FEW}.",
            ),
        ]
    lines.append(
        (
            "hours from the usual of card",
            "linear",
            "card: hours",
            f"How many hours, 0 to 12, the time of day lies from the mean one {BEFORE}, {FEW}.",
        )
    )
    lines += [
        (
            f"card: pace of the last {span}",
            "log",
            "card: pace",
            (
                f"Transactions of the same card in the {span} before over those of {usual} {PAST}, one added to "
                f"both{fewer}."
            ),
        )
        for span, usual in (("10 minutes", "usual ones"), ("hour", "a usual hour"), ("day", "a usual day"))
    ]
    lines.append(
        (
            "card: eur of the last hour",
            "log",
            "card: eur of the last hour",
            (
                "Sum of the amounts of the same card in the hour before, over the standard deviation of its amounts "
                f"{PAST}, {FEW}; 0 for less than none."
            ),
        )
    )
    lines.append(
        (
            "card: risk over 1 day",
            "linear",
            "card: risk",
            f"Share of fraud among the rows of the same card whose label became known in the 1 day before, {FEW}.",
        )
    )
    features = declared(*(f"{family}:card" for family in families), change_counts=counts)
    units = {"recent eur": "spreads", "night": "share", "weekend": "share", "hours": "hours", "pace": "times"}
    units["eur of the last hour"] = "spreads"
    units = {f"card: {source}": unit for source, unit in {**units, "risk": "risk"}.items()}
    units |= {"card: days since the last": "days", "card: first in 5 days": "yes or no"}
    assert unmarked(features) == [
        Feature(
            *(name, "number", scale, source, text),
            expected=expected[0] if expected else None,
            unit=units.get(source, units.get(name, "")),
        )
        for name, scale, source, text, *expected in lines
    ]


def test_how_rare_a_value_is_for_its_party_is_declared_with_its_column_and_the_rows_that_had_it():
    described = (
        "The logarithm of one over the share that the row's {} has in the rows {}, drawn towards its share in "
        "everybody's where there are few; none is a value, too."
    )
    assert unmarked(declared("seen:card")) == [
        Feature(
            f"card: {other} rarity",
            "number",
            "linear",
            f"card: {other} rarity",
            described.format(other, BEFORE),
            expected=f"card: transactions with this {other}",
            unit="rarity",
            of=other,
        )
        for other in ("shop", "channel")
    ]
    assert [feature.of for feature in declared("seen:card+shop")] == ["channel"]


def test_ways_are_declared_for_every_two_places_and_coordinates_are_no_columns_beside_them():
    places = {"numeric": ("home_lat", "home_lon", "shop_lat", "shop_lon", "age")}
    families = ("columns", "distance", "travel:card")
    features = list_features(config(places, families=families, history_days=5))
    before = "the same card in the 5 days before"
    assert [(item.name, item.source, item.unit) for item in features] == [
        ("age", "age", ""),
        ("km from home to shop", "km from home to shop", "km"),
        ("card: km from the last home", "card: way from the last home", "km"),
        ("card: km/h from the last home", "card: way from the last home", "km/h"),
        ("card: km from the last shop", "card: way from the last shop", "km"),
        ("card: km/h from the last shop", "card: way from the last shop", "km/h"),
    ]
    assert [item.text for item in features[1:4]] == [
        "Kilometres from home to shop of the row.",
        f"Kilometres from the last known home of {before}.",
        f"Kilometres from the last known home of {before} over the hours since and a quarter of one.",
    ]
    assert {item.scale for item in features[1:]} == {"log"}
    assert {item.direction for item in features[1:]} == {"above"}
    alone = list_features(config(places, families=("columns",)))
    assert [feature.name for feature in alone] == list(places["numeric"])


@pytest.mark.parametrize(
    ("hours", "words"),
    [(0, "before,"), (1, "before, the last hour left out,"), (1.5, "before, the last 1.5 hours left out,")],
)
def test_what_is_left_out_of_the_own_past_is_said(hours, words):
    (feature, _) = declared("change:card", past_gap_hours=hours)
    assert f"in the 5 days {words} drawn towards" in feature.text
