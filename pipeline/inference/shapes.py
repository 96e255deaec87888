"""The shapes of a column's cells: what is left of them when digits, months and weekdays are taken for one another."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.settings.formats import MONTHS, WEEKDAYS
from pipeline.tables.cells import as_text
from pipeline.tables.reading import Table

MOST_SHAPES = 300
"""A column of more shapes is free text."""
_BATCH_ROWS = 65_536
_SHORT = 4  # letters of the longest short name of a month or weekday, such as "sept"


def _alone(names: Iterable[str]) -> str:
    """Return a regular expression of names that stand by themselves, with what is beside them."""
    return rf"(^|[^\pL])(?i:{'|'.join(sorted(names, key=len, reverse=True))})([^\pL]|$)"


def _both(mark: str, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    full, short = ([name for name in names if (len(name) > _SHORT) == is_full] for is_full in (True, False))
    return (_alone(full), rf"\1<{mark.upper()}>\2"), (_alone(short), rf"\1<{mark}>\2")


_WORDS = (
    *_both("b", " ".join(MONTHS).split()),
    *_both("a", WEEKDAYS.split()),
    (_alone(("am", "pm")), r"\1<p>\2"),
    (r"\d", "9"),
)


def shapes(cells: pa.Array) -> pa.Array:
    """Return the shapes of text: "9" for every digit, and "<b>", "<B>", "<a>", "<A>" and "<p>" for words of a calendar.

    Examples
    --------
    >>> shapes(pa.array(["01-JUN-2026 1:05 PM", "1,234.50"])).to_pylist()
    ['99-<b>-9999 9:99 <p>', '9,999.99']
    """
    text = pc.utf8_trim_whitespace(cells)
    for pattern, word in _WORDS:
        text = pc.replace_substring_regex(text, pattern, word)
    return text


def count_shapes(table: Table, columns: Iterable[str]) -> dict[str, Counter[str]]:
    """Return how often each shape comes in the whole table; columns of many shapes are left out.

    Parameters
    ----------
    table : Table
    columns : iterable of str
    """
    counts: dict[str, Counter[str]] = {column: Counter() for column in columns}
    for batch in table.batches(_BATCH_ROWS) if counts else ():
        for column in list(counts):
            for item in pc.value_counts(shapes(as_text(batch.column(column)).drop_null())).to_pylist():
                counts[column][item["values"]] += item["counts"]
            if len(counts[column]) > MOST_SHAPES:
                del counts[column]
    return counts


def count_fields(table: Table, columns: Sequence[str]) -> dict[str, tuple[Counter[int], Counter[int]]]:
    """Return the first and the second number of every cell in the whole table, such as days and months, with its rows.

    Parameters
    ----------
    table : Table
    columns : sequence of str
    """
    fields: dict[str, tuple[Counter[int], Counter[int]]] = {column: (Counter(), Counter()) for column in columns}
    for batch in table.batches(_BATCH_ROWS) if columns else ():
        for column, counters in fields.items():
            parts = pc.extract_regex(as_text(batch.column(column)), r"^\s*(?P<one>\d{1,2})\D(?P<two>\d{1,2})\D")
            for name, counter in zip(("one", "two"), counters, strict=True):
                for item in pc.value_counts(pc.struct_field(parts, name).drop_null()).to_pylist():
                    counter[int(item["values"])] += item["counts"]
    return fields


_CLOCK = (
    r"(?P<gap>T|, | +)?(?P<clock>9{1,2}:99(?P<second>:99)?(?P<part>\.9{1,6})?(?P<half> ?<p>)?|9{4}(?P<close>99)?"
    r"|9{1,2}\.99\.99(?P<part2>\.9{1,6})?(?P<half2> ?<p>)?)"
)
_END = r"(?P<end> ?(?:Z|UTC|GMT))?"
_NUMERIC = rf"(?P<one>9{{1,2}})(?P<sign>[/.-])9{{1,2}}(?P=sign)(?P<year>9999|99)(?:{_CLOCK}{_END})?"
_YEAR_FIRST = rf"9999(?P<sign>[/.-])9{{1,2}}(?P=sign)9{{1,2}}(?:{_CLOCK}{_END})?"
_CLOSE = rf"99999999(?:{_CLOCK}{_END})?"
_WEEK = r"(?P<week>(?:<[aA]>|<b>)\.?,? )?"  # "mar" is a month and a weekday
_MONTH_SECOND = (
    rf"{_WEEK}9{{1,2}}(?P<sign>[ /.-]?|\. |er | de )(?P<month><[bB]>)\.??(?P<sign2>[ /.-]?| de | del )"
    rf"(?P<year>9999|99)(?:{_CLOCK}{_END})?"
)
_MONTH_FIRST = rf"{_WEEK}(?P<month><[bB]>)\.? 9{{1,2}}(?P<comma>,?) (?P<year>9999)(?:{_CLOCK}{_END})?"


def date_format(shape: str, *, order: str) -> str | None:
    """Return the format of the dates and times of a shape, or None for what is none.

    Parameters
    ----------
    shape : str
    order : {"dmy", "mdy", "ymd"}
        Of three numbers, none of which has four digits.

    Examples
    --------
    >>> date_format("99/99/9999 99:99:99 <p>", order="mdy"), date_format("9-<b>-99", order="dmy")
    ('%m/%d/%Y %I:%M:%S %p', '%d-%b-%y')
    >>> date_format("99999999", order="dmy"), date_format("9,999.99", order="dmy")
    ('%Y%m%d', None)
    """
    for pattern in (_NUMERIC, _YEAR_FIRST, _CLOSE, _MONTH_SECOND, _MONTH_FIRST):
        if match := re.fullmatch(pattern, shape):
            parts = match.groupdict()
            clock = _clock_format(parts)
            return None if clock is None else _day_format(pattern, parts, order) + clock
    return None


def _day_format(pattern: str, parts: dict[str, str | None], order: str) -> str:
    sign, year = parts.get("sign") or "", "%Y" if parts.get("year") == "9999" else "%y"
    week, month = ((parts.get(name) or "").replace("<", "%").replace(">", "") for name in ("week", "month"))
    week = week.replace(".", "").replace("%b", "%a")  # a full stop belongs to the name
    if pattern == _NUMERIC:
        orders = {"dmy": ("%d", "%m", year), "mdy": ("%m", "%d", year), "ymd": ("%y", "%m", "%d")}
        return sign.join(orders["dmy" if order == "ymd" and year == "%Y" else order])
    if pattern == _YEAR_FIRST:
        return sign.join(("%Y", "%m", "%d"))
    if pattern == _CLOSE:
        return "%Y%m%d"
    if pattern == _MONTH_SECOND:
        return f"{week}%d{sign}{month}{parts['sign2']}{year}"
    return f"{week}{month} %d{parts['comma']} {year}"


def _clock_format(parts: dict[str, str | None]) -> str | None:
    clock = parts.get("clock")
    if not clock:
        return ""
    gap, end, half = parts["gap"] or "", parts["end"] or "", parts["half"] or parts["half2"]
    if not gap and not re.fullmatch("9{4}|9{6}", clock):
        return None
    hour = "%I" if half else "%H"
    if re.fullmatch("9{4}|9{6}", clock):
        text = f"{hour}%M" + ("%S" if parts["close"] else "")
    else:
        sign = ":" if ":" in clock else "."
        seconds = sign + "%S" if parts["second"] or sign == "." else ""
        text = f"{hour}{sign}%M{seconds}" + (".%f" if parts["part"] or parts["part2"] else "")
    return gap + text + ((half or "").replace("<p>", "%p")) + end
