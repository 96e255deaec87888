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
        ordered = weights[self.order]
        rows = np.cumsum(ordered)[self.ends]
        frauds = np.cumsum(np.append(0, ordered[self.frauds]))
        return frauds[self.frauds_by], rows

    def auroc(self, weights: np.ndarray) -> float:
        """Return the area under the ROC curve; nan where only one class has weight."""
        return self.auroc_and_ap(weights)[0]

    def average_precision(self, weights: np.ndarray) -> float:
        """Return the mean of the precisions at each fraud's rank; nan where only one class has weight."""
        return self.auroc_and_ap(weights)[1]

    def auroc_and_ap(self, weights: np.ndarray) -> tuple[float, float]:
        """Return both, in the time of one."""
        frauds, rows = self.counts(weights)
        if not len(rows) or frauds[-1] == 0 or rows[-1] == frauds[-1]:
            return math.nan, math.nan
        normals = rows - frauds
        area = np.trapezoid(np.append(0, frauds), np.append(0, normals))
        found = np.diff(frauds, prepend=0)
        steps = np.flatnonzero(found)
        precision = frauds[steps] / rows[steps]
        total = float(frauds[-1])
        return float(area) / (total * float(normals[-1])), float(np.sum(found[steps] * precision) / total)
