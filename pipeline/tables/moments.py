"""Dates and times, as text of many spellings, counts or timestamps, as moments in UTC."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.settings.config import TableConfig
from pipeline.settings.formats import MONTHS, names_a_zone, pattern_of, pieces_of
from pipeline.tables.digits import matching, read_integers, read_numbers
from pipeline.tables.period import TIMESTAMP

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # seconds since 1970 of the years 1 and 9999, both ends
_YEAR = r"(?:000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3})"  # 0001 to 9999
_CLOCK = r"[T ]\d\d(?::\d\d(?::\d\d(?:[.,]\d{1,9})?)?)?"
_ZONE = r" ?(?:[Zz]|[+-]\d\d(?::?\d\d)?)"
_ISO = rf"^{_YEAR}-\d\d-\d\d(?:{_CLOCK}(?:{_ZONE})?)?$"
_MONTH_NAMES = [name for names in MONTHS for name in names.split()]
_MONTH_NUMBERS = [f"{number:02d}" for number, names in enumerate(MONTHS, start=1) for _ in names.split()]
_NAMES_A_ZONE = r"^.{11}.*[Z+-]"
_DAY_FIRST = r"^(\d\d)\.(\d\d)\.(\d{4})"
_SPELLINGS = (
    (r"^(\d{4})[/.](\d\d)[/.](\d\d)", r"\1-\2-\3"),
    (r"^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)", r"\1-\2-\3T\4:\5:\6"),
    (r" ?(?:UTC|GMT)$", "Z"),
)


def read_moments(column: pa.Array, settings: TableConfig) -> pa.Array:
    """Return cells as ``timestamp[us]`` in UTC; one that is no moment of the years 1 to 9999 is missing.

    Parameters
    ----------
    column : pyarrow.Array
        n_rows timestamps, dates, counts since 1970, or text without blanks around it.
    settings : TableConfig
        ``timestamp_formats``, ``timestamp_unit`` and ``time_zone``.

    Examples
    --------
    >>> settings = TableConfig(timestamp_formats=("%m/%d/%Y %I:%M %p",))
    >>> [str(moment) for moment in read_moments(pa.array(["06/13/2026 1:05 PM", "2026-06-13T13:05Z"]), settings)]
    ['2026-06-13 13:05:00', '2026-06-13 13:05:00']
    """
    kind = column.type
    if pa.types.is_integer(kind) and settings.timestamp_formats and not settings.timestamp_unit:
        column, kind = column.cast(pa.string()), pa.string()
    if pa.types.is_string(kind):
        if not settings.timestamp_unit:
            return _from_text(column, settings)
        counted = _from_seconds(read_numbers(column, settings), settings.timestamp_unit)
        return pc.coalesce(counted, _from_text(column, settings))
    if pa.types.is_timestamp(kind):
        moments = _from_count(column.cast(pa.int64()), kind.unit)
        return moments if kind.tz else _to_utc(moments, settings.time_zone)
    if pa.types.is_date(kind):
        days = column.cast(pa.date32()).cast(pa.int32()).cast(pa.int64())
        return _to_utc(_from_count(pc.multiply(days, 86_400), "s"), settings.time_zone)
    if pa.types.is_integer(kind):
        return _from_count(read_integers(column, "."), settings.timestamp_unit)
    return _from_seconds(column.cast(pa.float64(), safe=False), settings.timestamp_unit)


def _from_count(count: pa.Array, unit: str) -> pa.Array:
    """Return the moments that lie ``count`` (int64) units after 1970; missing outside the years 1 to 9999."""
    per_second = _PER_SECOND[unit]
    number = count.fill_null(0).to_numpy(zero_copy_only=False)
    seconds = number // per_second
    missing = (seconds < _FIRST) | (seconds > _LAST) | pc.is_null(count).to_numpy(zero_copy_only=False)
    number = np.where(missing, 0, number)
    micro = number // 1000 if unit == "ns" else number * (1_000_000 // per_second)
    return pa.array(micro, pa.int64(), mask=missing).cast(TIMESTAMP)


def _from_seconds(number: pa.Array, unit: str) -> pa.Array:
    """Return the moments that lie ``number`` (float64) units after 1970, to the nearest microsecond."""
    micro = pc.round(pc.multiply(number, 1_000_000 / _PER_SECOND[unit]))
    inside = pc.and_(pc.greater_equal(micro, _FIRST * 1e6), pc.less(micro, (_LAST + 1) * 1e6))
    return pc.if_else(inside, micro, None).cast(pa.int64()).cast(TIMESTAMP)


def _to_utc(local: pa.Array, time_zone: str) -> pa.Array:
    """Take moments (``timestamp[us]``) for local time of a zone and return them in UTC.

    Of a local time that comes twice the first is taken; one that is skipped moves to the first that exists.
    """
    if time_zone == "UTC":
        return local
    import pandas as pd

    # pandas brings its own time zones; Arrow needs the system's, which a bare container lacks.
    index = pd.DatetimeIndex(local.to_numpy(zero_copy_only=False))
    first = np.ones(len(index), dtype=bool)
    zoned = index.tz_localize(time_zone, ambiguous=first, nonexistent="shift_forward")
    return _from_count(pa.array(zoned.asi8.view("datetime64[us]")).cast(pa.int64()), "us")


def _from_text(text: pa.Array, settings: TableConfig) -> pa.Array:
    formats, zone = settings.timestamp_formats, settings.time_zone
    if not formats:
        try:  # One well-formed way of writing in the whole column is read many times faster.
            return _to_utc(_from_count(text.cast(TIMESTAMP).cast(pa.int64()), "us"), zone)
        except pa.ArrowInvalid:
            return _from_iso(text, zone, day_first=True)
    moments = pa.nulls(len(text), TIMESTAMP)
    for form in formats:
        rest = pc.if_else(pc.is_null(moments), text, None)
        moments = pc.coalesce(moments, _by_format(rest, form, zone))
    rest = pc.if_else(pc.is_null(moments), text, None)
    if rest.null_count == len(rest):
        return moments
    return pc.coalesce(moments, _from_iso(rest, zone, day_first=not any(form.startswith("%m.") for form in formats)))


def _by_format(text: pa.Array, form: str, time_zone: str) -> pa.Array:
    import pandas as pd

    written = matching(text, pattern_of(form))
    if written.null_count == len(written):
        return pa.nulls(len(text), TIMESTAMP)
    # Days repeat, and are read once each.
    words = written.dictionary_encode()
    spelled, in_numbers = _in_numbers(words.dictionary, form)
    read = pd.to_datetime(spelled.to_numpy(zero_copy_only=False), format=in_numbers, utc=True, errors="coerce")
    count = pa.array(read.as_unit("us").tz_localize(None).to_numpy()).cast(pa.int64()).take(words.indices)
    moments = _from_count(count, "us")
    return moments if names_a_zone(form) else _to_utc(moments, time_zone)


def _in_numbers(text: pa.Array, form: str) -> tuple[pa.Array, str]:
    """Return text of a format with numbers for names of months and without those of weekdays, and its format then."""
    pieces = pieces_of(form)
    names = {f"p{place}": part for place, (part, _) in enumerate(pieces)}
    if not {"%a", "%A", "%b", "%B"} & set(names.values()):
        return text, form
    pattern = "".join(f"(?P<p{place}>{piece})" for place, (_, piece) in enumerate(pieces))
    parts, columns, formats = pc.extract_regex(text, f"^{pattern}$"), [], []
    for name, part in names.items():
        if part in ("%a", "%A"):
            continue
        column = pc.struct_field(parts, name)
        if part in ("%b", "%B"):
            word = pc.utf8_rtrim(pc.utf8_lower(column), ".")
            column = pa.array(_MONTH_NUMBERS, pa.string()).take(pc.index_in(word, pa.array(_MONTH_NAMES)))
        columns.append(column)
        formats.append("%m" if part in ("%b", "%B") else part)
    return pc.binary_join_element_wise(*columns, ""), "".join(formats)


def _from_iso(text: pa.Array, time_zone: str, *, day_first: bool) -> pa.Array:
    import pandas as pd

    iso = matching(pc.replace_substring_regex(text, _DAY_FIRST, r"\3-\2-\1") if day_first else text, _ISO)
    if iso.null_count > text.null_count:
        iso = pc.coalesce(iso, matching(_as_iso(text), _ISO))
    # pandas reads neither a comma nor a small z; more than six digits would be nanoseconds, which end in 2262.
    iso = pc.utf8_upper(pc.replace_substring_regex(iso, r"[.,](\d{1,6})\d*", r".\1"))
    written = iso.to_numpy(zero_copy_only=False)
    moments = pd.to_datetime(written, format="ISO8601", utc=True, errors="coerce").as_unit("us")
    count = pa.array(moments.tz_localize(None).to_numpy()).cast(pa.int64())
    is_zoned = pc.match_substring_regex(iso, _NAMES_A_ZONE)
    local = _to_utc(_from_count(pc.if_else(is_zoned, None, count), "us"), time_zone)
    return pc.if_else(is_zoned, _from_count(count, "us"), local)


def _as_iso(text: pa.Array) -> pa.Array:
    """Return the spellings of other programs that have one reading as ISO 8601 has them."""
    for pattern, spelling in _SPELLINGS:
        text = pc.replace_substring_regex(text, pattern, spelling)
    return text
