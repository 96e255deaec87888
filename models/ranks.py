"""Values by their ranks: columns on the scale of a normal distribution, scores on that of their tail probability."""

import math
from collections.abc import Mapping
from typing import Self

import numpy as np
import torch
from scipy.special import ndtri
from scipy.stats import rankdata
from torch import Tensor

RANK_KNOTS = 1024
"""A column remembers at most this many of its values."""
TAIL_KNOTS = 512
"""A tail remembers at most this many quantiles."""


class NormalRanks:
    """Maps each value to the normal quantile of its rank among the fit rows of its column.

    With n fit rows the value of rank r, the mean rank of all that equal it, becomes ``Phi^-1(r / (n + 1))`` (van der
    Waerden's scores, 1952), and what lies between two values is interpolated. Beyond the values seen it goes on
    one for one, in units of the matrix, so that what was never seen is not called merely the highest. A value that
    most rows have lies in the middle.

    Parameters
    ----------
    values, scores : ndarrays of float32, shape (n_columns, n_knots)
        Each column's rising values, filled up with infinity, and their scores, filled up with the last one.

    Examples
    --------
    >>> ranks = NormalRanks.fit(np.array([[1.0], [10.0], [1000.0]]))
    >>> ranks(torch.tensor([[1.0], [10.0], [505.0], [1002.0]]))[:, 0]
    tensor([-0.6745,  0.0000,  0.3372,  2.6745])
    """

    def __init__(self, values: np.ndarray, scores: np.ndarray) -> None:
        self.values, self.scores = torch.tensor(values), torch.tensor(scores)
        last = self.values.isfinite().sum(dim=1, keepdim=True) - 1
        self._lowest, self._highest = self.values[:, :1], self.values.gather(1, last)
        self._last = last.clamp(min=1)

    @classmethod
    def fit(cls, rows: np.ndarray) -> Self:
        """Fit to rows of shape (n_rows, n_columns)."""
        knots = [_knots(column) for column in np.asarray(rows, dtype=np.float32).T]
        n_knots = max(2, *(len(values) for values, _ in knots))
        pairs = [
            (np.pad(v, (0, n_knots - len(v)), constant_values=np.inf), np.pad(s, (0, n_knots - len(s)), mode="edge"))
            for v, s in knots
        ]
        return cls(np.array([v for v, _ in pairs]), np.array([s for _, s in pairs]))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild from ``arrays()``."""
        return cls(arrays["values"], arrays["scores"])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return ``values`` and ``scores``."""
        return {"values": self.values.numpy(), "scores": self.scores.numpy()}

    def __call__(self, rows: Tensor) -> Tensor:
        """Map rows, float32 of shape (n_rows, n_columns)."""
        columns = rows.T.contiguous()
        at = torch.searchsorted(self.values, columns).clamp_(min=1).minimum(self._last)
        below, above = self.values.gather(1, at - 1), self.values.gather(1, at)
        low, high = self.scores.gather(1, at - 1), self.scores.gather(1, at)
        share = ((columns - below) / (above - below)).clamp_(0, 1)  # 0 beside an infinite value
        beyond = (columns - self._highest).clamp_(min=0) - (self._lowest - columns).clamp_(min=0)
        return low.lerp_(high, share).add_(beyond).T.contiguous()


def surprisal(scores: Tensor) -> Tensor:
    """Return minus the log of each normal score's two-sided tail probability, 0 or more; float64 of the same shape.

    Examples
    --------
    >>> surprisal(torch.tensor([0.0, 1.96])).neg().exp().round(decimals=3)
    tensor([1.0000, 0.0500], dtype=torch.float64)
    """
    return torch.special.log_ndtr(-scores.double().abs()).add_(math.log(2)).neg_().clamp_(min=0)


def _knots(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a column's values in order, at most ``RANK_KNOTS`` of them, evenly by rank, with their normal scores."""
    ranks = rankdata(column)
    values, first = np.unique(column, return_index=True)
    scores = ndtri(ranks[first] / (len(column) + 1)).astype(np.float32)
    if len(values) > RANK_KNOTS:
        even = np.linspace(ranks[first[0]], ranks[first[-1]], RANK_KNOTS)
        places = np.unique(np.searchsorted(ranks[first], even))
        values, scores = values[places], scores[places]
    return values, scores


class MemberTail:
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
    >>> tail = MemberTail.fit(np.arange(1.0, 1001.0))
    >>> tail(torch.tensor([1.0, 501.0, 900.1], dtype=torch.float64)).exp().round(decimals=2)
    tensor([ 1.,  2., 10.], dtype=torch.float64)
    """

    def __init__(self, scores: np.ndarray, levels: np.ndarray, xi: float) -> None:
        self.scores, self.levels, self.xi = torch.tensor(scores), torch.tensor(levels), xi

    @classmethod
    def fit(cls, scores: np.ndarray) -> Self:
        """Fit to the scores, 0 or more, of rows that took no part in making them."""
        least = np.finfo(np.float32).tiny
        share = np.linspace(0, 0.9, min(TAIL_KNOTS, len(scores) + 1))
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


class ExponentialTail:
    """Turns a score of any sign into minus the log of its tail probability, straight beyond the highest hundredth.

    Up to the 99 % quantile u it is the empirical ``-log P(score >= s)``, straight between quantiles. Beyond, scores are
    taken to fall off exponentially, at the rate that the mean excess over u says: ``-log 0.01 + (s - u) / mean``, the
    generalised Pareto tail of shape 0 (Pickands, "Statistical inference using extreme order statistics", 1975). What is
    far beyond all that was seen goes on to count, where ``MemberTail`` takes its logarithm.

    Parameters
    ----------
    scores, levels : ndarrays of float64, shape (n_knots,)
        Rising scores, the last one u, and ``-log P`` at each.
    excess : float
        Mean of ``s - u`` over the scores above u, above 0.

    Examples
    --------
    >>> tail = ExponentialTail.fit(np.arange(1.0, 1001.0))
    >>> np.exp(tail(np.array([-5.0, 501.0, 990.01]))).round(decimals=1).tolist()
    [1.0, 2.0, 100.0]
    """

    def __init__(self, scores: np.ndarray, levels: np.ndarray, excess: float) -> None:
        self.scores, self.levels, self.excess = scores, levels, excess

    @classmethod
    def fit(cls, scores: np.ndarray, *, least: float = 0.0) -> Self:
        """Fit to the scores of normal rows that took no part in making them, one at least.

        ``least`` is the least mean excess, in the unit of the scores, for those that may all be alike.
        """
        # As many knots in each tenfold of rarity.
        share = 1 - np.geomspace(1, 0.01, min(TAIL_KNOTS, len(scores) + 1))
        knots = np.quantile(scores, share)
        above = scores[scores > knots[-1]] - knots[-1]
        values, first = np.unique(knots, return_index=True)
        # Scores that are all alike say nothing of a tail; then it falls off as fast as it can.
        least = max(least, 1e-6 * float(np.abs(values).max()), float(np.finfo(np.float32).tiny))
        return cls(values, -np.log1p(-share)[first], max(float(above.mean()) if len(above) else 0.0, least))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild from ``arrays()``."""
        return cls(arrays["scores"], arrays["levels"], float(arrays["excess"][0]))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return ``scores``, ``levels`` and ``excess``."""
        return {"scores": self.scores, "levels": self.levels, "excess": np.array([self.excess])}

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Return minus the log of the tail probability of each score, 0 or more; float64 of the same shape."""
        beyond = np.maximum(scores - self.scores[-1], 0) / self.excess
        return np.interp(scores, self.scores, self.levels) + beyond


def _rising(scores: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return one knot a score, with the lowest level, and one at zero before them."""
    scores, first = np.unique(scores, return_index=True)
    return np.concatenate([[0.0], scores]), np.concatenate([[0.0], levels[first]])
