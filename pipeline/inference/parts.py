"""Columns that only together say when a transaction was, or how much: a date and a time, what went in and what out."""

import re

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.inference.column_names import join_words, name_score
from pipeline.inference.shapes import date_format, shapes
from pipeline.settings.config import TableConfig
from pipeline.tables.cells import as_text
from pipeline.tables.reading import Table

_OUT = r"(?:^|_)(?:debits?|soll|withdrawals?|withdrawn|outflow|paid_out|money_out|ausgang|belastung|debe)(?:_|$)"
_IN = r"(?:^|_)(?:credits?|haben|deposits?|inflow|paid_in|money_in|eingang|gutschrift|haber)(?:_|$)"
_TIME = r"^\s*\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[AaPp][Mm])?\s*$"
_NOTHING = r"^[\s0.,]*$"
_BOTH = 0.01  # of the rows may have an amount on both sides, such as a fee beside it
_FITS = 0.95


def date_and_time(sample: pa.Table) -> tuple[str, str] | None:
    """Return a column of dates and one of times, in a table in which no column has both.

    Parameters
    ----------
    sample : pyarrow.Table
        Values as found.

    Examples
    --------
    >>> date_and_time(pa.table({"tx": ["1"], "booking_date": ["01/06/2026"], "booking_time": ["10:30"]}))
    ('booking_date', 'booking_time')
    >>> date_and_time(pa.table({"at": ["01/06/2026 10:30"], "time": ["10:30"]})) is None
    True
    """
    days, times = [], []
    for name in sample.schema.names:
        kind, column = sample.schema.field(name).type, sample[name]
        if pa.types.is_timestamp(kind):
            return None
        if pa.types.is_date(kind):
            days.append(name)
        elif pa.types.is_time(kind):
            times.append(name)
        elif pa.types.is_string(kind):
            cells = column.drop_null().slice(0, 2_000).combine_chunks()
            if not len(cells):
                continue
            if pc.mean(pc.match_substring_regex(cells, _TIME)).as_py() >= _FITS:
                times.append(name)
                continue
            forms = [date_format(shape, order="dmy") for shape in pc.unique(shapes(cells)).to_pylist()[:50]]
            if any(form and "%M" in form for form in forms) and name_score("timestamp", name) >= 0:
                return None
            if all(forms) and name_score("timestamp", name) > 0:
                days.append(name)
    if not days or not times:
        return None
    return tuple(max(names, key=lambda name: name_score("timestamp", name)) for names in (days, times))


def in_and_out(table: Table, sample: pa.Table, settings: TableConfig) -> tuple[str, str] | None:
    """Return a column of what went in and one of what went out, with "-" before it unless it is written below zero.

    Of the whole table, no more than 1 % of the rows may have an amount in both.

    Parameters
    ----------
    table : Table
    sample : pyarrow.Table
    settings : TableConfig
        ``null_words``.
    """
    sides = [[name for name in sample.schema.names if re.search(side, join_words(name))] for side in (_IN, _OUT)]
    others = [
        name for name in sample.schema.names if name_score("amount", name) > 0 and name not in (*sides[0], *sides[1])
    ]
    if others or len(sides[0]) != 1 or len(sides[1]) != 1:
        return None
    names, rows, both, either, below = (sides[0][0], sides[1][0]), 0, 0, 0, 0
    nothing = pa.array([word.lower() for word in settings.null_words], pa.string())
    for batch in table.batches(65_536):
        cells = [pc.utf8_trim_whitespace(as_text(batch.column(name)).fill_null("")) for name in names]
        if not all(pc.mean(pc.match_substring_regex(column, r"\d|^$")).as_py() >= _FITS for column in cells):
            return None
        there = [
            pc.invert(pc.or_(pc.match_substring_regex(column, _NOTHING), pc.is_in(pc.utf8_lower(column), nothing)))
            for column in cells
        ]
        rows += batch.num_rows
        both += pc.sum(pc.and_(*there)).as_py() or 0
        either += pc.sum(there[1]).as_py() or 0
        below += pc.sum(pc.and_(there[1], pc.match_substring_regex(cells[1], r"^[-(]|-$"))).as_py() or 0
    if not either or both > _BOTH * rows:
        return None
    return (names[0], names[1] if below > either / 2 else f"-{names[1]}")
