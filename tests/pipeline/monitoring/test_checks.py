"""When a check warns, when it stops, and what it says."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.monitoring.checks import CHECKS, VersionBefore, look_at
from pipeline.monitoring.profile import together
from tests.pipeline.fitted import replace as with_column


@pytest.fixture(scope="module")
def quiet(watched, day):
    """Profiles of five quiet days."""
    return watched.days(*(day(number) for number in range(5)))


def dearer(table, factor=20):
    return with_column(table, "eur", [factor * value for value in table["eur"].to_pylist()])


@pytest.fixture(scope="module")
def odd(watched, day):
    """Profiles of the two days behind them, on which everything costs twenty times as much."""
    return watched.days(*(dearer(day(number)) for number in (5, 6)))


def states(seen):
    return {check.name: check.state for check in seen.checks}


def text(seen, name):
    return next(check.text for check in seen.checks if check.name == name)


def test_quiet_days_are_ok(watched, quiet):
    seen = look_at(quiet, watched.detector)
    assert tuple(states(seen)) == CHECKS
    assert set(states(seen).values()) == {"ok"}
    assert "lie within their limits; the nearest is" in text(seen, "columns")


def test_one_odd_day_wakes_nobody_and_two_do(watched, quiet, odd):
    first, second = odd
    seen = look_at(together([quiet, {first: odd[first]}]), watched.detector)
    assert set(states(seen).values()) == {"ok"}
    assert f"{first} alone is odd: " in text(seen, "scores")
    seen = look_at(together([quiet, odd]), watched.detector)
    assert states(seen) == {"schema": "ok", "rows": "ok", "columns": "warn", "scores": "warn", "alerts": "warn"}
    assert "eur has moved (stability index" in text(seen, "columns")
    assert "of the rows score above 99 % of the normal ones, usually" in text(seen, "scores")
    assert f"{second} has " in text(seen, "alerts")
    assert "model and threshold are as before" in text(seen, "alerts")


def test_what_warns_stops_where_the_settings_say_so(watched, quiet, odd):
    detector = watched.with_monitor(stop_on=("alerts", "rows"))
    seen = look_at(together([quiet, odd]), detector)
    assert states(seen) == {"schema": "ok", "rows": "ok", "columns": "warn", "scores": "warn", "alerts": "stop"}


def test_a_change_of_the_schema_counts_at_once(watched, quiet):
    seen = look_at(
        quiet, watched.detector, ["new column 'a'", "column 'b' is gone", "new column 'c'", "new column 'd'"]
    )
    assert states(seen)["schema"] == "warn"
    assert text(seen, "schema").startswith("New column 'a', column 'b' is gone, new column 'c' and 1 more, compared")


@pytest.mark.parametrize(("factor", "state"), [(3, "warn"), (1, "ok")])
def test_twice_the_rows_two_days_in_a_row_are_told(watched, quiet, factor, state):
    last = list(quiet)[-2:]
    days = {day: replace(each, rows=factor * each.rows) if day in last else each for day, each in quiet.items()}
    seen = look_at(days, watched.detector)
    assert states(seen)["rows"] == state
    assert seen.volume[last[-1]] == pytest.approx(
        factor * quiet[last[-1]].rows / watched.detector.reference.rows_of_day(np.datetime64(last[-1]))
    )


def test_rows_at_other_hours_are_told(watched, quiet):
    days = {day: replace(each, hours=np.roll(each.hours * (np.arange(24) < 8), 12)) for day, each in quiet.items()}
    seen = look_at(days, watched.detector)
    assert states(seen)["rows"] == "warn"
    assert "check the time zone and the time of delivery" in text(seen, "rows")


def test_a_part_of_a_day_is_not_held_against_whole_ones(watched, quiet, day):
    part = watched.days(dearer(day(7, count=150)))
    seen = look_at(together([quiet, part]), watched.detector)
    assert next(iter(part)) not in seen.tested
    assert states(seen)["columns"] == states(seen)["scores"] == "ok"


@pytest.mark.parametrize(("is_same", "words_of_it"), [(True, "threshold."), (False, "model and its threshold.")])
def test_the_causes_multiply_to_what_the_alerts_grew_by(watched, quiet, odd, *, is_same, words_of_it):
    detector = watched.detector
    seen = look_at(together([quiet, odd]), detector, before=VersionBefore(2 * detector.cut.alerts_per_day, is_same))
    words = text(seen, "alerts").split(": ")[1].split(", ")
    factors = [float(part.split(" times ")[0]) for part in words]
    assert words[2].endswith(f"times by the new {words_of_it}")
    last = seen.profiles[seen.days[-1]]
    usual = detector.reference.rows_of_day(np.datetime64(seen.days[-1]))
    expected = [last.rows / usual, last.flagged / last.rows / detector.cut.alert_share, 0.5]
    assert factors == pytest.approx(expected, rel=0.05)


def test_an_older_version_watches_everything_but_columns(watched, quiet):
    reference = replace(watched.detector.reference, columns={}, day_hours=None, types={})
    seen = look_at(quiet, replace(watched.detector, reference=reference))
    assert set(states(seen).values()) == {"ok"}
    assert text(seen, "columns").startswith("This version was trained before columns were watched")


def test_the_mean_of_the_alerts_is_that_of_the_whole_days_of_the_block(watched, quiet):
    held, cut = watched.detector.held_out, watched.detector.threshold
    expected = look_at(quiet, watched.detector).alerts
    days = np.unique(held.day[held.whole])
    counts = [int(((held.day == day) & (held.scores > cut)).sum()) for day in days]
    assert expected.mean == pytest.approx(np.mean(counts))
    assert expected.low < expected.mean < expected.high


def test_a_few_rows_say_nothing(watched, day):
    few = watched.days(day(8, count=20))
    seen = look_at(few, watched.detector)
    assert set(states(seen).values()) == {"ok"}
    assert text(seen, "scores") == "No day has enough rows to look at the distribution of its scores."
    assert seen.days == [next(iter(few))]
    assert not seen.tested
