"""Spans of time and calendar days in a table's time zone; inside, every moment is UTC without a zone."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Self
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from pipeline.errors import InputError

DAY_US, HOUR_US = 86_400_000_000, 3_600_000_000
"""Microseconds of a day and of an hour."""

TIMESTAMP = pa.timestamp("us")
"""The type of a moment in UTC without a zone."""


@dataclass(frozen=True)
class Period:
    """A half-open span of time, ``start <= t < end``, in UTC without a zone; None leaves a side open.

    Examples
    --------
    >>> Period.of_days(date(2018, 7, 11), date(2018, 7, 17), "Europe/Berlin").end
    datetime.datetime(2018, 7, 17, 22, 0)
    """

    start: datetime | None
    end: datetime | None

    @classmethod
    def of_days(cls, first: date | None, last: date | None, time_zone: str) -> Self:
        """Return the period of the calendar days ``first`` to ``last``, both included, of a time zone.

        Raises
        ------
        InputError
            When the first day comes after the last.
        """
        if first and last and first > last:
            raise InputError(f"the period's first day {first} comes after its last day {last}; swap --from and --to")

        def midnight(day: date | None, days: int) -> datetime | None:
            if day is None:
                return None
            try:
                local = datetime.combine(day + timedelta(days=days), time(), tzinfo=ZoneInfo(time_zone))
                return local.astimezone(UTC).replace(tzinfo=None)
            except OverflowError:  # the first or the last day that there is: as good as open
                return None

        return cls(midnight(first, 0), midnight(last, 1))

    def holds(self, moments: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Return which moments (UTC) lie in it, as a mask of shape (n_rows,).

        Examples
        --------
        >>> moments = pa.array([datetime(2018, 7, 10), datetime(2018, 7, 11)], pa.timestamp("us"))
        >>> Period(datetime(2018, 7, 10), datetime(2018, 7, 11)).holds(moments).tolist()
        [True, False]
        """
        at = local_times(moments, "UTC")
        mask = np.ones(len(at), dtype=bool)
        if self.start is not None:
            mask &= at >= np.datetime64(self.start, "us")
        if self.end is not None:
            mask &= at < np.datetime64(self.end, "us")
        return mask


def local_times(moments: pa.Array | pa.ChunkedArray, time_zone: str) -> np.ndarray:
    """Return what the clocks of a time zone show at UTC moments, as datetime64[us], shape (n_rows,).

    Examples
    --------
    >>> moments = pa.array([datetime(2018, 7, 10, 22, 30)], pa.timestamp("us"))
    >>> local_times(moments, "Europe/Berlin").tolist()
    [datetime.datetime(2018, 7, 11, 0, 30)]
    """
    values = moments.to_numpy(zero_copy_only=False) if isinstance(moments, pa.Array) else moments.to_numpy()
    utc = np.asarray(values).astype("datetime64[us]", copy=False)
    if time_zone == "UTC":
        return utc
    import pandas as pd

    # pandas and not pyarrow, which needs the operating system's time zones.
    return pd.DatetimeIndex(utc).tz_localize("UTC").tz_convert(time_zone).tz_localize(None).to_numpy()


def local_days(moments: pa.Array | pa.ChunkedArray, time_zone: str) -> np.ndarray:
    """Return the calendar day of UTC moments in a time zone, as datetime64[D], shape (n_rows,).

    Examples
    --------
    >>> moments = pa.array([datetime(2018, 7, 10, 22)], pa.timestamp("us"))
    >>> local_days(moments, "Europe/Berlin").tolist()
    [datetime.date(2018, 7, 11)]
    """
    return local_times(moments, time_zone).astype("datetime64[D]")
