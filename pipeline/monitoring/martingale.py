"""Whether scores are still distributed as in the calibration block: bets, day by day, against a stated tolerance.

A p-value that is compared with a fixed calibration set says little by itself: the set is finite and no day is like
another, so that with 50,000 rows a night any test of "exactly as then" rejects before long. What is tested here is that
on every day the share of rows with a p-value up to some level lies, as far as the days before tell, between two bounds
(`bounds`): the share of the calibration block, what its days varied, and a tolerance beside.

Each bound is bet against. A day's rows are dealt into blocks, all of one card into the same one, so that blocks are
independent of each other given the day whatever a card's rows have in common; and the capital of a bet that a share S
is on average above m, 1 + λ (S - m) with 0 <= λ <= 1 / m, is not expected to grow from one block to the next as long as
it is not (Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, Journal of the Royal
Statistical Society B 86(1), 2024: the capital process of section 4). The product over a day's blocks is the evidence of
that day: an e-value, whose expectation is at most 1.

Evidence is added up as Shiryaev and Roberts do, R = (R + 1) E, the sum over all days on which somebody could have
begun to bet (Vovk and others, Retrain or not retrain: conformal test martingales for change-point detection, COPA 2021;
Shin, Ramdas and Rinaldo, E-detectors: a nonparametric framework for sequential change detection, NEJSDS 2023). While
the bounds hold, R is not expected to rise by more than 1 a day. A detector that calls at R >= c, and again only after R
was below 1, therefore has at most (T + 1) / (c - 1) calls in T days, on average, although somebody looks at it every
night: c = 365 / calls keeps what is promised for a year. A sum over the last days only is smaller, and keeps it, too.

Departures: no day's evidence of a bet counts for more than the square root of what a call needs, so that one day never
calls, however odd it was, and two may; what a bet has won beyond a call is not kept, so that the alarm ends soon after
its cause. Both only make R smaller.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVELS = (0.01, 0.05, 0.25, 0.5)
"""The levels at which the distribution of p-values is looked at."""
BLOCKS = 64
"""Parts of a day that are bet on one after the other."""
FRACTIONS = (0.1, 0.3, 0.8)
"""What part of the capital a bet may risk: some bets are careful, some bold."""
DEVIATIONS = 4.0
"""Standard deviations by which the calibration block's days differ, that a day may lie beside their share."""
LEAST_DAYS = 5
"""Days of the calibration block from which on their variation is known."""
YEAR = 365.0


@dataclass(frozen=True)
class Bounds:
    """Bounds of the share of a day's rows up to each of `LEVELS`.

    Parameters
    ----------
    usual, low, high : tuple of float
        The share in the calibration block, and the least and the most that a quiet day is expected to have.
    """

    usual: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Course:
    """How the evidence went, day by day.

    Attributes
    ----------
    values : array of shape (n_days,)
        R, the mean over all bets.
    calls : array of bool, shape (n_days,)
        Whether the alarm is on: since R reached the limit, until it was below 1.
    limit : float
    """

    values: np.ndarray
    calls: np.ndarray
    limit: float


def bounds(p_values: np.ndarray, day: np.ndarray, tolerance: float) -> Bounds:
    """Return between which bounds the shares of a quiet day lie, from the rows of a calibration block.

    Parameters
    ----------
    p_values : array of shape (n_rows,)
        Of all rows of the block, known frauds included: a day to come has some, too.
    day : array of int, shape (n_rows,)
    tolerance : float
        How much larger than usual a share may be on average, as a part of it; and smaller, as one over that.

    Examples
    --------
    >>> p_values, day = np.tile(np.arange(1, 1001) / 1000, 10), np.repeat(np.arange(10), 1000)
    >>> [round(share, 3) for share in bounds(p_values, day, 0.5).high]
    [0.015, 0.075, 0.375, 0.75]
    """
    days, place = np.unique(day, return_inverse=True)
    rows = np.bincount(place)
    usual, low, high = [], [], []
    for level in LEVELS:
        is_low = p_values <= level
        share = max(float(is_low.mean()), 1 / (len(p_values) + 1))
        spread = np.sqrt(share * (1 - share) * len(days) / len(p_values))
        if len(days) >= LEAST_DAYS:
            daily = np.bincount(place, is_low) / rows
            variance = np.average((daily - share) ** 2, weights=rows) * len(days) / (len(days) - 1)
            # What chance alone makes of so few rows is no difference between the days: the bets know it.
            spread = np.sqrt(max(variance - share * (1 - share) * len(days) / len(p_values), 0.0))
        usual.append(share)
        low.append(max(float(share / (1 + tolerance) - DEVIATIONS * spread), 0.0))
        high.append(min(float(share * (1 + tolerance) + DEVIATIONS * spread), 1.0))
    return Bounds(tuple(usual), tuple(low), tuple(high))


def evidence(rows: np.ndarray, up_to: np.ndarray, limits: Bounds) -> np.ndarray:
    """Return what a day says against each bound: e-values, above first, then below.

    Against a bound that no day can break, a share of 0 or 1, nothing is bet: 0.

    Parameters
    ----------
    rows : array of int, shape (n_blocks,)
        Rows of the day in each block; empty blocks are passed over.
    up_to : array of int, shape (n_levels, n_blocks)
        Those of them with a p-value up to each level.
    limits : Bounds

    Returns
    -------
    array of shape (2 * n_levels,)

    Examples
    --------
    >>> limits = Bounds((0.01, 0.05, 0.25, 0.5), (0.0, 0.0, 0.1, 0.3), (0.02, 0.1, 0.4, 0.7))
    >>> rows, many = np.full(64, 20), np.repeat([[1], [4], [5], [10]], 64, axis=1)
    >>> (evidence(rows, many, limits) > 1000).tolist()
    [True, True, False, False, False, False, False, False]
    """
    shares = up_to[:, rows > 0] / rows[rows > 0]
    values = []
    for share, high in zip(shares, limits.high, strict=True):
        values.append(_product((share - high) / high) if high < 1 else 0.0)
    for share, low in zip(shares, limits.low, strict=True):
        values.append(_product((low - share) / (1 - low)) if low > 0 else 0.0)
    return np.array(values)


def course(evidences: Sequence[np.ndarray], calls_a_year: float) -> Course:
    """Return how evidence adds up over days, and when it calls.

    Parameters
    ----------
    evidences : sequence of arrays of shape (n_bets,)
        From `evidence`, in the order of the days.
    calls_a_year : float
        How many calls are expected in a year of quiet days, at most.
    """
    limit = YEAR / calls_a_year
    bets = len(evidences[0]) if len(evidences) else 1
    most = bets * limit
    result, is_on = np.zeros(bets), False
    values, calls = [], []
    for day in evidences:
        result = np.minimum((result + 1) * np.minimum(day, np.sqrt(most)), most)
        value = float(result.mean())
        is_on = value >= limit or (is_on and value >= 1)
        values.append(value)
        calls.append(is_on)
    return Course(np.array(values), np.array(calls, dtype=bool), limit)


def _product(gains: np.ndarray) -> float:
    """Return the capital of one unit, parted among the bets, after gains that are at least -1."""
    logs = np.array([np.log1p(fraction * gains).sum() for fraction in FRACTIONS])
    return float(np.exp(np.minimum(logs, 500.0)).mean())
