"""Formats of dates and times: which are refused, and what they fit."""

import re

import pytest
from pydantic import ValidationError

from pipeline.settings.config import TableConfig
from pipeline.settings.formats import MONTHS, names_a_zone, pattern_of


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        (["%d.%m"], "'%d.%m' has no year"),
        (["%Y-%m"], "has no day"),
        (["%d %Y"], "has no month"),
        (["dd/mm/yyyy"], "has no year"),
        (["%d/%m/%Y %I:%M"], "only one of %I and %p"),
        (["%d/%m/%Y %Q"], "holds '%Q', which is not understood"),
        (["%d/%m/%Y %"], "holds '%', which is not understood"),
        (["%Y-%d-%m"], "the day before the month behind the year"),
        (["%d/%m/%Y", "%m/%d/%Y"], "read the same cell as two days; keep one of them"),
    ],
)
def test_formats_that_are_refused(formats, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        TableConfig(timestamp_formats=formats)


def test_what_a_format_fits():
    assert re.search(pattern_of("%d/%m/%y %H:%M"), "1/12/26 5:07")
    assert not re.search(pattern_of("%d/%m/%y %H:%M"), "1/12/2026 5:07")
    assert not re.search(pattern_of("%Y%m%d"), "2026111")
    assert not re.search(pattern_of("%d.%m.%Y"), "01x06x2026")
    for name in ("märz", "Mrz.", "MARS", "março", "mrt.", "March"):
        assert re.search(pattern_of("%d %b %Y"), f"1 {name} 2026"), name
    assert not re.search(pattern_of("%d %b %Y"), "1 Monat 2026")
    assert names_a_zone("%d/%m/%Y %H:%M UTC")
    assert not names_a_zone("%d/%m/%Y %H:%M")


def test_signs_that_are_one():
    with pytest.raises(ValidationError, match=r"table\.decimal and table\.thousands are both ','"):
        TableConfig(decimal=",", thousands=",")
    with pytest.raises(ValidationError, match=r"table\.plus_words and table\.minus_words both hold 'CR'"):
        TableConfig(plus_words=("Cr.",), minus_words=("DR", "CR"))


def test_a_name_of_a_month_is_that_of_one_month():
    names = [name for month in MONTHS for name in month.split()]
    assert len(names) == len(set(names))
