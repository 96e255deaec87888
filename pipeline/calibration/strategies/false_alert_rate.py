"""At most a share of normal rows, by the conformal quantile."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.intervals import rank_for_rate, realised_count, realised_rate, rows_for_rate
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.strategy import Strategy
from pipeline.calibration.threshold import Fulfilment, Threshold, at_least, between
from pipeline.errors import TrainingError
from pipeline.numbers import per_day, percent


@dataclass(frozen=True, kw_only=True)
class FalseAlertRate(Strategy):
    """Flag at most this share of normal rows, by the conformal quantile of those that took no part in fitting.

    With n normal scores the cut is the k-th largest, k = floor(rate (n + 1)): a row is flagged exactly when its
    p-value is at most the rate. For a further row exchangeable with the n, the chance to be flagged is at most
    k / (n + 1), whatever the law of the scores and however few rows there are.

    Parameters
    ----------
    rate : float
        In (0, 1).
    """

    rate: float
    name: ClassVar[str] = "false_alert_rate"

    def solve(self, rows: ScoredRows) -> Threshold:
        """Return the cut; `facts` has n (``normal_rows``) and ``k``."""
        normal, n = self.counted(rows)
        k = rank_for_rate(n, self.rate)
        if k == 0:
            raise TrainingError(
                f"a false-alert rate of {self.rate:g} needs at least {rows_for_rate(self.rate):,} normal rows to "
                f"calibrate on and there are {n:,}; train on a longer period, raise threshold.false_alert_rate to at "
                f'least {at_least(1 / (n + 1))}, or take threshold.strategy = "tail"'
            )
        return self.at(float(np.partition(normal, n - k)[n - k]), rows)

    def counted(self, rows: ScoredRows) -> tuple[np.ndarray, int]:
        """Return the scores of the normal rows, and how many these are."""
        normal = rows.scores[rows.normal]
        return normal, len(normal)

    def at(self, value: float, rows: ScoredRows) -> Threshold:
        """Return the threshold at a cut that is given, with the promise of the conformal one on these rows."""
        n = self.counted(rows)[1]
        k = rank_for_rate(n, self.rate)
        alerts = int(np.count_nonzero(rows.scores > value))
        low, high = realised_rate(n, k)
        promise = (
            f"At most {percent(self.rate)} of normal rows are flagged on average (nine times in ten between "
            f"{percent(low)} and {percent(high)} in the long run), and all rows together give about "
            f"{per_day(alerts / rows.days)} ({percent(alerts / len(rows))} of rows), as long as rows are "
            f"exchangeable with the {n:,} normal rows calibrated on."
        )
        return self._threshold(value, rows, promise, normal_rows=n, k=k)

    def fulfilment(self, threshold: Threshold, realised: Realised) -> Fulfilment:
        """Say how many of the rows known to be normal were flagged, and whether that is inside the interval."""
        n, k = int(threshold.facts["normal_rows"]), int(threshold.facts["k"])
        return false_alerts(realised, lambda normal: realised_count(n, k, normal))


def false_alerts(realised: Realised, interval: Callable[[int], tuple[int, int]]) -> Fulfilment:
    """Return how many normal rows were flagged, beside the interval for their number.

    Parameters
    ----------
    realised : Realised
    interval : callable
        From the number of normal rows to the least and the most flagged ones predicted.
    """
    normal, alerts = realised.normal, int(realised.alerts.normal.sum())
    if not normal:
        return Fulfilment("No label of these rows is known yet, so the realised false-alert rate is not known either.")
    low, high = interval(normal)
    return Fulfilment(
        f"Of {normal:,} rows taken for normal by now, {alerts:,} were flagged ({percent(alerts / normal)}), "
        f"{between(low, high, alerts)}: between {low:,} and {high:,} were predicted.",
        low <= alerts <= high,
    )
