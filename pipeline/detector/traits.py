"""What a few known frauds have in common, column by column, where they are too few for trees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from pipeline.calibration.p_values import Calibration

if TYPE_CHECKING:
    from models.one_class import OneClassModel
    from models.ranks import ExponentialTail

PULL = 10.0
"""How strongly weights are drawn to zero: what about as many frauds say outweighs it."""
COUNTS = 0.25
"""How much of the one-class score is added for each unit of -log p that a row is like the frauds."""
REFERENCE_ROWS = 2_000
"""Normal rows that a column's values are held against, at most: log 2,000 is what one value says at most."""


@dataclass(frozen=True, eq=False)
class Traits:
    """A one-class score, raised where a row stands out in the columns in which known frauds do, and never lowered.

    With a, the -log p of the one-class score among normal rows, and b, that of the weighted sum of the columns' own
    -log p, a row scores ``a * (1 + COUNTS * b)``: what looks like the frauds and is usual to the model stays low, and
    what is unusual and unlike them keeps its score.

    Parameters
    ----------
    reference : array of shape (n_reference_rows, n_columns), float32
        Normal rows that the model was not fitted on, each column rising.
    weights : array of shape (2, n_columns), float64
        What a value counts that few reference rows reach, and one that few lie below; 0 or more.
    tails : mapping of str to ExponentialTail
        "model" and "columns": -log p of a one-class score and of a weighted sum, by normal rows.
    alone : Calibration
        Of the model's own scores of the calibration block's normal rows.
    """

    reference: np.ndarray
    weights: np.ndarray
    tails: Mapping[str, "ExponentialTail"]
    alone: Calibration

    @classmethod
    def fit(cls, model: "OneClassModel", normal: np.ndarray, frauds: np.ndarray, alone: Calibration) -> Self:
        """Learn what frauds have in common.

        Parameters
        ----------
        model : OneClassModel
            The one whose scores are raised.
        normal : array of shape (n_normal_rows, n_columns)
            Encoded rows that took no part in fitting it.
        frauds : array of shape (n_frauds, n_columns)
        alone : Calibration
        """
        from models.ranks import ExponentialTail

        reference = np.sort(normal[:: -(-len(normal) // REFERENCE_ROWS)], axis=0)
        levels = column_levels(reference, normal)
        weights = fit_weights(levels, column_levels(reference, frauds))
        scores = {"model": np.asarray(model.anomaly_score(normal), dtype=np.float64), "columns": levels @ weights}
        tails = {name: ExponentialTail.fit(values) for name, values in scores.items()}
        return cls(reference, weights.reshape(2, -1), tails, alone)

    def both(self, model: "OneClassModel", matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the raised score of each encoded row, and that of the model, float64 of shape (n_rows,)."""
        one_class = np.asarray(model.anomaly_score(matrix), dtype=np.float64)
        likeness = self.tails["columns"](self._sums(matrix))
        return self.tails["model"](one_class) * (1 + COUNTS * likeness), one_class

    def strongest(self, features: Sequence[str], limit: int = 3) -> list[str]:
        """Return the features that count most, of those that count at all, by the feature of each column."""
        weights = dict.fromkeys(features, 0.0)
        for feature, weight in zip(features, self.weights.sum(axis=0), strict=True):
            weights[feature] += float(weight)
        return [feature for feature in sorted(weights, key=lambda name: -weights[name])[:limit] if weights[feature] > 0]

    def _sums(self, matrix: np.ndarray) -> np.ndarray:
        """Return the weighted sum of the columns' levels."""
        # A product of matrices would round a row by the rows that it comes with.
        sums = np.zeros(len(matrix))
        for column in np.flatnonzero(self.weights.any(axis=0)):
            upper, lower = _levels(self.reference[:, column], matrix[:, column])
            sums += self.weights[0, column] * upper + self.weights[1, column] * lower
        return sums

    def save(self, folder: Path) -> None:
        """Write traits.safetensors into a folder, which is made."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"reference": self.reference, "weights": self.weights, "alone": self.alone.scores}
        for name, tail in self.tails.items():
            arrays |= {f"tail.{name}.{part}": array for part, array in tail.arrays().items()}
        # A safetensors file holds an array as it lies in memory.
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / "traits.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        from models.one_class import with_prefix
        from models.ranks import ExponentialTail

        arrays = load_file(folder / "traits.safetensors")
        tails = {
            name: ExponentialTail.from_arrays(with_prefix(arrays, f"tail.{name}.")) for name in ("model", "columns")
        }
        return cls(arrays["reference"], arrays["weights"], tails, Calibration(arrays["alone"]))


def column_levels(reference: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return how seldom reference rows have a value as high, and one as low, as each of a matrix, as -log p.

    Parameters
    ----------
    reference : array of shape (n_reference_rows, n_columns)
        Each column rising.
    matrix : array of shape (n_rows, n_columns)

    Returns
    -------
    array of shape (n_rows, 2 * n_columns), float64
        All columns' upper sides, then their lower sides; from 0 to ``log(1 + n_reference_rows)``.

    Examples
    --------
    >>> column_levels(np.arange(9.0)[:, None], np.array([[8.0], [-1.0], [9.0]])).round(3).tolist()
    [[1.609, 0.0], [0.0, 2.303], [2.303, 0.0]]
    """
    sides = [_levels(*pair) for pair in zip(reference.T, matrix.T, strict=True)]
    return np.column_stack([upper for upper, _ in sides] + [lower for _, lower in sides])


def _levels(reference: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n_rows = len(reference)
    as_high = n_rows - np.searchsorted(reference, values, "left")
    as_low = np.searchsorted(reference, values, "right")
    return np.log((1 + n_rows) / (1 + as_high)), np.log((1 + n_rows) / (1 + as_low))


def fit_weights(normal: np.ndarray, frauds: np.ndarray) -> np.ndarray:
    """Return what each level counts, by a logistic regression whose weights are none below zero.

    Frauds and normal rows weigh as much together. Weights are drawn to zero, by `PULL` times half the sum of their
    squares.

    Parameters
    ----------
    normal : array of shape (n_normal_rows, n_levels)
        Levels of normal rows, 0 or more.
    frauds : array of shape (n_frauds, n_levels)

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> frauds = random.exponential(size=(50, 2)) + np.array([4, 0])
    >>> weights = fit_weights(random.exponential(size=(500, 2)), frauds)
    >>> bool(weights[0] > 0.5), bool(weights[1] < 0.1)
    (True, True)
    """
    from scipy.optimize import minimize

    levels = np.concatenate([frauds, normal])
    signs = np.where(np.arange(len(levels)) < len(frauds), 1.0, -1.0)
    counts = np.where(signs > 0, 1.0, len(frauds) / len(normal))

    def cost(values: np.ndarray) -> tuple[float, np.ndarray]:
        base, slopes = values[0], values[1:]
        margins = signs * (base + levels @ slopes)
        errors = -signs * counts / (1 + np.exp(np.minimum(margins, 500)))
        loss = (counts * np.logaddexp(0, -margins)).sum() + PULL / 2 * np.square(slopes).sum()
        return float(loss), np.concatenate([[errors.sum()], errors @ levels + PULL * slopes])

    n_levels = levels.shape[1]
    start = np.concatenate([[-1.0], np.full(n_levels, 0.01)])
    bounds = [(None, None)] + [(0.0, None)] * n_levels
    return np.asarray(minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds).x[1:])
