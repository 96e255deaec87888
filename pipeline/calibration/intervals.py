"""How far what comes may lie from what was promised: each interval holds it nine times in ten."""

import math

import numpy as np

INTERVAL = 0.9
"""How often an interval holds what comes."""
LOW, HIGH = (1 - INTERVAL) / 2, (1 + INTERVAL) / 2
"""The quantiles that an interval lies between."""
COUNTS_AT_A_TIME = 2**16


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


def rows_for_rate(rate: float) -> int:
    """Return the fewest rows for which `rank_for_rate` is not 0.

    Examples
    --------
    >>> rows_for_rate(0.01), rows_for_rate(0.29)
    (99, 3)
    """
    rows = math.ceil(1 / rate) - 1
    return rows + (rank_for_rate(rows, rate) == 0)


def realised_rate(rows: int, k: int) -> tuple[float, float]:
    """Return what holds the long-run share above the k-th largest of `rows` scores, 9 times in 10.

    Over draws of the calibration rows, the share of further exchangeable rows above their k-th largest score
    follows Beta(k, rows + 1 - k) when scores have no ties (Vovk, Conditional validity of inductive conformal
    predictors, ACML 2012, proposition 2a); with ties it is lower.

    Returns
    -------
    tuple of float
        The 5 % and 95 % quantiles, each in [0, 1].

    Examples
    --------
    >>> [round(bound, 4) for bound in realised_rate(999, 10)]
    [0.0054, 0.0157]
    """
    from scipy import stats

    low, high = stats.beta(k, rows + 1 - k).interval(INTERVAL)
    return float(low), float(high)


def realised_count(rows: int, k: int, future_rows: int) -> tuple[int, int]:
    """Return the interval that holds the number of alerts among `future_rows` rows at least 9 times in 10.

    The count follows the beta-binomial law with parameters (future_rows, k, rows + 1 - k): the rate of
    `realised_rate` and the chance of the rows to come, together.

    Examples
    --------
    >>> realised_count(999, 10, 1000)
    (4, 18)
    """
    return _beta_binomial(future_rows, k, rows + 1 - k)


def predicted_count(successes: int, trials: int, future_trials: int) -> tuple[int, int]:
    """Return the interval for the successes among further trials, after so many among those seen.

    The beta-binomial law that follows from Jeffreys' prior, Beta(1/2, 1/2), for the share (Brown, Cai and DasGupta,
    Interval estimation for a binomial proportion, Statistical Science 16(2), 2001).

    Examples
    --------
    >>> predicted_count(10, 100, 50)
    (1, 10)
    """
    return _beta_binomial(future_trials, successes + 0.5, trials - successes + 0.5)


def _beta_binomial(trials: int, a: float, b: float) -> tuple[int, int]:
    """Return the 5 % and 95 % quantiles of a beta-binomial law: the least counts whose share of the law is as large.

    The law is added up from 0 to there and no further, some counts at a time: there may be many millions.
    """
    from scipy import stats

    law, bounds = stats.betabinom(trials, a, b), list[int]()
    start, below = 0, 0.0
    for share in (LOW, HIGH):
        while True:
            counts = np.arange(start, min(start + COUNTS_AT_A_TIME, trials + 1))
            up_to = below + np.cumsum(law.pmf(counts))
            if up_to[-1] >= share or counts[-1] == trials:
                bounds.append(start + min(int(np.searchsorted(up_to, share)), len(counts) - 1))
                break
            start, below = start + len(counts), float(up_to[-1])
    return bounds[0], bounds[1]


def share_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the interval of a share itself, by Jeffreys' prior as in `predicted_count`: two bounds in [0, 1].

    Examples
    --------
    >>> [round(bound, 3) for bound in share_interval(10, 100)]
    [0.059, 0.158]
    """
    from scipy import stats

    low, high = stats.beta(successes + 0.5, trials - successes + 0.5).interval(INTERVAL)
    return float(low), float(high)


def queue_interval(mean: float, variance: float, days: float, future_days: int = 1) -> tuple[int, int]:
    """Return the interval for the alerts of so many days to come, from those of the days seen.

    Alerts of a day are counts whose rate differs from day to day. Their variance is chance, which is as large as the
    mean (Poisson), and what the days seen vary beyond that. The mean of few days is uncertain itself, so that over
    m days to come, D seen, the variance is m (1 + m / D) times that of a day, and what was estimated beyond chance
    weighs as Student's t with D - 1 degrees of freedom has it. The law is the negative binomial of that mean and
    variance; without a difference between the days it is the exact one that follows for a Poisson rate.
    Days count as independent: a drift of the scores is not in it.

    Parameters
    ----------
    mean : float
        Alerts a day, over the days seen.
    variance : float
        Of the days' counts, with D - 1 in the denominator; nan where fewer than two days were seen: chance alone.
    days : float
        Days seen, D.
    future_days : int
        Days to come, m.

    Returns
    -------
    tuple of int
        What the number of alerts is at least and at most, nine times in ten.

    Examples
    --------
    >>> queue_interval(100, 100, 8), queue_interval(100, 900, 8), queue_interval(100, 900, 8, 7)
    ((83, 118), (48, 166), (510, 914))
    """
    from scipy import special, stats

    alerts = future_days * mean
    if alerts == 0:
        low, high = stats.nbinom.ppf([LOW, HIGH], 0.5, days / (days + future_days))
        return int(low), int(high)
    excess = 0.0
    if not math.isnan(variance) and variance > mean:
        excess = (variance - mean) * (special.stdtrit(days - 1, HIGH) / special.ndtri(HIGH)) ** 2
    spread = future_days * (1 + future_days / days) * (mean + excess)
    low, high = stats.nbinom.ppf([LOW, HIGH], alerts**2 / (spread - alerts), alerts / spread)
    return int(low), int(high)


def day_variance(counts: np.ndarray) -> float:
    """Return the variance of the days' counts with D - 1 in the denominator; nan for fewer than two days.

    Examples
    --------
    >>> day_variance(np.array([8, 10, 12])), day_variance(np.array([8]))
    (4.0, nan)
    """
    return float(np.var(counts, ddof=1)) if len(counts) > 1 else math.nan
