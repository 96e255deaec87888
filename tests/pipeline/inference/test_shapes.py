"""Shapes of cells, and the formats that follow from them."""

from datetime import datetime

import pyarrow as pa
import pytest

from pipeline.inference.shapes import date_format, shapes

MOMENT = datetime(2026, 9, 3, 4, 5, 6)


@pytest.mark.parametrize(
    "day", ["%d/%m/%Y", "%d-%m-%y", "%Y.%m.%d", "%Y%m%d", "%d%b%Y", "%d %B %Y", "%b %d, %Y", "%A, %d-%b-%y"]
)
@pytest.mark.parametrize(
    "clock", ["", " %H:%M", "T%H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I.%M.%S %p", " %H%M%S", " %H:%M UTC"]
)
def test_a_format_is_found_in_what_it_writes(day, clock):
    shape = shapes(pa.array([MOMENT.strftime(day + clock)])).to_pylist()[0]
    assert date_format(shape, order="dmy") == day + clock


@pytest.mark.parametrize(
    "text", ["12.5", "1,234.50", "10.0.0.1", "2026-W05", "card 12", "99/9/99999", "12:30", "4111 1111"]
)
def test_what_is_no_date(text):
    assert date_format(shapes(pa.array([text])).to_pylist()[0], order="dmy") is None
