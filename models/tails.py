"""What the members of an ensemble say, on one scale: minus the log of a tail probability."""

from typing import Self

import numpy as np
import torch
from torch import Tensor

KNOTS = 512
"""A tail remembers at most this many quantiles."""


class Tail:
    """Turns a score into minus the log of its tail probability, smooth beyond the scores that it was fitted on.

    Up to the 90 % quantile u it is the empirical ``-log P(score >= s)``, straight between quantiles. Beyond, the
    tail is Pareto's: ``-log 0.1 + log(s / u) / xi``, with Hill's estimate of xi, the mean of ``log(s / u)`` over the
    scores above u (Hill, "A simple general approach to inference about the tail of a distribution", 1975).

    Parameters
    ----------
    scores, levels : ndarrays of float64, shape (n_knots,)
        Rising scores, the last one u, and ``-log P`` at each.
    xi : float
        Above 0.

    Examples
    --------
    >>> tail = Tail.fit(np.arange(1.0, 1001.0))
    >>> tail(torch.tensor([1.0, 501.0, 900.1], dtype=torch.float64)).exp().round(decimals=2)
    tensor([ 1.,  2., 10.], dtype=torch.float64)
    """

    def __init__(self, scores: np.ndarray, levels: np.ndarray, xi: float) -> None:
        self.scores, self.levels, self.xi = torch.tensor(scores), torch.tensor(levels), xi

    @classmethod
    def fit(cls, scores: np.ndarray) -> Self:
        """Fit to the scores, 0 or more, of rows that took no part in making them."""
        least = np.finfo(np.float32).tiny
        share = np.linspace(0, 0.9, min(KNOTS, len(scores) + 1))
        knots = np.maximum(np.quantile(scores, share), least)
        above = np.log(scores[scores > knots[-1]] / knots[-1])
        # Scores that are all alike say nothing of a tail; then it falls off as fast as it can.
        xi = max(float(above.mean()) if len(above) else 0.0, 1e-3)
        return cls(*_rising(knots, -np.log1p(-share)), xi)

    def __call__(self, scores: Tensor) -> Tensor:
        """Return minus the log of the tail probability of each score, 0 or more."""
        at = torch.searchsorted(self.scores, scores).clamp_(1, len(self.scores) - 1)
        below, level = self.scores[at - 1], self.levels[at - 1]
        share = ((scores - below) / (self.scores[at] - below)).clamp_(0, 1)
        body = level + share * (self.levels[at] - level)
        return body + (scores / self.scores[-1]).clamp_(min=1).log_().div_(self.xi)


def _rising(scores: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return one knot a score, with the lowest level, and one at zero before them."""
    scores, first = np.unique(scores, return_index=True)
    return np.concatenate([[0.0], scores]), np.concatenate([[0.0], levels[first]])
