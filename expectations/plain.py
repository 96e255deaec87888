"""Plain rules about rows, judged together on Arrow columns: the answers of Great Expectations, without its frames.

A plain rule asks of each cell whether it is there, in a range or a set, finite, of a length, like a pattern, or the
only one of its value. Each is a few operations on a whole column here, and a column is brought into the form that
they read once for all rules about it. What Great Expectations' pandas engine would say of a rule is the measure: where
the two could differ, as where a bound is beyond what float64 holds exactly, the rule is not taken.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from keyword import iskeyword
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.suites import Rule

_EXACT = 2**53  # float64 holds every whole number up to this
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SAMPLE, _REPEATS = 1000, 4  # text is looked at by value where in the first cells each comes so many times
_NO_TIME = np.iinfo(np.int64).min  # what pandas takes for a missing time
# Text that Great Expectations can write into a query of pandas and that comes out of it as it was.
_QUOTABLE = re.compile(r"[\w .,:;+*/=<>()-]*", re.ASCII)


class Breaches(NamedTuple):
    """Which rows broke a rule: their positions, in order, of how many rows, of which so many have no value."""

    positions: np.ndarray
    rows: int
    missing: int


@dataclass(frozen=True)
class Column:
    """A column in the form in which all rules about it read it.

    Attributes
    ----------
    kind : {"whole", "number", "moment", "text", "other"}
    values : numpy.ndarray or pyarrow.Array
        (n_rows,): int64, float64, int64 microseconds since 1970 in UTC, or text. Of another kind nobody reads them.
    is_missing : numpy.ndarray
        (n_rows,) bool: cells that pandas takes for missing; what ``values`` has there means nothing.
    """

    kind: Literal["whole", "number", "moment", "text", "other"]
    values: Any
    is_missing: np.ndarray

    @cached_property
    def repeated(self) -> pa.DictionaryArray | None:
        """Text that has few values, which come again and again, so that each is looked at once; None of other text."""
        sample = self.values[:_SAMPLE]
        is_repeated = len(sample) >= _REPEATS * pc.count_distinct(sample, mode="all").as_py()
        return self.values.dictionary_encode() if is_repeated else None


class Columns:
    """The columns of some rows, each brought into its form when a rule first reads it.

    Parameters
    ----------
    rows : pyarrow.RecordBatch or pyarrow.Table
    """

    def __init__(self, rows: pa.RecordBatch | pa.Table) -> None:
        self.rows = rows
        self._columns: dict[str, Column | None] = {}

    def get(self, name: str) -> Column | None:
        """Return a column, or None where it is of a type that no plain rule reads."""
        if name not in self._columns:
            self._columns[name] = _column(self.rows.column(name))
        return self._columns[name]


def judge(rule: Rule, columns: Columns) -> Breaches | None:
    """Return which rows break a rule, or None where only Great Expectations can say so.

    Parameters
    ----------
    rule : Rule
    columns : Columns
        Of the rows to judge; for rules across rows, of all of them.

    Examples
    --------
    >>> from expectations.suites import list_rules
    >>> entry = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "eur", "min_value": 0}}
    >>> [rule] = list_rules([entry], origin="suite.json", columns=["eur"], zones={})
    >>> breaches = judge(rule, Columns(pa.table({"eur": [1.0, None, -2.0]})))
    >>> breaches.positions.tolist(), breaches.rows, breaches.missing
    ([2], 3, 1)
    >>> judge(rule, Columns(pa.table({"eur": ["one"]}))) is None
    True
    """
    expectation, kind = rule.asks, rule.kind
    if kind not in _NULL_RULES and kind not in _VALUE_RULES:
        return None
    column, asked = columns.get(expectation.column), _asked(expectation.row_condition, columns)
    if column is None or asked is None:
        return None
    rows = int(np.count_nonzero(asked))
    if kind in _NULL_RULES:
        broken = asked & (column.is_missing == _NULL_RULES[kind])
        return Breaches(np.flatnonzero(broken), rows, 0)
    present = asked & ~column.is_missing
    holds = _VALUE_RULES[kind](expectation, column, present)
    if holds is None:
        return None
    return Breaches(np.flatnonzero(present & ~holds), rows, rows - int(np.count_nonzero(present)))


def _column(cells: pa.Array | pa.ChunkedArray) -> Column | None:
    if isinstance(cells, pa.ChunkedArray):
        is_long = pa.types.is_string(cells.type) and cells.num_chunks > 1  # together they may be too long for 32 bits
        cells = (cells.cast(pa.large_string()) if is_long else cells).combine_chunks()
    kind = cells.type
    if pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type) and not cells.dictionary.null_count:
        cells, kind = cells.dictionary_decode(), kind.value_type
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return Column("whole", _filled(cells.cast(pa.int64()), 0), _is_null(cells))
    if pa.types.is_floating(kind):
        values = cells.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return Column("number", values, np.isnan(values))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        moments = cells.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64())
        values = _filled(moments, _NO_TIME)
        return Column("moment", values, values == _NO_TIME)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return Column("text", cells, _is_null(cells))
    if pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        return Column("other", None, _is_null(cells))
    return None


def _filled(cells: pa.Array, value: int) -> np.ndarray:
    return (cells.fill_null(value) if cells.null_count else cells).to_numpy()


def _is_null(cells: pa.Array) -> np.ndarray:
    if not cells.null_count:
        return np.zeros(len(cells), dtype=bool)
    return _bools(cells.is_null())


def _bools(cells: pa.BooleanArray) -> np.ndarray:
    return np.asarray(cells.to_numpy(zero_copy_only=False), dtype=bool)


def _asked(condition: Any, columns: Columns) -> np.ndarray | None:
    """Return of which rows (n_rows,) a row condition holds, or None where only pandas' query can say so."""
    if condition is None:
        return np.ones(columns.rows.num_rows, dtype=bool)
    if parts := getattr(condition, "conditions", None):
        masks = []
        for part in parts:
            mask = _asked(part, columns)
            if mask is None:
                return None
            masks.append(mask)
        return (np.logical_and if condition.type == "and" else np.logical_or).reduce(masks)
    name = condition.column.name
    column = columns.get(name) if name.isidentifier() and not iskeyword(name) else None
    if column is None:
        return None
    if condition.type == "nullity":
        return column.is_missing == condition.is_null
    return _compared(column, condition.operator, condition.parameter)


def _compared(column: Column, operator: str, parameter: Any) -> np.ndarray | None:
    """Return which cells (n_rows,) compare so with a parameter; a missing one only differs from everything."""
    values = parameter if isinstance(parameter, list) else [parameter]
    is_text = column.kind == "text"
    if not values or column.kind not in ("whole", "number", "text"):
        return None
    if is_text and not all(isinstance(value, str) and _QUOTABLE.fullmatch(value) for value in values):
        return None
    if not is_text and any(value in (np.inf, -np.inf) for value in values):
        return None
    if operator in ("==", "!=", "IN", "NOT_IN"):
        is_among = _among(column, values, ~column.is_missing)
        if is_among is None:
            return None
        is_among = is_among & ~column.is_missing
        return is_among if operator in ("==", "IN") else ~is_among
    bound = None if is_text else _bound(column, parameter)
    if bound is None:
        return None
    return _COMPARISONS[operator](column.values, bound) & ~column.is_missing


def _bound(column: Column, value: Any) -> float | int | None:
    """Return a bound as a number to compare a column's values with, or None where the two are not comparable exactly.

    Below 2 ** 53 it makes no difference whether a whole number is compared as such, or as the float64 next to it.
    """
    if column.kind == "moment":
        is_moment = isinstance(value, datetime) and value.tzinfo is not None
        return (value - _EPOCH) // timedelta(microseconds=1) if is_moment else None
    if type(value) not in (int, float) or column.kind not in ("whole", "number"):
        return None
    if (column.kind == "whole") == (type(value) is int):
        is_exact = -(2**63) <= value < 2**63 if type(value) is int else not np.isnan(value)
    else:
        is_exact = abs(value) < _EXACT
    return value if is_exact else None


def _between(expectation: Any, column: Column, present: np.ndarray) -> np.ndarray | None:
    low, high = expectation.min_value, expectation.max_value
    if low is not None and high is not None and (type(low) is not type(high) or low > high):
        return None
    return _within(column, expectation)


def _within(column: Column, expectation: Any) -> np.ndarray | None:
    """Return which values (n_rows,) lie between an expectation's bounds, or None where they are not comparable."""
    sides = [
        (expectation.min_value, np.greater if expectation.strict_min else np.greater_equal),
        (expectation.max_value, np.less if expectation.strict_max else np.less_equal),
    ]
    holds = []
    for value, lies in sides:
        bound = None if value is None else _bound(column, value)
        if bound is not None:
            holds.append(lies(column.values, bound))
        elif value is not None:
            return None
    return np.logical_and.reduce(holds)


def _finite(expectation: Any, column: Column, present: np.ndarray) -> np.ndarray | None:
    if column.kind == "whole":
        return present
    return np.isfinite(column.values) if column.kind == "number" else None


def _in_set(expectation: Any, column: Column, present: np.ndarray) -> np.ndarray | None:
    return _among(column, expectation.value_set, present)


def _not_in_set(expectation: Any, column: Column, present: np.ndarray) -> np.ndarray | None:
    is_among = _among(column, expectation.value_set, present)
    return None if is_among is None else ~is_among


def _among(column: Column, values: Any, present: np.ndarray) -> np.ndarray | None:
    """Return which present cells (n_rows,) are one of some values of the column's own kind."""
    if not isinstance(values, list):
        return None
    if column.kind == "text":
        if not all(isinstance(value, str) and _is_unicode(value) for value in values):
            return None
        members = pa.array(values, column.values.type)
        return _of_texts(column, present, lambda texts: _bools(pc.is_in(texts, value_set=members)))
    if column.kind == "whole" and not all(type(value) is int for value in values):
        return None  # pandas then compares as float64 or as objects
    bounds = [_bound(column, value) for value in values]
    if column.kind == "other" or None in bounds:
        return None
    return np.isin(column.values, np.array(bounds, dtype=column.values.dtype))


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in text)  # half of a pair, as JSON may have it


def _only_one(expectation: Any, column: Column, present: np.ndarray) -> np.ndarray | None:
    if column.kind == "other":
        return None
    values = column.values
    if column.kind != "text":
        values = pa.array(values + 0.0 if column.kind == "number" else values)  # no -0.0 beside 0.0
    holds = np.zeros(len(present), dtype=bool)
    codes = values.filter(pa.array(present)).dictionary_encode().indices.to_numpy()
    holds[present] = np.bincount(codes)[codes] == 1
    return holds


def _of_texts(column: Column, present: np.ndarray, ask: Callable[[pa.Array], np.ndarray]) -> np.ndarray | None:
    """Return what is said of each present cell (n_rows,) as text; of the others it means nothing."""
    if column.kind not in ("text", "whole"):
        return None
    if column.kind == "text" and column.repeated is not None:
        texts, codes = column.repeated.dictionary, column.repeated.indices.fill_null(0).to_numpy()
        values = np.arange(len(texts))
        if not (present | column.is_missing).all():
            values = np.flatnonzero(np.bincount(codes[present], minlength=len(texts)))
        some = ask(texts.take(pa.array(values)))
        answers = np.zeros(max(1, len(texts)), dtype=some.dtype)
        answers[values] = some
        return answers[codes]
    texts = column.values if column.kind == "text" else pa.array(column.values).cast(pa.string())
    if present.all():
        return ask(texts)
    some = ask(texts.filter(pa.array(present)))
    answers = np.zeros(len(present), dtype=some.dtype)
    answers[present] = some
    return answers


def _long(expectation: Any, column: Column, present: np.ndarray) -> np.ndarray | None:
    lengths = _of_texts(column, present, lambda texts: pc.utf8_length(texts).to_numpy())
    if lengths is None:
        return None
    if expectation.expectation_type == "expect_column_value_lengths_to_equal":
        return lengths == expectation.value
    return _within(Column("whole", lengths, column.is_missing), expectation)


def _like_patterns(expectation: Any, column: Column, present: np.ndarray) -> np.ndarray | None:
    is_list = expectation.expectation_type.endswith("_list")
    patterns = expectation.regex_list if is_list else [expectation.regex]
    if not isinstance(patterns, list) or not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        return None
    combine = np.all if getattr(expectation, "match_on", "any") == "all" else np.any

    def ask(texts: pa.Array) -> np.ndarray:
        return combine([_contain(texts, pattern) for pattern in patterns], axis=0)

    try:
        return _of_texts(column, present, ask)
    except (re.error, pa.ArrowInvalid):  # Great Expectations says what is wrong with the pattern
        return None


def _unlike_patterns(expectation: Any, column: Column, present: np.ndarray) -> np.ndarray | None:
    is_like = _like_patterns(expectation, column, present)
    return None if is_like is None else ~is_like


def _contain(texts: pa.Array, pattern: str) -> np.ndarray:
    """Return in which texts a pattern is found, by pandas, which knows where Arrow's patterns are not Python's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This pattern is interpreted as a regular expression", UserWarning)
        return texts.to_pandas().str.contains(pattern).to_numpy()


_NULL_RULES = {"expect_column_values_to_be_null": False, "expect_column_values_to_not_be_null": True}
"""The rules about missing cells, and whether a cell that is missing breaks them."""
_VALUE_RULES: dict[str, Callable[[Any, Column, np.ndarray], np.ndarray | None]] = {
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_finite": _finite,
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_values_to_not_be_in_set": _not_in_set,
    "expect_column_values_to_be_unique": _only_one,
    "expect_column_value_lengths_to_be_between": _long,
    "expect_column_value_lengths_to_equal": _long,
    "expect_column_values_to_match_regex": _like_patterns,
    "expect_column_values_to_match_regex_list": _like_patterns,
    "expect_column_values_to_not_match_regex": _unlike_patterns,
    "expect_column_values_to_not_match_regex_list": _unlike_patterns,
}
"""The others, each with what says for which of the present cells it holds, or None."""
_COMPARISONS = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
