"""Curves over all thresholds with pointwise bootstrap bands: precision over recall, frauds found over alerts a day."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.evaluation.bootstrap import bootstrap_all
from pipeline.evaluation.measures import Outcomes, drawn_as_a_whole
from pipeline.evaluation.ranking import Ranking

POINTS = 60
BAND_DRAWS = 200
MOST_BAND_DRAWN = 3 * 10**7
LEAST_BAND_DRAWS = 40


@dataclass(frozen=True)
class Curve:
    """A curve with a band; arrays of shape (n_points,).

    Attributes
    ----------
    x, value, low, high : ndarray of float64
        By rising x. ``low`` and ``high`` hold 9 of 10 bootstrap draws at each point by itself, so that the whole
        curve is inside less often; nan where undefined.
    """

    x: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def precision_over_recall(
    parts: Outcomes | Sequence[Outcomes], points: int = POINTS, draws: int = BAND_DRAWS, seed: int = 0
) -> Curve | None:
    """Return the precision at the highest threshold that reaches each recall.

    Parameters
    ----------
    parts : Outcomes, or sequence of Outcomes
        Of several blocks the mean curve: scores of different models are not on one scale.
    points, draws, seed : int
        Of very many rows there are fewer draws, at least 40.

    Returns
    -------
    Curve or None
        None without a fraud and a normal row in any block.
    """
    blocks = _with_both(parts)
    if not blocks:
        return None
    grid = np.linspace(1 / points, 1, points)

    def precision(number: int, ranking: Ranking, draw: np.ndarray) -> np.ndarray:
        frauds, rows = ranking.counts(draw)
        if not frauds[-1]:
            return np.full(points, np.nan)
        first = np.searchsorted(frauds, grid * frauds[-1] * (1 - 1e-12))
        return frauds[first] / rows[first]

    return _banded(blocks, grid, precision, draws=draws, seed=seed)


def found_over_alerts(
    parts: Outcomes | Sequence[Outcomes],
    *,
    by_amount: bool = False,
    points: int = POINTS,
    draws: int = BAND_DRAWS,
    seed: int = 0,
) -> Curve | None:
    """Return the share of the frauds, or of their amount, that a number of alerts a day would find.

    The cut is one for the whole block, as a threshold is, and solved on all of its rows, labelled or not; the recall
    is of the labelled ones.

    Parameters
    ----------
    parts : Outcomes, or sequence of Outcomes
        Of several blocks the mean curve.
    by_amount : bool
        Weight frauds by their amount.
    points, draws, seed : int

    Returns
    -------
    Curve or None
        Up to 5 % of a day's rows or, where that is more, ten times the alerts a day at the threshold. None without
        a fraud and a normal row in any block.
    """
    blocks = _with_both(parts)
    if not blocks:
        return None
    days = [len(np.unique(block.days)) for block in blocks]
    rows = sum(len(block.scores) for block in blocks) / sum(days)
    flagged = sum(int(block.flagged.sum()) for block in blocks) / sum(days)
    most = min(max(0.05 * rows, 10 * flagged, 1.0), rows)
    grid = np.linspace(most / points, most, points)
    with_labels = [block.where(block.is_labelled) for block in blocks]
    highest = []  # for each block, how many different scores reach each cut
    for block, part, n in zip(blocks, with_labels, days, strict=True):
        alerts = np.clip(np.round(grid * n).astype(int), 1, len(block.scores))
        cuts = np.sort(block.scores)[-alerts]
        different = np.unique(part.scores)
        highest.append(len(different) - np.searchsorted(different, cuts))

    def recall(number: int, ranking: Ranking, draw: np.ndarray) -> np.ndarray:
        weights = draw * with_labels[number].amounts if by_amount else draw
        frauds, total = ranking.found(weights, highest[number])
        return frauds / total if total else np.full(points, np.nan)

    return _banded(blocks, grid, recall, draws=draws, seed=seed)


def _with_both(parts: Outcomes | Sequence[Outcomes]) -> list[Outcomes]:
    """Return the blocks that have a fraud and a normal row."""
    blocks = [parts] if isinstance(parts, Outcomes) else list(parts)
    return [block for block in blocks if (block.labels == 1).any() and (block.labels == 0).any()]


def _banded(
    blocks: Sequence[Outcomes],
    grid: np.ndarray,
    curve: Callable[[int, Ranking, np.ndarray], np.ndarray],
    *,
    draws: int,
    seed: int,
) -> Curve:
    """Return the mean of each block's curve over the blocks, with its band."""
    with_labels = [block.where(block.is_labelled) for block in blocks]
    rankings = [Ranking(block.scores, block.labels == 1) for block in with_labels]
    sizes = np.cumsum([0, *(len(block.scores) for block in with_labels)])
    draws = max(min(draws, MOST_BAND_DRAWN // max(int(sizes[-1]), 1)), min(draws, LEAST_BAND_DRAWS))

    def metrics(draw: np.ndarray) -> np.ndarray:
        parts = [draw[start:end] for start, end in pairwise(sizes)]
        return _mean(np.array([curve(n, rankings[n], part) for n, part in enumerate(parts)]))

    return Curve(grid, *bootstrap_all(metrics, drawn_as_a_whole(with_labels), draws=draws, seed=seed))


def _mean(curves: np.ndarray) -> np.ndarray:
    """Return the mean over the blocks where a curve is defined; nan where it is in none."""
    defined = ~np.isnan(curves)
    return np.where(defined.any(axis=0), np.nansum(curves, axis=0) / np.maximum(defined.sum(axis=0), 1), np.nan)
