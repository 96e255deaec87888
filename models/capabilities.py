"""What a model may do beyond scoring rows: small protocols, each asked with ``isinstance``.

if isinstance(model, WithCode):
    codes = model.encode(rows)
"""

from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from models.settings import OnEpoch, RowSource


@runtime_checkable
class WithContributions(Protocol):
    """Says what each column has to do with a row's score."""

    def contributions(self, X: ArrayLike | RowSource) -> np.ndarray:
        """Return each column's part in the score, float64 of shape (n_rows, n_columns); they sum to it."""


@runtime_checkable
class WithReconstruction(Protocol):
    """Says what it expects a row to be."""

    def reconstruct(self, X: ArrayLike | RowSource) -> np.ndarray:
        """Return the expected rows, float32 of shape (n_rows, n_columns)."""


@runtime_checkable
class WithResiduals(Protocol):
    """Says how far each cell is from what it expects."""

    def residuals(self, X: ArrayLike | RowSource) -> np.ndarray:
        """Return the rows less the expected ones, float32 of shape (n_rows, n_columns)."""


@runtime_checkable
class WithCode(Protocol):
    """Has a code: a few numbers that stand for a row."""

    def encode(self, X: ArrayLike | RowSource) -> np.ndarray:
        """Return the rows' codes, float32 of shape (n_rows, code_size)."""


@runtime_checkable
class WithEpochs(Protocol):
    """Was trained in passes over the fit rows; a model that is not fitted yet has none.

    Attributes
    ----------
    epochs_ : list of dict
        Losses of each pass: ``epoch``, ``train_loss`` and, with held-out rows, ``held_out_loss``.
    """

    epochs_: list[dict[str, float]]


@runtime_checkable
class WithProgress(Protocol):
    """Reports each pass over the fit rows while it trains.

    Attributes
    ----------
    on_epoch : callable or None
        Called after each pass.
    """

    on_epoch: OnEpoch | None


@runtime_checkable
class WithEarlyStopping(Protocol):
    """Takes held-out rows that stop its training in time.

    Attributes
    ----------
    patience : int
        Passes without a lower loss on the held-out rows before training stops.
    """

    patience: int

    def fit(self, X: ArrayLike | RowSource, y: object = None, X_held_out: ArrayLike | None = None) -> Self:
        """Fit to normal rows; ``X_held_out`` are normal rows that take no other part."""


@runtime_checkable
class WithTrim(Protocol):
    """Can leave the worst fit rows out in a second fit; a model that is not fitted yet has left out none.

    Attributes
    ----------
    trimmed_ : dict or None
        Number of ``rows`` left out and how far the scores of the others moved; None without a second fit.
    """

    trimmed_: dict[str, float] | None
