"""Card precision@k: what a team that reviews k cards a day would find."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class DailyPrecision:
    """A daily precision: the card precision of each day, so that days can be drawn.

    Attributes
    ----------
    days : ndarray, shape (n_days,)
        In order.
    precision : ndarray of float64, shape (n_days,)
        In 0..1; all nan where no day has a fraud.
    """

    days: np.ndarray
    precision: np.ndarray

    def mean(self, weights: ArrayLike | None = None) -> float:
        """Return the mean over the days, each counted as often as its weight says; nan without days."""
        counts = np.ones(len(self.days)) if weights is None else np.asarray(weights, dtype=np.float64)
        return float(np.average(self.precision, weights=counts)) if counts.sum() else math.nan


def card_precision_at_k(
    days: ArrayLike, cards: ArrayLike, scores: ArrayLike, is_fraud: ArrayLike, *, k: int = 100
) -> float:
    """Card precision@k: how many of the k cards that a team reviews a day have a fraud that day, on average.

    The mean over the days with rows of :func:`card_precision_by_day`, which says what is counted.

    Examples
    --------
    Card 7 is found on the first day and left out on the second:

    >>> card_precision_at_k([1, 1, 2, 2], [7, 8, 7, 8], [9.0, 1.0, 9.0, 1.0], [1, 0, 1, 1], k=1)
    1.0
    """
    return card_precision_by_day(days, cards, scores, is_fraud, k=k).mean()


def card_precision_by_day(
    days: ArrayLike, cards: ArrayLike, scores: ArrayLike, is_fraud: ArrayLike, *, k: int = 100
) -> DailyPrecision:
    """Card precision@k of each day: how many of the k cards that a team reviews have a fraud that day.

    Each day the cards are ranked by the highest score of their transactions that day. Cards found on an
    earlier day (in its top k, with a fraud) are left out: they are blocked by then. The day's precision is
    the number of cards with a fraud among the top k, divided by k, even on a day with fewer cards. [1]_,
    chapter 4, "Precision top-k metrics". Cards that tie are ranked in order of the card.

    Parameters
    ----------
    days : array-like, shape (n_rows,)
        Day of each row: dates, or numbers that rise with time.
    cards : array-like, shape (n_rows,)
        Card or customer of each row.
    scores : array-like of float, shape (n_rows,)
        Higher = more anomalous; finite.
    is_fraud : array-like of bool or 0/1, shape (n_rows,)
    k : int
        At least 1.

    Returns
    -------
    DailyPrecision
        A value in 0..1 for each day with rows; nan where there is no fraud at all. It stays below 1 when a day has
        fewer than k frauds.

    References
    ----------
    .. [1] Le Borgne, Siblini, Lebichot, Bontempi: Reproducible Machine Learning for Credit Card Fraud
       Detection, Université Libre de Bruxelles, 2022.

    Examples
    --------
    >>> card_precision_by_day([1, 1, 2, 2], [7, 8, 7, 8], [9.0, 1.0, 9.0, 1.0], [1, 0, 0, 0], k=1).precision
    array([1., 0.])
    """
    import pandas as pd

    scores, is_fraud = as_arrays(scores, is_fraud)
    if k < 1:
        raise ValueError(f"k is {k}; at least one card a day has to be reviewed")
    days, cards = np.asarray(days), np.asarray(cards)
    there = np.flatnonzero(~(pd.isna(days) | pd.isna(cards)))
    place, names = pd.factorize(days[there], sort=True)
    by_day = there[np.argsort(place, kind="stable")]
    past_hits: set[Any] = set()
    shares = []
    # Day by day, for a group needs many times the memory of its rows.
    for rows in np.split(by_day, np.cumsum(np.bincount(place, minlength=len(names)))[:-1]) if len(names) else ():
        frame = pd.DataFrame({"card": cards[rows], "score": scores[rows], "fraud": is_fraud[rows]})
        day = frame.groupby("card", as_index=False).max()  # sorted by card
        open_cards = day[~day["card"].isin(past_hits)]
        top = open_cards.sort_values("score", ascending=False, kind="stable").head(k)
        hits = top.loc[top["fraud"], "card"]
        shares.append(len(hits) / k)
        past_hits.update(hits)
    return DailyPrecision(names, np.array(shares) if is_fraud.any() else np.full(len(names), math.nan))


def as_arrays(scores: ArrayLike, is_fraud: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return scores as float64 and labels as bool, both of shape (n_rows,), or say what is wrong with them."""
    values, fraud = np.asarray(scores, dtype=np.float64), np.asarray(is_fraud).astype(bool)
    if values.ndim != 1 or values.shape != fraud.shape:
        raise ValueError(f"scores have shape {values.shape} and labels {fraud.shape}; both must be one number a row")
    if not np.isfinite(values).all():
        raise ValueError("a score is nan or infinite; a metric would silently depend on where it is ranked")
    return values, fraud
