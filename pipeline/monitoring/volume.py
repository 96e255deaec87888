"""How many alerts a day are expected, and of as many rows how many, so that a day of few rows can be odd, too."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.calibration.intervals import day_variance, queue_interval
from pipeline.detector.artefact import Detector

BEYOND = 2.0
"""How many times as far as the interval's end a day's alerts lie from the mean before they count."""
BEYOND_OF_ROWS, DAYS_OF_ROWS = 1.5, 3
"""The same of what is expected of as many rows, by more days than the block has; and how many days in a row count."""
SMALLEST = 1e-9
"""Stands for a share of none, so that ratios stay finite."""


@dataclass(frozen=True)
class Expected:
    """What is expected of a day.

    Parameters
    ----------
    mean : float
        Alerts.
    low, high : float
        What nine days in ten lie between.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def by(cls, counts: Sequence[float]) -> "Expected":
        """Return what days with as many alerts let one expect of another.

        Examples
        --------
        >>> Expected.by([8, 10, 12])
        Expected(mean=10.0, low=5.0, high=16.0)
        """
        mean = float(np.mean(counts))
        low, high = queue_interval(mean, day_variance(np.array(counts)), float(len(counts)))
        return cls(mean, float(low), float(high))

    def excess(self, alerts: float, beyond: float = BEYOND) -> float:
        """Return how many times as far as what still counts for chance a number of alerts lies from the mean.

        0 where it counts for that; above 1 for too many, below -1 for too few.
        """
        most, least = self.mean + beyond * (self.high - self.mean), self.mean - beyond * (self.mean - self.low)
        if alerts > most:
            return alerts / max(most, SMALLEST)
        return -least / max(alerts, SMALLEST) if alerts < least else 0.0


@dataclass(frozen=True)
class Block:
    """The whole days of a calibration block.

    Parameters
    ----------
    alerts, rows : array of shape (n_days,)
        Of each day.
    """

    alerts: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, detector: Detector) -> "Block":
        """Return them; without a whole day, one of what the threshold expects."""
        held = detector.held_out
        # A line that is drawn for each batch draws its own here, too.
        flags = held.scores > np.broadcast_to(
            detector.cuts(held.scores, held.segments.get(detector.cut.segment)), len(held)
        )
        days = np.unique(held.day)
        is_whole = np.isin(days, held.day[held.whole])
        alerts = held.daily(flags, "alerts")[is_whole]
        if not len(alerts):
            share = detector.cut.alert_share or 1.0
            return cls(np.array([detector.cut.alerts_per_day]), np.array([detector.cut.alerts_per_day / share]))
        return cls(alerts, held.daily(np.ones(len(held), dtype=bool), "alerts")[is_whole])


def lasting(excesses: Sequence[float], days: int) -> float:
    """Return how far beyond its limit something is on each of the last days, 0 where it is not, or not on one side.

    Examples
    --------
    >>> lasting([0.0, 1.2, 3.0], 2), lasting([1.2, -3.0], 2), lasting([1.2], 2)
    (1.2, 0.0, 0.0)
    """
    last = excesses[-days:]
    if len(last) < days or not (min(last) > 0 or max(last) < 0):
        return 0.0
    return min(map(abs, last))


def rates(block: Block, days: Iterable[tuple[int, int]]) -> list[tuple[float, Expected]]:
    """Return how odd each day's alerts are for its rows, and what was expected of as many.

    Expected is what the calibration block had, whose days are few, and with it the days scored so far up to the day
    before the last: each that was not odd itself, so that what lasts goes on being odd.

    Parameters
    ----------
    block : Block
    days : iterable of (int, int)
        Rows and alerts of days with rows, in their order.

    Returns
    -------
    list of (float, Expected)
        As `Expected.excess` has it.
    """
    usual = max(float(block.rows.mean()), 1.0)
    seen: list[float] = (block.alerts * usual / np.maximum(block.rows, 1.0)).tolist()
    found: list[tuple[float, Expected]] = []
    waiting: list[float] = []
    for rows, alerts in days:
        expected, rate = Expected.by(seen), alerts * usual / rows
        scale = rows / usual
        of_as_many = Expected(expected.mean * scale, np.floor(expected.low * scale), np.ceil(expected.high * scale))
        excess = expected.excess(rate, BEYOND_OF_ROWS)
        found.append((excess, of_as_many))
        seen += waiting
        waiting = [] if excess else [rate]
    return found
