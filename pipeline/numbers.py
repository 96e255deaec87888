"""Numbers, amounts and times as people read them: the same in reports, pages, messages, promises and charts."""

import math
from datetime import UTC, datetime, tzinfo
from typing import Any, Protocol

NOT_DEFINED = "not defined"


class Ends(Protocol):
    """What :func:`interval` writes: the two ends of an interval, nan where they are not known."""

    @property
    def low(self) -> float:
        """The lower end."""

    @property
    def high(self) -> float:
        """The upper end."""


def number(value: Any, digits: int = 2) -> str:
    """Write a number for people: thousands apart, no digits that say nothing; other values as they are.

    Examples
    --------
    >>> [number(x) for x in (1240, 1240.5, 0.00123, 1e300, None, "DE")]
    ['1,240', '1,240.50', '0.00123', '1e+300', 'none', 'DE']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "none"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value and (abs(value) < 0.01 or abs(value) >= 1e12):
        return f"{value:.3g}"
    return f"{value:,.{digits}f}" if value != round(value) or abs(value) < 1 else f"{value:,.0f}"


def quantity(value: float, *, is_whole: bool = False) -> str:
    """Write a value that was measured: all digits before the point, and as many behind it as matter.

    Parameters
    ----------
    value : float
    is_whole : bool
        Whether the values of its column are whole numbers.

    Examples
    --------
    >>> [quantity(value) for value in (1240.4, 5.2345, 0.8512, 0.00059, 1e-9, 1e12)]
    ['1,240', '5.23', '0.851', '0.0006', '1e-09', '1e+12']
    >>> [quantity(value, is_whole=True) for value in (12.0, 2.04, 1999.6)]
    ['12', '2', '2,000']
    """
    size = abs(value)
    if value == 0 or (is_whole and size < 1e9):
        return f"{value:,.0f}"
    if size >= 1e9 or size < 1e-6:
        return f"{value:.2g}"
    if size >= 1:
        return f"{value:,.0f}" if size >= 100 else f"{value:.3g}"
    return f"{value:.{max(3, -math.floor(math.log10(size)))}f}".rstrip("0")


def short_number(value: float) -> str:
    """Write a number shortly, for an axis.

    Examples
    --------
    >>> [short_number(x) for x in (0, 0.25, 12, 1500, 20_000, 3e6, 0.00001)]
    ['0', '0.25', '12', '1.5k', '20k', '3M', '1e-05']
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size <= abs(value) < 1e12:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def narrow_number(value: float, digits: int = 3) -> str:
    """Write a number for a narrow column: without a zero before the point.

    Examples
    --------
    >>> [narrow_number(x) for x in (0.6394, -0.5, 1.0)], narrow_number(1240.5, 0)
    (['.639', '-.500', '1.000'], '1,240')
    """
    text = f"{value:,.{digits}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def amount(value: float | None) -> str:
    """Write an amount of money, to the cent.

    Examples
    --------
    >>> [amount(x) for x in (4000.0, -0.001, 3e12, None)]
    ['4,000.00', '0.00', '3e+12', 'no amount']
    """
    if value is None or not math.isfinite(value):
        return "no amount"
    return f"{round(value, 2) + 0.0:,.2f}" if abs(value) < 1e12 else f"{value:.3g}"  # no minus before a zero


def percent(share: float) -> str:
    """Write a share of 1 in per cent, three digits of it, or two of what is below a hundredth.

    Examples
    --------
    >>> [percent(x) for x in (0, 0.000012345, 0.0117, 0.1234, 1, float("nan"))]
    ['0 %', '0.0012 %', '1.17 %', '12.3 %', '100 %', 'not defined']
    """
    if math.isnan(share):
        return NOT_DEFINED
    if 0 < share < 1e-6:
        return "< 0.0001 %"
    return f"{100 * share:.2g} %" if share < 0.01 else f"{100 * share:.3g} %"


def p_value(value: float) -> str:
    """Write a p-value.

    Examples
    --------
    >>> [p_value(x) for x in (0.00002, 0.0123, 1.0)]
    ['< 0.001', '0.012', '1.000']
    """
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def metric(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """Write a metric, one in 0..1 with the three digits that published tables have.

    Parameters
    ----------
    value : float
    digits : int
    sign : bool
        Whether a plus stands before what is not below zero, as before a difference.

    Examples
    --------
    >>> metric(0.6394), metric(0.031, sign=True), metric(1240.52, 1), metric(float("nan"))
    ('0.639', '+0.031', '1,240.5', 'not defined')
    """
    return NOT_DEFINED if math.isnan(value) else f"{value:{'+' if sign else ''},.{digits}f}"


def interval(ends: Ends | None, *, in_percent: bool = False) -> str:
    """Write the ends of an interval, to stand before what else is said; nothing where they are not known.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> ends = SimpleNamespace(low=0.45, high=0.6)
    >>> interval(ends), interval(ends, in_percent=True), interval(None)
    ('0.450 to 0.600; ', '45 % to 60 %; ', '')
    """
    if not ends or math.isnan(ends.low) or math.isnan(ends.high):
        return ""
    low, high = (percent(end) if in_percent else metric(end) for end in (ends.low, ends.high))
    return f"{low} to {high}; "


def per_day(alerts: float, unit: str = "alerts") -> str:
    """Write a number of alerts a day.

    Examples
    --------
    >>> per_day(12.345), per_day(12345.6), per_day(80, "customers")
    ('12.3 alerts a day', '12,346 alerts a day', '80 customers a day')
    """
    return f"{alerts:.3g} {unit} a day" if alerts < 999.5 else f"{alerts:,.0f} {unit} a day"


def moment(value: datetime | None, zone: tzinfo) -> str:
    """Write when something happened, in a time zone.

    Parameters
    ----------
    value : datetime or None
        In UTC; what it says of a zone is not looked at.
    zone : tzinfo

    Examples
    --------
    >>> from zoneinfo import ZoneInfo
    >>> moment(datetime(2025, 3, 1, 2, 14, 9), ZoneInfo("Europe/Berlin")), moment(None, UTC)
    ('Sat 1 Mar 2025, 03:14:09', 'no time')
    """
    if value is None:
        return "no time"
    local = value.replace(tzinfo=UTC).astimezone(zone)
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M:%S}"


def minute(value: object) -> str:
    """Write a moment, a datetime or ISO 8601 text, to the minute as it stands.

    Examples
    --------
    >>> minute(datetime(2025, 3, 1, 2, 14, 9)), minute("2025-03-01T02:14:09")
    ('2025-03-01 02:14', '2025-03-01 02:14')
    """
    return str(value)[:16].replace("T", " ")


def clock(hours: float) -> str:
    """Write a time of day, given in hours.

    Examples
    --------
    >>> clock(7.5), clock(23.999)
    ('07:30', '00:00')
    """
    minutes = round(hours * 60) % (24 * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def length(seconds: float) -> str:
    """Write a length of time, in the largest unit of which there is more than one.

    Examples
    --------
    >>> [length(seconds) for seconds in (0.4, 61, 150, 3 * 3600, 47 * 3600, 49 * 3600)]
    ['0 seconds', '61 seconds', '2 minutes', '3 hours', '47 hours', '2 days']
    """
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{int(seconds // size):,} {unit}"
    return f"{int(seconds)} seconds"


def size(count: float) -> str:
    """Write a number of bytes.

    Examples
    --------
    >>> [size(count) for count in (0, 999, 26_400_000, 1.5e12)]
    ['0 bytes', '999 bytes', '26.4 MB', '1.5 TB']
    """
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f} bytes"
