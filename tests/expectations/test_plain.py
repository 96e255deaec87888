"""Plain rules: what each says by hand, and that Great Expectations says the same of any column."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expectations.frames import to_frame
from expectations.plain import Breaches, Columns, judge
from expectations.runs import Engine
from expectations.suites import Rule, SuiteError, list_rules

BIG = 2**53
NOON = datetime(2025, 3, 10, 12, tzinfo=UTC)


def rules(table: pa.Table, *entries: dict[str, Any]) -> list[Rule]:
    zones = {field.name: "UTC" for field in table.schema if pa.types.is_temporal(field.type)}
    return list_rules(entries, origin="own.json", columns=table.column_names, zones=zones)


def entry(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_column_{kind}", "kwargs": {"column": "a", **kwargs}}


def judged(found: dict[str, Any], cells: Any, **others: Any) -> Breaches | None:
    table = pa.table({"a": cells, **others})
    [rule] = rules(table, found)
    return judge(rule, Columns(table))


def comparison(operator: str, parameter: Any, column: str = "b") -> dict[str, Any]:
    return {"type": "comparison", "column": {"name": column}, "operator": operator, "parameter": parameter}


# One row that passes and one that fails at least, and what of it is counted.
@pytest.mark.parametrize(
    ("found", "cells", "broken", "missing"),
    [
        (entry("values_to_not_be_null"), [1.0, None, float("nan")], [1, 2], 0),
        (entry("values_to_be_null"), ["x", None], [0], 0),
        (entry("values_to_be_null"), [True, None], [0], 0),
        (entry("values_to_not_be_null"), [Decimal("1.50"), None], [1], 0),
        (entry("values_to_be_between", min_value=1, max_value=3), [0, 1, 3, 4, None], [0, 3], 1),
        (entry("values_to_be_between", min_value=1, strict_min=True), [1.0, 1.5, None], [0], 1),
        (entry("values_to_be_between", max_value="2025-03-10"), [NOON, NOON - timedelta(days=1), None], [0], 1),
        (entry("values_to_be_between", max_value="2025-03-10"), [date(2025, 3, 11), date(2025, 3, 10)], [0], 0),
        (entry("values_to_be_finite"), [1.0, float("inf"), None], [1], 1),
        (entry("values_to_be_finite"), [1, None], [], 1),
        (entry("values_to_be_in_set", value_set=[1, 2]), [2, 3, None], [1], 1),
        (entry("values_to_be_in_set", value_set=[0.5, 0]), [0.5, -0.0, 1.0], [2], 0),
        (entry("values_to_be_in_set", value_set=["2025-03-10"]), [NOON, NOON - timedelta(hours=12)], [0], 0),
        (entry("values_to_not_be_in_set", value_set=["web", ""]), ["web", "", "pos", None], [0, 1], 1),
        (entry("values_to_be_unique"), ["x", "y", "x", None, None], [0, 2], 2),
        (entry("values_to_be_unique"), [0.0, -0.0, 1.0], [0, 1], 0),
        (entry("values_to_match_regex", regex="^[A-Z]{2}$"), ["DE", "de", None], [1], 1),
        (entry("values_to_match_regex", regex="^[0-9]$"), [5, 12], [1], 0),
        (entry("values_to_not_match_regex", regex="test"), ["a test", "b"], [0], 0),
        (entry("values_to_match_regex_list", regex_list=["^a", "b$"]), ["ax", "xb", "x"], [2], 0),
        (entry("values_to_match_regex_list", regex_list=["^a", "b$"], match_on="all"), ["ax", "ab"], [0], 0),
        (entry("values_to_not_match_regex_list", regex_list=["^a", "b$"]), ["ax", "x"], [0], 0),
        (entry("value_lengths_to_equal", value=2), ["ü!", "abc", ""], [1, 2], 0),
        (entry("value_lengths_to_be_between", min_value=1, max_value=2), ["", "a", "abc"], [0, 2], 0),
    ],
)  # fmt: skip
def test_each_kind_of_plain_rule(found: dict[str, Any], cells: list[Any], broken: list[int], missing: int) -> None:
    breaches = judged(found, cells)
    assert breaches is not None
    assert (breaches.positions.tolist(), breaches.rows, breaches.missing) == (broken, len(cells), missing)


@pytest.mark.parametrize(
    ("condition", "asked"),
    [
        (comparison("==", "web"), [0, 3]),
        (comparison("!=", "web"), [1, 2]),
        (comparison("IN", ["web", "pos"]), [0, 1, 3]),
        (comparison("NOT_IN", ["web", "pos"]), [2]),
        ({"type": "nullity", "column": {"name": "b"}, "is_null": True}, [2]),
        ({"type": "nullity", "column": {"name": "b"}, "is_null": False}, [0, 1, 3]),
        (comparison(">=", 3, "a"), [2, 3]),
        (comparison("!=", 3, "a"), [0, 1, 3]),
        ({"type": "and", "conditions": [comparison("==", "web"), comparison("<", 4, "a")]}, [0]),
        ({"type": "or", "conditions": [comparison("==", "pos"), comparison(">", 3, "a")]}, [1, 3]),
    ],
)
def test_a_condition_picks_the_rows_that_a_rule_is_about(condition: dict[str, Any], asked: list[int]) -> None:
    found = entry("values_to_be_between", max_value=0, row_condition=condition)
    breaches = judged(found, [1, 2, 3, 4], b=["web", "pos", None, "web"])
    assert breaches is not None
    assert (breaches.positions.tolist(), breaches.rows, breaches.missing) == (asked, len(asked), 0)


@pytest.mark.parametrize(
    ("found", "cells"),
    [
        (entry("values_to_be_between", min_value=BIG), [BIG, BIG + 1]),
        (entry("values_to_be_between", min_value=1), ["x"]),
        (entry("values_to_be_between", min_value=2, max_value=1), [1]),
        (entry("values_to_be_between", min_value=1), pa.array([1, None], pa.uint64())),
        (entry("values_to_be_between", min_value=1), [Decimal("1.50")]),
        (entry("values_to_be_in_set", value_set=[1.0]), [1]),
        (entry("values_to_be_in_set", value_set=[True]), [1]),
        (entry("values_to_be_in_set", value_set=[BIG + 1]), [1.0]),
        (entry("values_to_be_in_set", value_set=["\ud800"]), ["x"]),
        (entry("values_to_match_regex", regex="1"), [1.0]),
        (entry("values_to_match_regex", regex="["), ["x"]),
        (entry("values_to_be_dateutil_parseable"), ["x"]),
        (entry("values_to_not_be_null"), [b"x"]),
        (entry("values_to_not_be_null", row_condition=comparison("==", "`", "a")), ["x"]),
        (entry("values_to_not_be_null", row_condition=comparison("<", "x", "a")), ["x"]),
        (entry("values_to_not_be_null", row_condition=comparison("==", "2025-03-10", "a")), [NOON]),
    ],
)
def test_what_is_not_exactly_the_same_is_left_to_great_expectations(found: dict[str, Any], cells: Any) -> None:
    assert judged(found, cells) is None


NUMBERS = st.sampled_from([BIG - 1, BIG, BIG + 1, -BIG - 1, 2**60 + 1, 2**63 - 1, -(2**63)]) | st.integers(-3, 9)
REALS = st.sampled_from([0.0, -0.0, 1.0, 0.5, -2.5, 1e300, 5e-324, float(BIG), float("inf"), -float("inf")])
WORDS = st.sampled_from(["", "a", "A1", "web", "12", "é", "ß٣", "a\n", "\n", " x ", "\x0b", "DE", "DE\n", "😀"])
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
MOMENTS = st.sampled_from([NOON, NOON + timedelta(microseconds=1), NOON + timedelta(days=1), FIRST, LAST])
TIMES = [
    pa.timestamp("us"),
    pa.timestamp("us", "UTC"),
    pa.timestamp("ms", "Asia/Tokyo"),
    pa.timestamp("s"),
    pa.date32(),
]
TEXTS = [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
PATTERNS = st.sampled_from(
    ["^[A-Z]{2}$", "a", "[0-9]", r"\d", r"\w$", r"\s", "^$", "é", "(?i)WEB", "^(?!a)", r"\Z", "."]
)
OF_EVERY_TYPE = [
    (st.booleans(), [pa.bool_()]),
    (st.sampled_from([Decimal("1.50"), Decimal("0.00")]), [pa.decimal128(10, 2)]),
    (st.none(), [pa.null(), pa.float64(), pa.string(), pa.int64()]),
    (st.binary(max_size=2), [pa.binary()]),
]
COLUMNS: list[tuple[st.SearchStrategy[Any], list[pa.DataType]]] = [
    (NUMBERS, [pa.int64()]),
    (st.integers(0, 12), [pa.int8(), pa.uint8(), pa.int32(), pa.uint32(), pa.uint64()]),
    (REALS | st.just(float("nan")), [pa.float64(), pa.float32()]),
    (WORDS, TEXTS),
    (MOMENTS, TIMES),
]
"""Cells, now and then missing, and the types that a column of them has."""


@st.composite
def columns(draw: st.DrawFn, rows: int) -> pa.Array:
    values, types = draw(st.sampled_from([*COLUMNS * 3, *OF_EVERY_TYPE]))
    cells = draw(st.lists(st.none() | values | values, min_size=rows, max_size=rows))
    kind = draw(st.sampled_from(types))
    if pa.types.is_dictionary(kind):
        return pa.array(cells, pa.string()).dictionary_encode()
    if pa.types.is_timestamp(kind) and kind.tz is None:
        cells = [cell and cell.replace(tzinfo=None) for cell in cells]
    return pa.array(cells, kind, from_pandas=False)


@st.composite
def conditions(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> dict[str, Any]:
    operator = draw(st.sampled_from(["null", "==", "!=", "<", "<=", ">", ">=", "IN", "NOT_IN"]))
    if operator == "null":
        return {"type": "nullity", "column": {"name": "b"}, "is_null": draw(st.booleans())}
    parameter = st.lists(values, min_size=1, max_size=3) if operator.endswith("IN") else values
    return comparison(operator, draw(parameter))


def like(column: pa.Array) -> st.SearchStrategy[Any]:
    """Bounds and members that have something to do with a column."""
    if pa.types.is_temporal(column.type):
        return MOMENTS.map(datetime.isoformat)
    return WORDS if column.type in TEXTS else NUMBERS | REALS


@st.composite
def entries(draw: st.DrawFn, table: pa.Table) -> dict[str, Any]:
    values, strict, length = like(table.column("a")), st.booleans(), st.integers(0, 3)
    members, patterns = st.lists(values, max_size=4), st.lists(PATTERNS, min_size=1, max_size=2)
    for_all = [
        ("values_to_be_null", {}),
        ("values_to_not_be_null", {}),
        ("values_to_be_unique", {}),
        ("values_to_be_in_set", {"value_set": members}),
        ("values_to_not_be_in_set", {"value_set": members}),
    ]
    for_numbers = [
        ("values_to_be_finite", {}),
        ("values_to_be_between", {"min_value": values, "strict_min": strict}),
        ("values_to_be_between", {"max_value": values, "strict_max": strict}),
        ("values_to_be_between", {"min_value": values, "max_value": values}),
    ]
    for_texts = [
        ("values_to_match_regex", {"regex": PATTERNS}),
        ("values_to_not_match_regex", {"regex": PATTERNS}),
        ("values_to_match_regex_list", {"regex_list": patterns, "match_on": st.sampled_from(["any", "all"])}),
        ("values_to_not_match_regex_list", {"regex_list": patterns}),
        ("value_lengths_to_equal", {"value": length}),
        ("value_lengths_to_be_between", {"min_value": length, "strict_min": strict}),
        ("value_lengths_to_be_between", {"min_value": length, "max_value": length, "strict_max": strict}),
    ]
    is_text, is_any = table.schema.field("a").type in TEXTS, draw(st.integers(0, 9)) == 0
    kinds = [*for_all, *(for_texts if is_text or is_any else []), *([] if is_text and not is_any else for_numbers)]
    kind, arguments = draw(st.sampled_from(kinds))
    kwargs = {name: draw(value) for name, value in arguments.items()}
    if draw(st.booleans()):
        kwargs["mostly"] = 0.5
    if draw(st.booleans()):
        kwargs["row_condition"] = draw(conditions(like(table.column("b"))))
    return entry(kind, **kwargs)


@st.composite
def tables_with_rules(draw: st.DrawFn) -> tuple[pa.Table, list[Rule]]:
    rows = draw(st.integers(0, 9))
    table = pa.table({"a": draw(columns(rows)), "b": draw(columns(rows))})
    found: list[dict[str, Any]] = []
    for made in draw(st.lists(entries(table), min_size=4, max_size=8)):
        try:
            rules(table, made)
        except SuiteError:  # wrong whatever the rows, such as a bound that is no time
            continue
        found.append(made)
    table = pa.concat_tables([table] * draw(st.sampled_from([1, 1, 3, 8]))).combine_chunks()
    return table, rules(table, *found)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@settings(max_examples=100)
@given(made=tables_with_rules())
def test_great_expectations_says_the_same_of_every_rule_that_is_taken(
    engine: Engine, made: tuple[pa.Table, list[Rule]]
) -> None:
    table, found = made
    plain = [rule for rule in found if judge(rule, Columns(table)) is not None]
    ours, theirs = engine.rows(plain, table), engine.frame(plain, to_frame(table))
    for rule in plain:
        left, right = ours[rule.name], theirs[rule.name]
        assert left.positions.tolist() == right.positions.tolist(), rule
        assert (left.rows, left.missing) == (right.rows, right.missing), rule
        # Types too, and what is missing is equal to nothing.
        assert list(map(repr, left.values)) == list(map(repr, right.values)), rule
