"""Every measure of scored rows with its bootstrap interval: in all, by segment, and over blocks of time.

What the intervals hold: which customers (or cards) the period brought, drawn as a whole, for measures of rows; which
days it brought, for measures of days. What they leave out is in `LEFT_OUT`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from pipeline.evaluation.bootstrap import DRAWS, Interval, bootstrap, bootstrap_all
from pipeline.evaluation.cards import as_arrays, card_precision_by_day
from pipeline.evaluation.ranking import Ranking

K = 100
LEFT_OUT = (
    "Intervals hold nine of ten bootstrap draws: of whole customers for measures of rows, of whole days for those a "
    "day; fewer than five of them give none. They leave out that frauds come in clusters by terminal or by attack, "
    "that a model fitted again differs, and that later weeks may be unlike these."
)
WITHOUT_CARDS = LEFT_OUT.replace("of whole customers for measures of rows", "of single rows for measures of rows")
MOST_DRAWN = 10**8
LEAST_DRAWS = 100


@dataclass(frozen=True)
class Outcomes:
    """Outcomes: scored rows beside what is known of them; arrays of shape (n_rows,).

    Attributes
    ----------
    days : ndarray of datetime64[D] or numbers
    cards : ndarray or None
        Card or customer; None where the table has neither.
    amounts : ndarray of float64
        Money at stake; below zero and unknown count as none.
    scores : ndarray of float64
    labels : ndarray of float64
        1 fraud, 0 normal, nan not known. A row whose label is not known counts as an alert where it is flagged, and
        is neither fraud nor normal.
    flagged : ndarray of bool
    """

    days: np.ndarray
    cards: np.ndarray | None
    amounts: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    flagged: np.ndarray

    @classmethod
    def of(
        cls,
        days: ArrayLike,
        cards: ArrayLike | None,
        scores: ArrayLike,
        labels: ArrayLike,
        *,
        flagged: ArrayLike,
        amounts: ArrayLike | None = None,
    ) -> Self:
        """Make outcomes of whatever numpy takes for arrays; without amounts, no money is at stake.

        Examples
        --------
        >>> outcomes = Outcomes.of([1, 1], None, [0.2, 0.9], [0, np.nan], flagged=[False, True], amounts=[12, -5])
        >>> outcomes.is_labelled, outcomes.amounts
        (array([ True, False]), array([12.,  0.]))
        """
        values = np.asarray(scores, dtype=np.float64)
        money = np.full(len(values), np.nan) if amounts is None else np.asarray(amounts, dtype=np.float64)
        return cls(
            np.asarray(days),
            None if cards is None else np.asarray(cards),
            np.maximum(np.nan_to_num(money, nan=0.0, posinf=0.0, neginf=0.0), 0.0),
            values,
            np.asarray(labels, dtype=np.float64),
            np.asarray(flagged, dtype=bool),
        )

    @property
    def is_labelled(self) -> np.ndarray:
        """Rows whose label is known; (n_rows,) bool."""
        return ~np.isnan(self.labels)

    @property
    def left_out(self) -> str:
        """What intervals of their measures hold, and what they leave out."""
        return WITHOUT_CARDS if self.cards is None else LEFT_OUT

    def where(self, rows: np.ndarray) -> Self:
        """Return some of the rows, by a mask or by their places."""
        if rows.dtype == bool and rows.all():
            return self
        cards = None if self.cards is None else self.cards[rows]
        return replace(
            self,
            days=self.days[rows],
            cards=cards,
            amounts=self.amounts[rows],
            scores=self.scores[rows],
            labels=self.labels[rows],
            flagged=self.flagged[rows],
        )


def measure(parts: Outcomes | Sequence[Outcomes], k: int = K, draws: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """Return the measures of some rows, or of several blocks of them, with their intervals.

    - ``auroc``, ``average_precision``: over all thresholds. Of several blocks the mean, for scores of different
      models are not on one scale; the customers are drawn over all blocks at once.
    - ``precision``, ``recall``, ``money_recall``: at the threshold. Money-weighted recall is the share of the
      fraudulent amount that is flagged.
    - ``precision_at_k``, ``recall_at_k``, ``money_recall_at_k``: were the k rows with the highest scores of each day
      flagged. The days' cuts stay as they are in every draw.
    - ``card_precision_at_k``: `pipeline.evaluation.cards`, days drawn; nothing is found before a block's first day.
    - ``alerts_per_day``: rows flagged, whether their label is known or not; days drawn, those with rows.

    All but the last are of rows whose label is known. They speak for the others only as far as labels are given
    whatever the score: where mostly alerts get a label, recall looks too high (`pipeline.evaluation.missed`).

    Parameters
    ----------
    parts : Outcomes, or sequence of Outcomes
    k : int
    draws : int
        At most; fewer of very many rows, at least 100.
    seed : int

    Returns
    -------
    dict of str to Interval
        nan where undefined.
    """
    blocks = [parts] if isinstance(parts, Outcomes) else list(parts)
    with_labels = [block.where(block.is_labelled) for block in blocks]
    at_k = [top_of_days(block.days, block.scores, k)[block.is_labelled] for block in blocks]
    rows = sum(len(block.scores) for block in with_labels)
    draws = max(min(draws, MOST_DRAWN // max(rows, 1)), min(draws, LEAST_DRAWS))
    measures = _of_rows(with_labels, at_k, k=k, draws=draws, seed=seed) if rows else {}
    days = np.concatenate([block.days for block in blocks])
    flagged = np.concatenate([block.flagged for block in blocks])
    if all(block.cards is not None for block in with_labels) and rows:
        measures[f"card_precision_at_{k}"] = _of_cards(with_labels, k, draws, seed)
    each, day_of = np.unique(days, return_inverse=True)
    alerts = np.bincount(day_of, weights=flagged, minlength=len(each))
    measures["alerts_per_day"] = bootstrap(
        lambda draw: float(np.average(alerts, weights=draw)) if len(each) else math.nan, each, draws=draws, seed=seed
    )
    return measures


def drawn_as_a_whole(blocks: Sequence[Outcomes]) -> np.ndarray:
    """Return what a bootstrap of rows draws, for all rows of the blocks: cards or, where there are none, rows."""
    cards = [block.cards for block in blocks if block.cards is not None]
    if len(cards) < len(blocks):
        return np.arange(sum(len(block.scores) for block in blocks))
    if len(cards) == 1:
        return cards[0]
    return np.concatenate([np.asarray(each, dtype=object) for each in cards])  # numbers and text stay apart


def top_of_days(days: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
    """Return which rows are among the k with the highest scores of their day; ties go by position.

    Examples
    --------
    >>> top_of_days(np.array([1, 1, 1, 2]), np.array([3.0, 9.0, 5.0, 1.0]), 2)
    array([False,  True,  True,  True])
    """
    order = np.lexsort((np.arange(len(scores)), -scores, days))
    starts = np.flatnonzero(np.append(True, days[order][1:] != days[order][:-1])) if len(order) else order
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    top = np.zeros(len(scores), dtype=bool)
    top[order] = place < k
    return top


class Caught:
    """A catch: what flagging some rows finds, for many different weights of the rows.

    Parameters
    ----------
    flagged, fraud : ndarray of bool, shape (n_rows,)
    money : ndarray of float64, shape (n_rows,)
        At stake in each row.

    Examples
    --------
    >>> caught = Caught(np.array([True, True, False]), np.array([True, False, True]), np.array([30.0, 5.0, 10.0]))
    >>> caught.measures(np.ones(3))
    (0.5, 0.5, 0.75)
    """

    def __init__(self, flagged: np.ndarray, fraud: np.ndarray, money: np.ndarray) -> None:
        self.flagged, self.frauds = np.flatnonzero(flagged), np.flatnonzero(fraud)
        self.hit, self.money = flagged[self.frauds], money[self.frauds]

    def measures(self, weights: np.ndarray) -> tuple[float, float, float]:
        """Return precision, recall and money-weighted recall; nan where undefined."""
        frauds = weights[self.frauds]
        lost, caught = frauds * self.money, frauds[self.hit].sum()
        return (
            _share(caught, weights[self.flagged].sum()),
            _share(caught, frauds.sum()),
            _share(lost[self.hit].sum(), lost.sum()),
        )


def _of_rows(blocks: list[Outcomes], at_k: list[np.ndarray], *, k: int, draws: int, seed: int) -> dict[str, Interval]:
    rankings = [Ranking(*as_arrays(block.scores, block.labels == 1)) for block in blocks]
    cuts = np.cumsum([0, *(len(block.scores) for block in blocks)])
    fraud = np.concatenate([block.labels == 1 for block in blocks])
    money = np.concatenate([block.amounts for block in blocks])
    masks = {"": np.concatenate([block.flagged for block in blocks]), f"_at_{k}": np.concatenate(at_k)}
    caught = [Caught(mask, fraud, money) for mask in masks.values()]

    def metrics(draw: np.ndarray) -> np.ndarray:
        parts = [draw[start:end] for start, end in pairwise(cuts)]
        curves = np.array([ranking.auroc_and_ap(part) for ranking, part in zip(rankings, parts, strict=True)])
        at_cuts = [value for each in caught for value in each.measures(draw)]
        return np.array([_mean(curves[:, 0]), _mean(curves[:, 1]), *at_cuts])

    names = ["auroc", "average_precision"]
    names += [f"{name}{at}" for at in masks for name in ("precision", "recall", "money_recall")]
    values, low, high = bootstrap_all(metrics, drawn_as_a_whole(blocks), draws=draws, seed=seed)
    return {name: Interval(float(values[i]), float(low[i]), float(high[i])) for i, name in enumerate(names)}


def _of_cards(blocks: list[Outcomes], k: int, draws: int, seed: int) -> Interval:
    daily = [
        card_precision_by_day(block.days, block.cards, block.scores, block.labels == 1, k=k)  # type: ignore[arg-type]
        for block in blocks
    ]
    precision = np.concatenate([each.precision for each in daily])
    some = ~np.isnan(precision)
    # Two blocks of one day, as overlapping ones have, are two values of it.
    days = np.concatenate([each.days for each in daily])
    if not some.any():
        return Interval(math.nan, math.nan, math.nan)
    return bootstrap(lambda draw: float(np.average(precision[some], weights=draw)), days[some], draws=draws, seed=seed)


def _share(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else math.nan


def _mean(values: np.ndarray) -> float:
    """Return the mean over the blocks where it is defined; nan where it is in none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
