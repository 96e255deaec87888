"""Dates and times in formats of the settings; those of ISO 8601 are tested with the parsing of cells."""

from datetime import datetime

import pyarrow as pa
import pytest

from pipeline.settings.config import TableConfig
from pipeline.tables.moments import read_moments


def read(cells, *formats, zone="UTC", kind=None):
    return read_moments(pa.array(cells, kind), TableConfig(timestamp_formats=formats, time_zone=zone)).to_pylist()


@pytest.mark.parametrize(
    ("cell", "moment"),
    [
        ("2026/06/01 12:30", datetime(2026, 6, 1, 12, 30)),
        ("2026.06.01", datetime(2026, 6, 1)),
        ("20260601T123015Z", datetime(2026, 6, 1, 12, 30, 15)),
        ("20260601T123015.25", datetime(2026, 6, 1, 12, 30, 15, 250_000)),
        ("2026-06-01 12:30:15.5 UTC", datetime(2026, 6, 1, 12, 30, 15, 500_000)),
        ("2026/02/30", None),
        ("2026/6/1", None),
    ],
)
def test_spellings_of_one_reading_need_no_setting(cell, moment):
    assert read([cell, "2026-06-01"]) == [moment, datetime(2026, 6, 1)]


def test_the_first_format_that_fits_holds_and_days_must_exist():
    cells = ["1/6/2026 5:07", "31/02/2026 00:00", "01-JUN-26", "2026-06-01", "06/13/2026 10:00", None, "x"]
    june = datetime(2026, 6, 1)
    assert read(cells, "%d/%m/%Y %H:%M", "%d-%b-%y") == [
        datetime(2026, 6, 1, 5, 7), None, june, june, None, None, None,
    ]  # fmt: skip


def test_a_format_is_local_time_unless_it_names_a_zone():
    cells = ["01.06.26 12:00", "01.06.26 12:00 Z", "01.06.26 12:00 +0500"]
    formats = ("%d.%m.%y %H:%M", "%d.%m.%y %H:%M Z", "%d.%m.%y %H:%M %z")
    hours = [moment.hour for moment in read(cells, *formats, zone="Europe/Berlin")]
    assert hours == [10, 12, 7]


def test_names_of_months_and_weekdays_of_several_languages():
    days = [datetime(2026, month, 2) for month in (3, 5, 8, 10, 12)]
    full = ["lundi 2 mars 2026", "Samstag 2 Mai 2026", "domingo 2 agosto 2026", "venerdì 2 OTTOBRE 2026", "2 dec. 2026"]
    assert read(full, "%A %d %B %Y", "%d %b %Y") == days
    assert (
        read(["2 Mär 2026", "2-mag.-2026", "2 août 2026", "2 out. 2026", "2 déc 2026"], "%d %b %Y", "%d-%b-%Y") == days
    )
    assert read(["31 febbraio 2026", "2 brumaire 2026"], "%d %b %Y") == [None, None]


def test_day_first_with_dots_holds_until_a_format_has_the_month_there():
    assert read(["13.06.2026"], "%d/%m/%Y") == [datetime(2026, 6, 13)]
    assert read(["13.06.2026"], "%m.%d.%Y") == [None]


def test_whole_numbers_are_written_days():
    assert read([20260601, 20261301, None], "%Y%m%d", kind=pa.int64()) == [datetime(2026, 6, 1), None, None]
