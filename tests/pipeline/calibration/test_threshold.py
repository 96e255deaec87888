"""Thresholds in words."""

import pytest

from pipeline.calibration.threshold import at_least, at_most, between


def test_an_interval_holds_its_ends():
    said = [between(3, 5, value) for value in (2, 3, 4, 5, 6)]
    assert said == ["outside, below it", "inside", "inside", "inside", "outside, above it"]


@pytest.mark.parametrize("value", [1 / 98, 1 / 3, 0.0999, 0.123, 1.0, 12.34, 0.5])
def test_a_written_bound_is_kept_by_what_is_written_and_close_to_it(value):
    low, high = float(at_most(value)), float(at_least(value))
    assert low <= value <= high
    assert high - low <= 0.1 * value
    assert at_least(0.5) == at_most(0.5) == "0.5"
    assert (at_least(1 / 3), at_most(1 / 3)) == ("0.34", "0.33")
