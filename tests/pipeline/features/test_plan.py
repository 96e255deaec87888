"""What a configuration's features are made of."""

import pytest

from pipeline.features.plan import NOBODY, Feature, Party, Plan, known_aliases, party, unit
from pipeline.settings.config import Config
from pipeline.tables.period import DAY_US
from tests.pipeline.features.by_hand import config

CARD, PAIR = Party("card", (0,)), Party("card + shop", (0, 1))


def test_a_feature_reads_the_column_of_its_name_where_it_names_none():
    assert Feature("eur", "number", "linear", "eur", "The amount.").column == "eur"
    assert Feature("eur (log)", "number", "log", "eur", "Its logarithm.", column="eur").column == "eur"


def test_a_party_is_an_entity_or_a_pair_by_their_places():
    assert party(config(), "shop") == Party("shop", (1,))
    assert party(config(), "shop+card") == Party("shop + card", (1, 0))
    assert (CARD.keys, PAIR.keys) == (["e0"], ["e0", "e1"])


@pytest.mark.parametrize(
    ("largest", "expected"), [(5.0, 1e-6), (1e9, 1e-6), (1.5e9, 1e-5), (1e12, 1e-3), (1e15, 1.0), (1e18, 1.0)]
)
def test_amounts_up_to_a_billion_are_counted_in_millionths_and_none_in_more_than_one(largest, expected):
    validation = {"max_amount": largest}
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    assert unit(Config.model_validate({"contract": contract, "validation": validation})) == pytest.approx(expected)


def test_an_aggregate_has_a_name_of_its_party_window_and_entity():
    plan = Plan()
    assert plan.over(PAIR, "max", 5) == "e0_e1_max_5"
    assert plan.over(CARD, "distinct", 5, of=1) == "e0_distinct_5_of_1"
    assert plan.over(CARD, "known", 5, delay=3) == "e0_known_5_to_3"
    assert {alias: window.sql for alias, window in plan.aggregates.items()} == {
        "e0_e1_max_5": (
            "CASE WHEN e0 IS NOT NULL AND e1 IS NOT NULL THEN CAST(max(amount) OVER (PARTITION BY e0, e1 ORDER BY us "
            "RANGE BETWEEN 5 PRECEDING AND 1 PRECEDING) AS DOUBLE) END"
        ),
        "e0_distinct_5_of_1": (
            "CASE WHEN e0 IS NOT NULL THEN coalesce(CAST(count(DISTINCT e1) OVER (PARTITION BY e0 ORDER BY us "
            "RANGE BETWEEN 5 PRECEDING AND 1 PRECEDING) AS DOUBLE), 0) END"
        ),
        "e0_known_5_to_3": (
            "CASE WHEN e0 IS NOT NULL THEN coalesce(CAST(count(*) OVER (PARTITION BY e0 ORDER BY us "
            "RANGE BETWEEN 8 PRECEDING AND 4 PRECEDING) AS DOUBLE), 0) END"
        ),
    }


def test_an_aggregate_over_rows_with_the_same_value_counts_none_as_a_value_and_may_be_everybodys():
    plan = Plan()
    frame = "ORDER BY us RANGE BETWEEN 5 PRECEDING AND 1 PRECEDING) AS DOUBLE), 0)"
    own, every = plan.over(CARD, "count", 5, same="c0"), plan.over(NOBODY, "count", 5, same="c0")
    assert {alias: window.sql for alias, window in plan.aggregates.items()} == {
        own: f"CASE WHEN e0 IS NOT NULL THEN coalesce(CAST(count(*) OVER (PARTITION BY e0, c0 {frame} END",
        every: f"coalesce(CAST(count(*) OVER (PARTITION BY c0 {frame}",
    }


def test_a_risk_is_a_window_over_rows_where_all_labels_take_as_long_and_over_labels_where_not():
    plan = Plan()
    assert plan.risk(CARD, 2, 7) == (f"e0_known_{2 * DAY_US}_to_7", f"e0_frauds_{2 * DAY_US}_to_7")
    assert (plan.risks, len(plan.aggregates)) == ([], 2)
    assert plan.risk(PAIR, 2, None) == known_aliases(PAIR, 2) == ("e0_e1_known_2", "e0_e1_frauds_2")
    assert (plan.risks, len(plan.aggregates)) == ([(PAIR, 2)], 2)
