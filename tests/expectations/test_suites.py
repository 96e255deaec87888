"""Suites: the contract's, a table's own file, and which expectation can be judged on what."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from expectations.suites import ACROSS_ROWS, REFUSED, SuiteError, contract_suite, list_rules, read_suite

COLUMNS = ["tx", "at", "eur", "card"]


def entry(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs}


def rules(*entries: dict[str, Any], zone: str = "UTC", **more: Any) -> list[Any]:
    return list_rules(entries, origin="own.json", columns=COLUMNS, zones={"at": zone}, **more)


def suite(**more: Any) -> list[dict[str, Any]]:
    return contract_suite(
        id="tx",
        timestamp="at",
        amount="eur",
        entities=["card"],
        earliest=datetime(2000, 1, 1, tzinfo=UTC),
        latest=datetime(2030, 1, 1, tzinfo=UTC),
        max_amount=1e9,
        **more,
    )


def test_the_contracts_suite_names_every_rule_once() -> None:
    names = [rule.name for rule in rules(*suite())]
    assert len(set(names)) == len(names)
    assert "eur: not negative" in names
    assert "eur: not negative" not in [rule.name for rule in rules(*suite(negative_amounts=True))]
    # What a table lacks since it comes late is left out, and what it may not lack is an error.
    with_label = suite(label="fraud")
    assert [rule.name for rule in rules(*with_label, optional=["fraud"])] == names
    with pytest.raises(SuiteError, match="the table has no column 'fraud'"):
        rules(*with_label)


def test_stated_rules_ask_what_great_expectations_would_be_asked() -> None:
    entries = suite(label="fraud", numeric=["score"])
    how = {"origin": "the contract", "columns": [*COLUMNS, "score", "fraud"], "zones": {"at": "Asia/Tokyo"}}
    for stated, built in zip(list_rules(entries, **how, are_stated=True), list_rules(entries, **how), strict=True):
        assert stated.asks is not built.asks
        for rule in (stated, built):
            assert rule.kwargs == rule.expectation.configuration.kwargs
        for name in ("name", "kind", "kwargs", "severity", "mostly", "scope", "columns", "where", "title"):
            assert getattr(stated, name) == getattr(built, name)
        assert [type(value) for value in stated.kwargs.values()] == [type(value) for value in built.kwargs.values()]
        assert stated.expectation.meta == built.expectation.meta == {"rule": stated.name}


def test_every_expectation_about_rows_has_a_scope_that_was_thought_about() -> None:
    """A new version of Great Expectations with a new expectation must not be judged per batch unseen."""
    from great_expectations.expectations import core
    from great_expectations.expectations.expectation import (
        ColumnMapExpectation,
        ColumnPairMapExpectation,
        MulticolumnMapExpectation,
    )

    bases = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)
    found = {
        value.expectation_type
        for value in vars(core).values()
        if isinstance(value, type) and issubclass(value, bases) and value.expectation_type
    }
    row_by_row = {
        "expect_column_pair_values_a_to_be_greater_than_b",
        "expect_column_pair_values_to_be_equal",
        "expect_column_pair_values_to_be_in_set",
        "expect_column_value_lengths_to_be_between",
        "expect_column_value_lengths_to_equal",
        "expect_column_values_to_be_between",
        "expect_column_values_to_be_dateutil_parseable",
        "expect_column_values_to_be_in_set",
        "expect_column_values_to_be_json_parseable",
        "expect_column_values_to_be_null",
        "expect_column_values_to_match_json_schema",
        "expect_column_values_to_match_like_pattern",
        "expect_column_values_to_match_like_pattern_list",
        "expect_column_values_to_match_regex",
        "expect_column_values_to_match_regex_list",
        "expect_column_values_to_match_strftime_format",
        "expect_column_values_to_not_be_in_set",
        "expect_column_values_to_not_be_null",
        "expect_column_values_to_not_match_like_pattern",
        "expect_column_values_to_not_match_like_pattern_list",
        "expect_column_values_to_not_match_regex",
        "expect_column_values_to_not_match_regex_list",
        "expect_multicolumn_sum_to_equal",
        "expect_multicolumn_values_to_be_equal",
        "expect_select_column_values_to_be_unique_within_record",
    }
    assert found <= row_by_row | ACROSS_ROWS | set(REFUSED)


@pytest.mark.parametrize(
    ("found", "scope", "name", "columns"),
    [
        (entry("column_values_to_not_be_null", column="eur"), "row", "eur: not be null", ("eur",)),
        (entry("column_values_to_be_unique", column="card"), "across rows", "card: be unique", ("card",)),
        (entry("column_mean_to_be_between", column="eur", max_value=1), "table", "eur: mean to be between", ("eur",)),
        (entry("table_row_count_to_equal", value=3), "table", "table: row count to equal", ()),
        (entry("column_to_exist", column="eur"), "table", "table: to exist", ()),
    ],
)
def test_scope_name_and_columns(found: dict[str, Any], scope: str, name: str, columns: tuple[str, ...]) -> None:
    [rule] = rules(found)
    assert (rule.scope, rule.name, rule.columns) == (scope, name, columns)


def test_names_stay_apart() -> None:
    twice = entry("column_values_to_not_be_null", column="eur")
    named = {**twice, "meta": {"rule": "mine"}, "severity": "warning"}
    found = rules(twice, twice, named, names=["mine"])
    assert [rule.name for rule in found] == ["eur: not be null", "eur: not be null (2)", "mine (2)"]
    assert found[2].title == "mine (2) (warning)"


def test_a_row_condition_adds_the_columns_it_reads() -> None:
    parts = [
        {"type": "comparison", "column": {"name": "at"}, "operator": ">=", "parameter": "2025-01-01"},
        {"type": "nullity", "column": {"name": "card"}, "is_null": False},
    ]
    found = entry(
        "column_values_to_be_between", column="eur", max_value=1, row_condition={"type": "and", "conditions": parts}
    )
    [rule] = rules(found, zone="Asia/Tokyo")
    assert sorted(rule.columns) == ["at", "card", "eur"]
    assert rule.name == "eur: be between"
    assert rule.expectation.row_condition.conditions[0].parameter == "2024-12-31T15:00:00+00:00"


def test_dates_in_text_become_times_in_utc() -> None:
    found = entry("column_values_to_be_between", column="at", min_value="2025-07-01", max_value="2025-07-02T00:00:00Z")
    [rule] = rules(found, zone="Europe/Berlin")
    assert rule.expectation.min_value == datetime(2025, 6, 30, 22, tzinfo=UTC)
    assert rule.expectation.max_value == datetime(2025, 7, 2, tzinfo=UTC)
    # Bounds of a count are no dates.
    [count] = rules(entry("column_unique_value_count_to_be_between", column="at", min_value=3))
    assert count.expectation.min_value == 3


@pytest.mark.parametrize(
    ("found", "match"),
    [
        ("text", 'has no "type"'),
        ({"type": "expect_nothing_at_all"}, "there is no such expectation"),
        ({**entry("table_row_count_to_equal", value=1), "kwarg": 1}, "unknown key 'kwarg'; did you mean 'kwargs'"),
        ({**entry("table_row_count_to_equal", value=1), "severity": "bad"}, "severity: .*'critical', 'warning'"),
        ({**entry("table_row_count_to_equal", value=1), "meta": {"rule": 1}}, "give the rule a name"),
        (entry("column_values_to_not_be_null"), "column: field required"),
        (entry("column_values_to_be_between", column="eur"), "cannot both be None"),
        (entry("column_values_to_be_between", column="eur", min_value={"$PARAMETER": "x"}), "is a parameter"),
        (entry("column_values_to_be_unique", column="eur", mostly=2), "mostly: ensure this value"),
        (
            entry("column_values_to_be_unique", column="eur", row_condition="eur > 1", condition_parser="pandas"),
            "is code",
        ),
        (entry("table_row_count_to_equal_other_table", other_table_name="t"), "asks a database"),
    ],
)  # fmt: skip
def test_wrong_entries(found: Any, match: str) -> None:
    with pytest.raises(SuiteError, match=match) as caught:
        rules(found)
    assert str(caught.value).startswith("own.json, expectation 1")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"name": "x", }', "is not valid JSON: .*line 1"),
        ("[]", "holds no suite"),
        (
            '{"name": "x", "expectations": [], "expectation": []}',
            "unknown key 'expectation'; did you mean 'expectations'",
        ),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(text)
    with pytest.raises(SuiteError, match=match):
        read_suite(path)
    with pytest.raises(SuiteError, match="cannot be read"):
        read_suite(tmp_path / "none.json")


def test_the_shipped_example_is_sound() -> None:
    path = Path(__file__).parents[2] / "expectations" / "demo.json"
    columns = ["CHANNEL", "COUNTRY", "TX_AMOUNT", "TX_DATETIME"]
    entries = read_suite(path)
    found = list_rules(entries, origin="demo.json", columns=columns, zones={"TX_DATETIME": "UTC"})
    assert [rule.name for rule in found] == [
        entry["meta"]["rule"] for entry in json.loads(path.read_text())["expectations"]
    ]
    assert {rule.scope for rule in found} == {"row", "table"}
