"""Rows sorted by score once, so that a metric can be taken with many different weights, as a bootstrap does."""

import math

import numpy as np
from numpy.typing import ArrayLike


class Ranking:
    """Scored and labelled rows from the highest score down, ties together.

    Weighted metrics are cumulative sums over that order. They equal scikit-learn's with ``sample_weight``, which sorts
    anew for each set of weights.

    Parameters
    ----------
    scores : array-like of float, shape (n_rows,)
        Higher = more anomalous; finite.
    is_fraud : array-like of bool or 0/1, shape (n_rows,)

    Examples
    --------
    >>> ranking = Ranking([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    >>> ranking.auroc(np.ones(4)), round(ranking.average_precision(np.ones(4)), 4)
    (0.75, 0.8333)
    """

    def __init__(self, scores: ArrayLike, is_fraud: ArrayLike) -> None:
        values = np.asarray(scores, dtype=np.float64)
        self.order = np.argsort(-values, kind="stable")
        self.scores = values[self.order]
        self.fraud = np.asarray(is_fraud).astype(bool)[self.order]
        self.ends = np.flatnonzero(np.append(self.scores[1:] != self.scores[:-1], len(values) > 0))
        self.frauds = np.flatnonzero(self.fraud)
        self.frauds_by = np.searchsorted(self.frauds, self.ends, side="right")
        # Of the different scores, those that a fraud has: what most metrics look at.
        self.hits = np.flatnonzero(np.diff(self.frauds_by, prepend=0))

    def counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weight of frauds, and of all rows, that score at least as high as each different score.

        Parameters
        ----------
        weights : ndarray, shape (n_rows,)
            0 or more, in the order in which the rows were given.

        Returns
        -------
        frauds, rows : ndarray, shape (n_different_scores,)
            By falling score.
        """
        return self._frauds(weights)[self.frauds_by], np.cumsum(weights[self.order])[self.ends]

    def found(self, weights: np.ndarray, highest: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the weight of the frauds that have one of the highest scores, and that of all frauds.

        Parameters
        ----------
        weights : ndarray, shape (n_rows,)
        highest : ndarray of int64, shape (n_cuts,)
            How many of the different scores to look at, the highest first.
        """
        frauds = self._frauds(weights)
        return frauds[np.where(highest > 0, self.frauds_by[highest - 1], 0)], frauds[-1]

    def _frauds(self, weights: np.ndarray) -> np.ndarray:
        """Return the weight of the first 0, 1, ... frauds by falling score; shape (n_frauds + 1,)."""
        return np.cumsum(np.append(0, weights[self.order[self.frauds]]))

    def auroc(self, weights: np.ndarray) -> float:
        """Return the area under the ROC curve; nan where only one class has weight."""
        return self.auroc_and_ap(weights)[0]

    def average_precision(self, weights: np.ndarray) -> float:
        """Return the mean of the precisions at each fraud's rank; nan where only one class has weight."""
        return self.auroc_and_ap(weights)[1]

    def auroc_and_ap(self, weights: np.ndarray) -> tuple[float, float]:
        """Return both, in the time of one.

        Both are sums over the frauds: AUROC of the normal rows that score lower, those that score alike counted half.
        """
        if not len(self.hits):
            return math.nan, math.nan
        rows = np.cumsum(weights[self.order])
        at, before = self.ends[self.hits], self.hits - 1
        total, above = rows[-1], np.where(before < 0, 0, rows[self.ends[before]])
        frauds = self._frauds(weights)[self.frauds_by[self.hits]]
        if frauds[-1] == 0 or total == frauds[-1]:
            return math.nan, math.nan
        new_frauds = np.diff(frauds, prepend=0)
        alike = rows[at] - above - new_frauds
        lower = (total - frauds[-1]) - (above - (frauds - new_frauds)) - alike
        area = np.sum(new_frauds * (lower + alike / 2))
        steps = np.flatnonzero(new_frauds)
        precision = frauds[steps] / rows[at][steps]
        fraud = float(frauds[-1])
        return float(area) / (fraud * float(total - frauds[-1])), float(np.sum(new_frauds[steps] * precision) / fraud)
