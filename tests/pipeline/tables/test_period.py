"""Periods and calendar days."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from pipeline.errors import InputError
from pipeline.tables.period import Period, local_days, local_times


def test_period_covers_whole_local_days():
    period = Period.of_days(date(2018, 3, 25), date(2018, 3, 25), "Europe/Berlin")
    assert (period.start, period.end) == (datetime(2018, 3, 24, 23), datetime(2018, 3, 25, 22))
    assert Period.of_days(None, date(2018, 7, 17), "UTC") == Period(None, datetime(2018, 7, 18))
    assert Period.of_days(date(9999, 12, 31), date.max, "UTC").end is None


def test_a_day_without_midnight_starts_when_the_clock_does():
    # In São Paulo, 2018-11-04 began at 01:00 (UTC-2), which is 03:00 UTC.
    assert Period.of_days(date(2018, 11, 4), None, "America/Sao_Paulo").start == datetime(2018, 11, 4, 3)


def test_a_period_that_ends_before_it_starts_is_refused():
    with pytest.raises(InputError, match="first day 2018-07-18 comes after its last day 2018-07-11"):
        Period.of_days(date(2018, 7, 18), date(2018, 7, 11), "UTC")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu"])
def test_local_days_are_those_of_the_zone_across_changes_of_the_clock(zone):
    hours = [datetime(2018, 3, 24) + timedelta(hours=3 * i) for i in range(2000)]
    aware = [moment.replace(tzinfo=ZoneInfo("UTC")).astimezone(ZoneInfo(zone)) for moment in hours]
    clocks = [moment.replace(tzinfo=None) for moment in aware]
    expected = [clock.date() for clock in clocks]
    column = pa.array(hours, pa.timestamp("us"))
    assert local_times(column, zone).tolist() == clocks
    assert local_days(column, zone).tolist() == expected
    assert local_days(pa.chunked_array([column[:7], column[7:]]), zone).tolist() == expected
