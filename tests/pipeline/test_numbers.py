"""pipeline/numbers.py, beside the examples in its docstrings."""

import ast
import math
import sys
from pathlib import Path

import pytest

from pipeline import numbers
from pipeline.numbers import amount, interval, metric, minute, narrow_number, per_day, quantity, short_number


@pytest.mark.parametrize("size", [0.123, 0.5, 1.0, 12.345, 99.94, 100.2, 12_345.6, 987_654_321.0])
def test_a_quantity_keeps_three_digits_and_all_before_the_point(size):
    for value in (size, -size):
        assert float(quantity(value).replace(",", "")) == pytest.approx(value, rel=0.005)
    assert quantity(-size) == f"-{quantity(size)}"


def test_amounts_are_whole_cents_without_a_minus_before_zero():
    assert [amount(value) for value in (-0.004, -0.005001, 1e-9)] == ["0.00", "-0.01", "0.00"]
    assert [amount(value) for value in (math.nan, math.inf, None)] == ["no amount"] * 3


def test_alerts_a_day_are_never_written_as_a_power_of_ten():
    assert [per_day(value) for value in (999.4, 999.6, 1000)] == [
        "999 alerts a day",
        "1,000 alerts a day",
        "1,000 alerts a day",
    ]


def test_what_is_not_defined_says_so_with_or_without_a_sign():
    assert metric(math.nan) == metric(math.nan, 1, sign=True) == "not defined"
    assert metric(-0.0314, sign=True) == "-0.031"


class Span:
    low, high = math.nan, 0.5


def test_an_interval_without_an_end_is_nothing():
    assert interval(Span()) == ""


def test_narrow_and_short_numbers_keep_their_sign():
    assert [narrow_number(value, 2) for value in (-0.25, 10.5, -10.5)] == ["-.25", "10.50", "-10.50"]
    assert [short_number(value) for value in (-1500, 1e12)] == ["-1.5k", "1e+12"]


def test_a_minute_is_cut_off_and_not_rounded():
    assert minute("2025-03-01T23:59:59.999999") == "2025-03-01 23:59"


def test_it_imports_nothing_heavy_and_nothing_of_ours():
    """Messages need it before anything heavy is there."""
    nodes = [*ast.walk(ast.parse(Path(numbers.__file__).read_text(encoding="utf-8")))]
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert modules <= sys.stdlib_module_names
