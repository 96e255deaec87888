"""Scores made from residuals, each with the columns' contributions that sum to it."""

from collections.abc import Mapping
from typing import ClassVar, Protocol, Self

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf
from torch import Tensor
from torch.nn import functional


class ResidualScore(Protocol):
    """What every score from residuals offers; float64 throughout."""

    @classmethod
    def fit(cls, residuals: np.ndarray) -> Self:
        """Fit to the residuals, shape (n_rows, n_columns), of rows that the model was fitted on."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild from what ``arrays`` gave."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that was fitted, by name, for saving."""

    def contributions(self, residuals: Tensor) -> Tensor:
        """Return each column's part in the score, shape (n_rows, n_columns); they sum to it."""


class MeanSquared:
    """Mean of a row's squared residuals, in squared units of the matrix; 0 or more.

    Examples
    --------
    >>> score = MeanSquared.fit(np.zeros((2, 2)))
    >>> score.contributions(torch.tensor([[1.0, 3.0]], dtype=torch.float64))
    tensor([[0.5000, 4.5000]], dtype=torch.float64)
    """

    @classmethod
    def fit(cls, residuals: np.ndarray) -> Self:
        """Return the score; it has nothing to fit."""
        return cls()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the score; it has nothing to restore."""
        return cls()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return an empty dict: nothing is fitted."""
        return {}

    def contributions(self, residuals: Tensor) -> Tensor:
        """Return the squared residuals over the number of columns, shape (n_rows, n_columns); 0 or more."""
        return residuals.square().div_(residuals.shape[1])


class Mahalanobis:
    """Squared Mahalanobis distance of a row's residuals from those of the fit rows.

    With ``d`` a row's residuals less their mean over the fit rows and ``S`` the covariance of those, shrunk
    as in Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices" (2004),
    the score is ``d' S^-1 d``, about the number of columns for a normal row. Column i contributes
    ``d_i (S^-1 d)_i``, which is negative where the other columns' residuals say more than all of ``d_i``.

    Departs from the paper: the diagonal gets ``floor`` times the mean variance on top. Many rows leave next
    to no shrinkage, and a column that is constant in the fit rows would then blow rounding up to a score.

    Parameters
    ----------
    mean : ndarray of shape (n_columns,)
    precision : ndarray of shape (n_columns, n_columns)
        Inverse of the shrunk covariance.
    """

    floor: ClassVar[float] = 1e-2

    def __init__(self, mean: np.ndarray, precision: np.ndarray) -> None:
        self.mean = torch.tensor(mean, dtype=torch.float64)
        self.precision = torch.tensor(precision, dtype=torch.float64)
        # Rows of 64 bytes or a multiple are rounded alike wherever they stand in a product.
        self._more = -len(mean) % 8
        self._padded = functional.pad(self.precision, (0, self._more, 0, self._more))

    @classmethod
    def fit(cls, residuals: np.ndarray) -> Self:
        """Fit mean and covariance to residuals of shape (n_rows, n_columns), two rows at least."""
        residuals = residuals.astype(np.float64)
        mean = residuals.mean(axis=0)
        residuals -= mean
        covariance, _ = ledoit_wolf(residuals, assume_centered=True)
        variance = np.trace(covariance) / len(covariance)
        # Residuals that are all alike leave no variance at all; then float32's rounding is the unit.
        covariance.flat[:: len(covariance) + 1] += max(cls.floor * variance, np.finfo(np.float32).eps ** 2)
        precision = np.linalg.inv(covariance)
        return cls(mean, (precision + precision.T) / 2)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild from ``arrays()``."""
        return cls(arrays["mean"], arrays["precision"])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return ``mean`` and ``precision``."""
        return {"mean": self.mean.numpy(), "precision": self.precision.numpy()}

    def contributions(self, residuals: Tensor) -> Tensor:
        """Return ``d * (S^-1 d)`` of every row, shape (n_rows, n_columns); signed."""
        centred = residuals - self.mean
        weighted = functional.pad(centred, (0, self._more)) @ self._padded
        return weighted[:, : len(self.mean)] * centred


class Normalised:
    """Mean of a row's squared residuals, each over its column's variance; about 1 for a normal row.

    Residuals are taken less their mean over the fit rows, and the variances get the same ``floor`` as those of
    ``Mahalanobis``, which is this score, but for the number of columns, where residuals do not correlate.

    Parameters
    ----------
    mean, variance : ndarrays of shape (n_columns,)
    """

    def __init__(self, mean: np.ndarray, variance: np.ndarray) -> None:
        self.mean = torch.tensor(mean, dtype=torch.float64)
        self.variance = torch.tensor(variance, dtype=torch.float64)

    @classmethod
    def fit(cls, residuals: np.ndarray) -> Self:
        """Fit mean and variance of each column to residuals of shape (n_rows, n_columns)."""
        residuals = residuals.astype(np.float64)
        variance = residuals.var(axis=0)
        floor = max(Mahalanobis.floor * variance.mean(), np.finfo(np.float32).eps ** 2)
        return cls(residuals.mean(axis=0), variance + floor)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild from ``arrays()``."""
        return cls(arrays["mean"], arrays["variance"])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return ``mean`` and ``variance``."""
        return {"mean": self.mean.numpy(), "variance": self.variance.numpy()}

    def contributions(self, residuals: Tensor) -> Tensor:
        """Return each column's part, shape (n_rows, n_columns); 0 or more."""
        return self._squares(residuals).div_(residuals.shape[1])

    def _squares(self, residuals: Tensor) -> Tensor:
        return (residuals - self.mean).square_().div_(self.variance)


class WorstShare(Normalised):
    """Mean of the worst fifth of a row's squared residuals, each over its column's variance.

    For anomalies that show in few of many columns, which a mean over all of them hides. The other columns
    contribute nothing.
    """

    share: ClassVar[float] = 0.2

    def contributions(self, residuals: Tensor) -> Tensor:
        """Return the worst columns' parts, and zero for the others, shape (n_rows, n_columns); 0 or more."""
        n_worst = max(1, round(self.share * residuals.shape[1]))
        values, columns = self._squares(residuals).topk(n_worst, dim=1)
        return torch.zeros_like(residuals).scatter_(1, columns, values.div_(n_worst))


RESIDUAL_SCORES: dict[str, type[ResidualScore]] = {
    "mean_squared": MeanSquared,
    "normalised": Normalised,
    "mahalanobis": Mahalanobis,
    "worst_share": WorstShare,
}
"""Each score's name, as ``residual_score`` has it, and its class."""
