"""Columns that only say the timestamp over again: its hour, its weekday, a count that grows with it."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.inference.profiles import Profile
from pipeline.tables.period import DAY_US

_ROWS = 20_000  # rows on which columns are compared with the timestamp
_PARTS = {  # attributes of pandas timestamps, and what people call them
    "hour": "hour of day",
    "day_of_week": "weekday",
    "day": "day of month",
    "month": "month",
    "year": "year",
    "minute": "minute",
    "day_of_year": "day of year",
}


class Clock:
    """A clock has the timestamps of a sample, to tell the columns that only say the same again.

    Parameters
    ----------
    timestamps : pyarrow.Array
        n_rows moments, ``timestamp[us]`` in UTC.
    time_zone : str
        Zone whose days and hours the columns may count.

    Examples
    --------
    >>> from pipeline.inference.profiles import profile_columns
    >>> from pipeline.settings.config import TableConfig
    >>> timestamps = pa.array(range(0, 7_200_000_000 * 40, 7_200_000_000), pa.timestamp("us"))
    >>> hours = profile_columns(pa.table({"hour": [2 * row % 24 for row in range(40)]}), TableConfig())["hour"]
    >>> Clock(timestamps, "UTC").repeated_by(hours)
    "is the timestamp's hour of day"
    """

    def __init__(self, timestamps: pa.Array, time_zone: str) -> None:
        self._rows = np.arange(0, len(timestamps), max(1, -(-len(timestamps) // _ROWS)))
        moments = pd.DatetimeIndex(timestamps.take(self._rows).to_numpy(zero_copy_only=False))
        self._is_known = np.asarray(moments.notna())
        self._moments = moments[self._is_known]
        zones = dict.fromkeys(("UTC", time_zone))
        self._parts = [part for zone in zones for part in self._clock_parts(zone)]

    def repeated_by(self, profile: Profile) -> str | None:
        """Return how a column follows from the timestamp ("grows with the timestamp"), or None.

        Parameters
        ----------
        profile : Profile
            A column of the sample that the timestamps are of.
        """
        if profile.distinct < 2 or len(self._moments) < 10:
            return None
        values = profile.values.take(self._rows).filter(pa.array(self._is_known))
        mask = values.is_valid().to_numpy(zero_copy_only=False)
        if mask.sum() < 10:
            return None
        if profile.kind in ("integer", "number"):
            numbers = values.cast(pa.float64(), safe=False).drop_null().to_numpy()
            if self._grows(numbers, mask) or self._grows(-numbers, mask):
                return "grows with the timestamp"
            for name, part in self._parts:
                if np.ptp(part[mask]) > 0 and np.ptp(numbers - part[mask]) == 0:
                    return f"is the timestamp's {name}"
        if profile.distinct <= 400:
            codes = values.drop_null().dictionary_encode().indices.to_numpy()
            for name, part in self._parts:
                if self._follows(codes, part[mask]):
                    return f"follows from the timestamp's {name}"
        return None

    def _grows(self, values: np.ndarray, mask: np.ndarray) -> bool:
        moments = self._moments.asi8[mask]
        order = np.lexsort((values, moments))
        moments, values = moments[order], values[order]
        # Between rows of one moment the order is ours, so only steps from one moment to the next count.
        steps = np.diff(values)[np.diff(moments) > 0]
        steps = steps[steps != 0]
        return len(steps) >= 3 and bool((steps > 0).mean() >= 0.999)

    def _clock_parts(self, zone: str) -> Iterator[tuple[str, np.ndarray]]:
        local = self._moments.tz_localize("UTC").tz_convert(zone)
        yield "day", local.tz_localize(None).normalize().asi8 // DAY_US
        for attribute, name in _PARTS.items():
            yield name, getattr(local, attribute).to_numpy()

    def _follows(self, codes: np.ndarray, part: np.ndarray) -> bool:
        groups = np.unique(part, return_inverse=True)[1]
        if (groups.max() + 1) * 20 > len(codes):
            return False
        counts = np.zeros((groups.max() + 1, codes.max() + 1), dtype=np.int64)
        np.add.at(counts, (groups, codes), 1)
        share = 1 - counts.sum(axis=0).max() / len(codes)
        share_within = 1 - counts.max(axis=1).sum() / len(codes)
        return bool(share >= 0.05 and share_within <= 0.001)
