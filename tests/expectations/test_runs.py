"""Running rules on rows: positions, counts, and types on which Great Expectations would go wrong."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from expectations.runs import Engine, Outcome
from expectations.suites import Rule, SuiteError, list_rules


def rule(kind: str, **kwargs: Any) -> Rule:
    entries = [{"type": f"expect_{kind}", "kwargs": kwargs}]
    [found] = list_rules(entries, origin="own.json", columns=["a", "b"], zones={})
    return found


def positions(made: Rule, **columns: Any) -> list[int]:
    return Engine().rows([made], pa.table(columns))[made.name].positions.tolist()


def test_finite() -> None:
    found = positions(rule("column_values_to_be_finite", column="a"), a=[1.0, np.inf, None, -np.inf, np.nan])
    assert found == [1, 3]


def test_timestamps_far_from_today_are_compared() -> None:
    made = rule("column_values_to_be_between", column="a", min_value=datetime(2020, 1, 1, tzinfo=UTC))
    times = pa.array([datetime(2999, 1, 1), datetime(1, 1, 1), None, datetime(2020, 1, 1)], pa.timestamp("us"))
    assert positions(made, a=times) == [1]
    assert positions(made, a=pa.array([date(2019, 12, 31), date(2020, 1, 1)])) == [0]


def test_whole_numbers_with_gaps_stay_whole() -> None:
    big = 2**60
    made = rule("column_values_to_be_in_set", column="a", value_set=[big + 1])
    assert positions(made, a=pa.array([big, big + 1, None], pa.int64())) == [0]
    text = rule("column_values_to_match_regex", column="a", regex="^[0-9]$")
    assert positions(text, a=pa.array([5, None, 12], pa.int64())) == [2]
    pair = rule("column_pair_values_a_to_be_greater_than_b", column_A="a", column_B="b")
    assert positions(pair, a=pa.array([3, 1, 4]), b=pa.array([2, 2, None], pa.int64())) == [1, 2]


def test_what_cannot_be_computed_is_one_sentence() -> None:
    made = rule("column_values_to_be_between", column="a", min_value=3)
    rows = pa.table({"a": ["x4711"]})
    with pytest.raises(SuiteError, match=r"own.json, expectation 1 .* cannot be computed on this table"):
        Engine().rows([made], rows)
    with pytest.raises(SuiteError, match="would show a sensitive value") as caught:
        Engine(sensitive=["a"]).rows([made], rows)
    assert "4711" not in str(caught.value)


def test_plain_rules_and_others_of_one_run_are_all_answered() -> None:
    plain = rule("column_values_to_be_between", column="a", min_value=2)
    other = rule("column_pair_values_to_be_equal", column_A="a", column_B="b")
    results = Engine().rows([other, plain], pa.table({"a": [1, 2, 3], "b": [1, 0, 3]}))
    assert {name: result.positions.tolist() for name, result in results.items()} == {plain.name: [0], other.name: [1]}
    assert results[plain.name].values == [1]


def test_an_outcome_adds_up_parts_and_judges_mostly_over_them() -> None:
    outcome = Outcome("r", "expect_x", {}, "critical", ("a",), mostly=0.14)
    outcome.add(40, 20, 20, range(15))
    assert not outcome.success
    outcome.add(30, 0, 23, range(15))
    assert (outcome.rows, outcome.missing, outcome.broken, len(outcome.values)) == (70, 20, 43, 20)
    assert outcome.success  # 7 of 50 is exactly the share asked for
