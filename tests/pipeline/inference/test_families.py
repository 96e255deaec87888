"""Which families suit a table."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.features import list_features
from pipeline.inference.families import every_family, likeness, regularity, suggest_families
from pipeline.settings.contract import Contract
from tests.pipeline.features.by_hand import START, config


def habits(between, within, *, rows=6000, seed=0, hours=None):
    """Amounts whose logarithms have this standard deviation between shops and this one within.

    Hours scatter by this many around those of the shop, or lie anywhere.
    """
    random = np.random.default_rng(seed)
    shops = random.integers(0, 200, rows)
    logs = 5 + random.normal(0, between, 200)[shops] + random.normal(0, within, rows)
    own = random.uniform(0, 24, 200)[shops]
    at = random.uniform(0, 24, rows) if hours is None else own + random.normal(0, hours, rows)
    moments = pa.array((at * 3.6e9).astype(np.int64) + 10**15, pa.timestamp("us"))
    return pa.table({"card": random.integers(0, 900, rows), "shop": shops, "eur": np.expm1(logs), "at": moments})


@pytest.mark.parametrize(("between", "within"), [(0.5, 0.5), (0.3, 0.6), (0.0, 0.5)])
def test_likeness_is_the_share_of_variance_between_entities(between, within):
    found = likeness(habits(between, within), "shop", "eur")
    assert found == pytest.approx(between**2 / (between**2 + within**2), abs=0.06)


def test_likeness_is_zero_where_nothing_repeats_or_varies():
    assert likeness(pa.table({"card": [1, 2, 3], "eur": [1.0, 2.0, 3.0]}), "card", "eur") == 0
    assert likeness(pa.table({"card": [1, 1, 2, 2], "eur": [5.0] * 4}), "card", "eur") == 0
    assert likeness(pa.table({"card": pa.array([], pa.int64()), "eur": pa.array([], pa.float64())}), "card", "eur") == 0


@pytest.mark.parametrize(
    ("entities", "label", "families"),
    [
        (("card", "shop"), "fraud", ("amount", "change:shop", "recent:shop", "risk:shop")),
        (("shop", "card"), "fraud", ("amount", "change:shop", "recent:shop", "risk:card")),
        (("shop",), "fraud", ("amount", "change:shop", "recent:shop", "risk:shop")),
        (("card",), None, ("amount", "change:card", "recent:card")),
        ((), "fraud", ("amount", "calendar")),
    ],
)
def test_families_are_suggested_from_how_alike_the_amounts_of_an_entity_are(entities, label, families):
    contract = Contract(id="tx", timestamp="at", amount="eur", entities=entities, label=label)
    found, reason = suggest_families(habits(0.5, 0.5), contract)
    assert found == families
    assert reason
    config({"entities": entities, "label": label}, families=found)


@pytest.mark.parametrize("scatter", [1.0, 4.0, 5.0])
def test_settled_is_the_squared_length_of_the_mean_hand_of_the_clock(scatter):
    # Of a normal distribution wrapped around a clock: exp(-variance of the angle).
    found = regularity(habits(0.5, 0.5, rows=20_000, hours=scatter), "shop", "at")
    assert found == pytest.approx(np.exp(-((2 * np.pi * scatter / 24) ** 2)), abs=0.03)


def test_settled_is_zero_at_any_hour_and_where_nothing_repeats():
    assert regularity(habits(0.5, 0.5, rows=20_000), "shop", "at") == pytest.approx(0, abs=0.03)
    assert regularity(habits(0.5, 0.5, rows=20_000, hours=1.0), "card", "at") == pytest.approx(0, abs=0.03)
    assert regularity(pa.table({"card": [1, 2], "at": pa.array([START] * 2)}), "card", "at") == 0


def test_the_hour_is_suggested_for_the_entity_that_keeps_its_hours():
    contract = Contract(id="tx", timestamp="at", amount="eur", entities=("card", "shop"))
    found, reason = suggest_families(habits(0.5, 0.5, hours=2.0), contract)
    assert found == ("amount", "change:shop", "recent:shop", "hours:shop")
    assert "shop settles 7" in reason


@pytest.mark.parametrize("offsets", [(0, 0), (1, 2)])
def test_days_without_a_time_have_no_hours(offsets):
    rows = habits(1, 1, hours=1)
    assert (
        "hours:shop"
        in suggest_families(rows, Contract(id="tx", timestamp="at", amount="eur", entities=("card", "shop")))[0]
    )
    days = rows["at"].to_numpy().astype("datetime64[D]").astype("datetime64[us]")  # midnights of summer and of winter
    moments = days - np.where(np.arange(len(days)) % 2, *(np.timedelta64(hours, "h") for hours in offsets))
    rows = rows.set_column(rows.column_names.index("at"), "at", pa.array(moments))
    assert not [
        family
        for family in suggest_families(
            rows, Contract(id="tx", timestamp="at", amount="eur", entities=("card", "shop"))
        )[0]
        if family.startswith("hours")
    ]


def test_distances_are_suggested_between_two_places():
    one = Contract(id="tx", timestamp="at", amount="eur", numeric=("lat", "long"))
    two = Contract(id="tx", timestamp="at", amount="eur", numeric=("lat", "long", "shop_lat", "shop_long"))
    assert suggest_families(habits(1, 1), one)[0] == ("amount", "calendar", "columns")
    assert suggest_families(habits(1, 1), two)[0] == ("amount", "calendar", "columns", "distance")


@pytest.mark.parametrize(
    ("roles", "more"),
    [
        ({}, set()),
        ({"categorical": ("channel",)}, {"columns", "peers", "seen"}),
        ({"numeric": ("lat", "lon"), "label": "fraud"}, {"columns", "travel", "risk"}),
        ({"entities": ("card", "shop"), "numeric": ("lat", "lon", "b_lat", "b_lon")},
         {"columns", "distance", "travel", "seen"}),
    ],
)  # fmt: skip
def test_every_family_is_one_that_the_contract_has_columns_for(roles, more):
    roles = {"id": "tx", "timestamp": "at", "amount": "eur", "entities": ("card",), "label": None, **roles}
    found = every_family(habits(1, 1), Contract(**roles))
    of_any = {"amount", "calendar", "change", "recent", "highest", "recency", "rhythm", "hours", "velocity"}
    assert set(found) == of_any | more
    features = list_features(config(roles, families=found))
    # Coordinates are no columns of their own where ways are looked at.
    assert {feature.family for feature in features} >= set(found) - {"columns"}
