"""Where the line between an alert and the rest is drawn, and what it promises.

A row is flagged when its anomaly score is strictly above the threshold.
"""

import math
from dataclasses import dataclass

import numpy as np

from pipeline.errors import TrainingError

INTERVAL = 0.9


@dataclass(frozen=True)
class Threshold:
    """A cut through the scores, with the volume that it leads one to expect.

    Parameters
    ----------
    value : float
        Rows with a score strictly above it are flagged.
    strategy : str
    alerts_per_day : float
        Expected alerts a day, among rows like those of the calibration block.
    alert_share : float
        Expected share of rows flagged, in [0, 1].
    promise : str
        One sentence: what volume to expect, and under which condition.
    """

    value: float
    strategy: str
    alerts_per_day: float
    alert_share: float
    promise: str


def rank_for_rate(rows: int, rate: float) -> int:
    """Return the largest k with k / (rows + 1) <= rate: a cut above the k-th largest score is ``p <= rate``.

    Examples
    --------
    >>> rank_for_rate(99, 0.29), rank_for_rate(98, 0.01)
    (29, 0)
    """
    k = math.floor(rate * (rows + 1))
    # The product may fall to the wrong side of a whole number; the quotient is what p_value computes.
    if (k + 1) / (rows + 1) <= rate:
        return k + 1
    return k if k / (rows + 1) <= rate else k - 1


def realised_rate(rows: int, k: int) -> tuple[float, float]:
    """Return what holds the long-run share above the k-th largest of `rows` scores, 9 times in 10.

    Over draws of the calibration rows, the share of further exchangeable rows above their k-th largest score
    follows Beta(k, rows + 1 - k) when scores have no ties (Vovk, Conditional validity of inductive conformal
    predictors, ACML 2012, proposition 2a); with ties it is lower.

    Returns
    -------
    tuple of float
        The 5 % and 95 % quantiles, each in [0, 1].
    """
    from scipy import stats

    low, high = stats.beta(k, rows + 1 - k).interval(INTERVAL)
    return float(low), float(high)


def realised_count(rows: int, k: int, future_rows: int) -> tuple[int, int]:
    """Return the interval that holds the number of alerts among `future_rows` rows at least 9 times in 10.

    The count follows the beta-binomial law with parameters (future_rows, k, rows + 1 - k): the rate of
    `realised_rate` and the chance of the rows to come, together.
    """
    from scipy import stats

    low, high = stats.betabinom(future_rows, k, rows + 1 - k).interval(INTERVAL)
    return int(low), int(high)


def false_alert_rate(normal_scores: np.ndarray, all_scores: np.ndarray, days: float, rate: float) -> Threshold:
    """Flag at most this share of normal rows, by the conformal quantile of the block's normal rows.

    With n normal scores the cut is the k-th largest, k = floor(rate (n + 1)): a row is flagged exactly when
    its p-value is at most the rate.

    Parameters
    ----------
    normal_scores : array of shape (n,)
        Scores of the block's normal rows.
    all_scores : array of shape (n_rows,)
        Scores of all rows of the block, fraud and unlabelled rows included: for the volume to expect.
    days : float
        Length of the block in days.
    rate : float
        In (0, 1).

    Raises
    ------
    TrainingError
        When there are too few normal rows for the rate (k = 0).
    """
    rows = len(normal_scores)
    k = rank_for_rate(rows, rate)
    if k == 0:
        needed = math.ceil(1 / rate) - 1
        needed += rank_for_rate(needed, rate) == 0
        raise TrainingError(
            f"a false-alert rate of {rate:g} needs at least {needed:,} normal rows to calibrate on and there "
            f"are {rows:,}; train on a longer period, or raise threshold.false_alert_rate to at least "
            f"{1 / (rows + 1):.2g}"
        )
    value = float(np.partition(normal_scores, rows - k)[rows - k])
    share = float(np.mean(all_scores > value))
    low, high = realised_rate(rows, k)
    promise = (
        f"At most {_percent(rate)} of normal rows are flagged on average (nine times in ten between "
        f"{_percent(low)} and {_percent(high)} in the long run), and all rows together give about "
        f"{_per_day(share * len(all_scores), days)} ({_percent(share)} of rows), as long as rows are "
        f"exchangeable with the {rows:,} normal rows calibrated on."
    )
    return Threshold(value, "false_alert_rate", share * len(all_scores) / days, share, promise)


def capacity(all_scores: np.ndarray, days: float, alerts_per_day: float) -> Threshold:
    """Flag this many rows a calendar day, by a fixed cut solved on all rows of the calibration block.

    Parameters
    ----------
    all_scores : array of shape (n_rows,)
        Scores of all rows of the block, fraud and unlabelled rows included.
    days : float
        Length of the block in days.
    alerts_per_day : float
        Alerts that the team can review a day, above 0.

    Raises
    ------
    TrainingError
        When that is as many as there are rows, or less than one alert in the whole block.
    """
    rows = len(all_scores)
    rows_per_day = rows / days
    k = math.floor(alerts_per_day * days + 1e-9)
    if k >= rows:
        raise TrainingError(
            f"threshold.alerts_per_day is {alerts_per_day:g} and there are only {rows_per_day:,.1f} rows "
            "a day, so that every row would be flagged; lower threshold.alerts_per_day"
        )
    if k == 0:
        raise TrainingError(
            f"threshold.alerts_per_day is {alerts_per_day:g} and the calibration block is {days:.2g} days "
            "long, which makes less than one alert; train on a longer period, or raise "
            f"threshold.alerts_per_day to at least {1 / days:.2g}"
        )
    value = float(np.partition(all_scores, rows - k - 1)[rows - k - 1])
    flagged = int(np.count_nonzero(all_scores > value))
    low, high = realised_count(rows, k + 1, max(1, round(rows_per_day)))
    promise = (
        f"About {_per_day(flagged, days)} ({_percent(flagged / rows)} of rows; nine days in ten between "
        f"{low:,} and {high:,}), as long as days are like the {days:,.1f} days calibrated on: a fixed cut, "
        f"and rows exchangeable with the {rows:,} of that block."
    )
    return Threshold(value, "capacity", flagged / days, flagged / rows, promise)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.01 else f"{100 * share:.3g} %"


def _per_day(alerts: float, days: float) -> str:
    return f"{alerts / days:,.3g} alerts a day" if alerts / days < 1000 else f"{alerts / days:,.0f} alerts a day"
