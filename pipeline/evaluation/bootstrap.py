"""Bootstrap intervals of metrics: whole customers, or whole days, drawn with replacement.

Rows of one customer are alike, so rows are not drawn one by one: a customer is in a draw with all of its rows, as
often as it was drawn. What the groups leave out, the interval leaves out, too: with customers as groups, frauds that
come in clusters by terminal, and the chance in fitting a model, make the truth less certain than it says.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pipeline.numbers import narrow_number, percent

Metric = Callable[[np.ndarray], float]
LEVEL = 0.9
DRAWS = 500
LEAST_GROUPS = 5
"""Of fewer the draws hold next to nothing: two days have three means, whatever other days would have brought."""


@dataclass(frozen=True)
class Interval:
    """An interval: a metric's value and the ends around it; nan where undefined.

    Attributes
    ----------
    value, low, high : float

    Examples
    --------
    >>> print(Interval(0.639, 0.601, 0.672))
    .639 (.601 to .672)
    >>> f"{Interval(0.639, 0.601, 0.672):%}"
    '63.9 % (60.1 % to 67.2 %)'
    >>> print(Interval(0.5, math.nan, math.nan), Interval(math.nan, math.nan, math.nan))
    .500 undefined
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return the three numbers with three decimals, without a zero before the point."""
        return format(self, "")

    def __format__(self, spec: str) -> str:
        """Return the three numbers, each in a number's format; "%" writes them in per cent."""
        if math.isnan(self.value):
            return "undefined"
        writers: dict[str, Callable[[float], str]] = {"": narrow_number, "%": percent}
        write = writers.get(spec, lambda x: format(x, spec))
        value, low, high = (write(x) for x in (self.value, self.low, self.high))
        return value if math.isnan(self.low) or math.isnan(self.high) else f"{value} ({low} to {high})"


def weights(groups: ArrayLike, draws: int = DRAWS, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield how often each row is in each bootstrap draw of whole groups.

    Parameters
    ----------
    groups : array-like, shape (n_rows,)
        The customer, or day, of each row. A missing value is a group like any other.
    draws : int
    seed : int
        The same groups and seed give the same draws, in whatever order the rows come.

    Yields
    ------
    ndarray of int64, shape (n_rows,)
        The number of times that the row's group was drawn; as many groups are drawn as there are.

    Examples
    --------
    >>> for draw in weights(["a", "b", "b", "c"], draws=2):
    ...     print(draw)
    [0 2 2 1]
    [3 0 0 0]
    """
    yield from _weights(*_codes(groups), draws, seed)


def bootstrap(
    metric: Metric, groups: ArrayLike, *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Interval:
    """Return a metric with its bootstrap interval, of percentiles expanded for few groups.

    Plain percentiles of a mean over few groups, such as seven days, are too narrow: they lack the factor
    sqrt((n - 1) / n) of a standard deviation and the tails of Student's t. The percentiles taken lie further out by
    both; of hundreds of groups they are the plain ones. [1]_

    Parameters
    ----------
    metric : callable
        Takes the weights of the rows, int64 of shape (n_rows,), and returns a number, nan where it is undefined.
        The value itself is that of weights of one.
    groups : array-like, shape (n_rows,)
        What is drawn as a whole: the customer, or day, of each row.
    draws, seed : int
    level : float
        Share of the draws inside the interval, in 0..1 without the ends.

    Returns
    -------
    Interval
        The ends are nan with fewer than five groups, and where so many draws leave the metric undefined that they
        could hold an end: such a draw counts as below the low end and above the high one.

    References
    ----------
    .. [1] Hesterberg: What Teachers Should Know About the Bootstrap, The American Statistician 69, 2015, section 3.3
       (expanded percentiles).

    Examples
    --------
    >>> values = np.arange(100.0)
    >>> print(f"{bootstrap(lambda draw: np.average(values, weights=draw), np.arange(100)):.1f}")
    49.5 (44.6 to 54.2)
    """
    values, low, high = bootstrap_all(
        lambda draw: np.array([metric(draw)]), groups, draws=draws, seed=seed, level=level
    )
    return Interval(float(values[0]), float(low[0]), float(high[0]))


def bootstrap_all(
    metrics: Callable[[np.ndarray], np.ndarray],
    groups: ArrayLike,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return several metrics at once, each with its interval as :func:`bootstrap` gives it, from the same draws.

    Parameters
    ----------
    metrics : callable
        Takes the weights of the rows and returns an array of shape (n_metrics,).
    groups, draws, seed, level
        As for :func:`bootstrap`.

    Returns
    -------
    values, low, high : ndarray of float64, shape (n_metrics,)
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it has to lie between 0 and 1")
    codes, count = _codes(groups)
    values = np.asarray(metrics(np.ones(len(codes), dtype=np.int64)), dtype=np.float64)
    if count < LEAST_GROUPS or draws < 1:
        return values, np.full(len(values), np.nan), np.full(len(values), np.nan)
    by_draw = np.stack([np.asarray(metrics(draw), dtype=np.float64) for draw in _weights(codes, count, draws, seed)])
    missing = np.isnan(by_draw)
    tail = expanded((1 - level) / 2, count)
    low = np.quantile(np.where(missing, -np.inf, by_draw), tail, axis=0, method="lower")
    high = np.quantile(np.where(missing, np.inf, by_draw), 1 - tail, axis=0, method="higher")
    undefined = np.isnan(values)
    low, high = (np.where(np.isfinite(end) & ~undefined, end, np.nan) for end in (low, high))
    return values, low, high


def expanded(tail: float, groups: int) -> float:
    """Return the share of the draws to leave out at each end, for a share wanted, with so many groups.

    Examples
    --------
    >>> [round(expanded(0.05, groups), 4) for groups in (5, 7, 30, 5000)]
    [0.0086, 0.0179, 0.042, 0.05]
    """
    from scipy.stats import norm, t

    return float(norm.cdf(math.sqrt(groups / (groups - 1)) * t.ppf(tail, groups - 1)))


def _weights(codes: np.ndarray, count: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    for _ in range(draws if count else 0):
        yield np.bincount(rng.integers(0, count, count), minlength=count).astype(np.int64, copy=False)[codes]


def _codes(groups: ArrayLike) -> tuple[np.ndarray, int]:
    """Number the groups in their order, not that of the rows; return each row's number and how many there are."""
    import pandas as pd

    codes, names = pd.factorize(np.asarray(groups), sort=True)
    missing = codes < 0  # last, wherever they come: left to itself, pandas sorts a missing value among others by chance
    codes[missing] = len(names)
    return codes, len(names) + bool(missing.any())
