"""The contract of every model: a scikit-learn outlier detector that is fitted on normal rows."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from safetensors.numpy import save_file
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from models.blocks import check_streamed, is_streamed
from models.settings import RowSource

MODEL_FORMAT = 3
"""Version of the saved format; a reader refuses any other."""


class OneClassModel(OutlierMixin, BaseEstimator, ABC):
    """A scikit-learn outlier detector that is fitted on normal rows.

    A subclass has a keyword-only constructor with ``contamination`` among its parameters, and gives ``fit``,
    ``_scores``, ``_state`` and ``_restore``. ``fit`` ends with ``_set_offset``.

    scikit-learn's scorers by name ("roc_auc", "average_precision") read ``decision_function``, which is low for
    outliers, so they want labels with -1 for an outlier; for labels with 1 for fraud take those of
    ``models.scorers``.

    Attributes
    ----------
    offset_ : float
        ``score_samples`` below this is an outlier: its ``contamination`` quantile over the fit rows.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only when fitted on a table with column names.
    """

    score_names: ClassVar[tuple[str, ...]] = ()
    """What a parameter ``residual_score`` may be; empty for a model that has no such parameter."""
    _reads_from_disk: ClassVar[bool] = False

    contamination: float

    @abstractmethod
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Fit to normal rows, shape (n_rows, n_columns), finite; ``y`` is ignored."""

    def anomaly_score(self, X: ArrayLike | RowSource) -> np.ndarray:
        """Return one score a row, float64 of shape (n_rows,); higher is more anomalous.

        Raises
        ------
        ValueError
            For a matrix that scikit-learn refuses, for columns that are not those of the fit, and when a row's score
            is not finite: its values are too large for float32.
        """
        return self._scores(self._check_rows(X))

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Return the anomaly score with its sign changed, as scikit-learn has it: lower is more abnormal."""
        return -self.anomaly_score(X)

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return ``score_samples`` less ``offset_``, shape (n_rows,); outliers are below zero."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return -1 for each row whose ``decision_function`` is below zero, else +1."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def fit_row_scores(self, X: ArrayLike | RowSource) -> np.ndarray:
        """Return the scores of rows that the model was fitted on, each judged by the others where it holds rows."""
        return self._fit_row_scores(self._check_rows(X))

    def suspects(self, X: ArrayLike, n: int = 20) -> np.ndarray:
        """Return the positions of the ``n`` fit rows with the highest scores, the highest first, shape (n,).

        These are the first to look at when some of the fit rows may not be normal.
        """
        return np.argsort(-self.fit_row_scores(X), kind="stable")[:n]

    def save(self, folder: str | Path) -> None:
        """Write ``model.json`` and ``model.safetensors`` into a folder, which is made; ``load`` reads them.

        Parameters that JSON cannot hold (a callback, a ``RandomState``) are saved as None, and so is a path.
        """
        check_is_fitted(self)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        values, arrays = self._state()
        content = {
            "format": MODEL_FORMAT,
            "class": type(self).__name__,
            "parameters": self._parameters(),
            "n_features_in": self.n_features_in_,
            "feature_names_in": [str(name) for name in getattr(self, "feature_names_in_", ())],
            "offset": self.offset_,
            **values,
        }
        (folder / "model.json").write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        save_file(arrays, folder / "model.safetensors")

    def _parameters(self) -> dict[str, Any]:
        """Return the parameters as JSON holds them; a checkpoint's folder says nothing elsewhere."""
        return {
            name: None if name == "checkpoint" else _as_json(value)
            for name, value in self.get_params(deep=False).items()
        }

    @abstractmethod
    def _scores(self, rows: Any) -> np.ndarray:
        """Return the scores of rows that are checked, float64 of shape (n_rows,)."""

    def _fit_row_scores(self, rows: Any) -> np.ndarray:
        """Return those of fit rows; the same unless the model holds rows."""
        return self._scores(rows)

    @abstractmethod
    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what the subclass has fitted: values for JSON, arrays for safetensors."""

    @abstractmethod
    def _restore(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what ``_state`` gave; the parameters and ``n_features_in_`` are there already."""

    def _check_fit_rows(self, X: Any) -> Any:
        """Return the rows as a float32 array, or as they are where they are to be read piece by piece."""
        if not 0 < self.contamination <= 0.5:
            raise ValueError(f"contamination={self.contamination!r} must lie above 0 and not above 0.5")
        if self._reads_from_disk and is_streamed(X):
            check_streamed(X, self, reset=True)
            return X
        return validate_data(self, X, dtype=np.float32, order="C", ensure_min_samples=2)

    def _check_rows(self, X: Any) -> Any:
        check_is_fitted(self)
        if self._reads_from_disk and is_streamed(X):
            check_streamed(X, self, reset=False)
            return X
        self._check_order(X)
        return validate_data(self, X, dtype=np.float32, reset=False)

    def _check_held_out(self, X: ArrayLike | None) -> Tensor | None:
        """Return held-out rows as a tensor, checked against the fit rows."""
        if X is None:
            return None
        self._check_order(X)
        return torch.tensor(validate_data(self, X, dtype=np.float32, reset=False))

    def _require_finite(self, scores: np.ndarray, rows: np.ndarray | RowSource) -> np.ndarray:
        """Return the scores, or raise ValueError that names the first row whose values are too large for float32."""
        if not np.isfinite(scores).all():
            row = int(np.flatnonzero(~np.isfinite(scores))[0])
            values = np.asarray(rows[row : row + 1])[0]
            column = int(np.abs(values).argmax())
            raise ValueError(
                f"row {row} has no finite score; its largest value is {values[column]:g}, in column "
                f"{self._column_names()[column]!r}: scale or bound that column"
            )
        return scores

    def _check_order(self, X: Any) -> None:
        """Name the columns that changed places; scikit-learn says only that some did."""
        fitted, names = list(getattr(self, "feature_names_in_", ())), list(getattr(X, "columns", ()))
        if fitted != names and sorted(map(str, fitted)) == sorted(map(str, names)):
            pairs = enumerate(zip(fitted, names, strict=True))
            moved = [f"column {i} was {was!r} and is {now!r}" for i, (was, now) in pairs if was != now]
            more = f"; and {len(moved) - 5} more" if len(moved) > 5 else ""
            raise ValueError(
                "The feature names should match those that were passed during fit.\n"
                "Feature names must be in the same order as they were in fit.\n"
                f"Moved: {'; '.join(moved[:5])}{more}\n"
            )

    def _column_names(self) -> list[str]:
        return [str(name) for name in getattr(self, "feature_names_in_", range(self.n_features_in_))]

    def _set_offset(self, fit_scores: np.ndarray) -> None:
        self.offset_ = float(np.percentile(-fit_scores, 100 * self.contamination))


def with_prefix(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with a prefix, by what comes after it.

    Examples
    --------
    >>> with_prefix({"score.mean": np.zeros(1), "weight": np.ones(1)}, "score.")
    {'mean': array([0.])}
    """
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _as_json(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_as_json(item) for item in value]
    return value if isinstance(value, bool | int | float | str) else None
