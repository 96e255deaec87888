"""The contract of models that reconstruct rows: Autoencoder."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from models.blocks import in_blocks
from models.one_class import OneClassModel
from models.settings import RowSource


class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, OneClassModel):
    """A one-class model that scores how far a row is from what it expects the row to be.

    It is a scikit-learn transformer too, from rows to their codes. A subclass gives ``_reconstruct``, ``_encode`` and
    ``_contributions``, each from a block of rows to as many rows; where it holds fit rows, also
    ``_fit_row_contributions``. Rows are scored in blocks of one size, so that a row's score is the same to the last
    bit in whatever batch it comes.

    Every method takes an array or frame of shape (n_rows, n_columns), or a table on disk as ``fit`` does.

    Examples
    --------
    >>> import numpy as np
    >>> from models.dense import LinearAutoencoder
    >>> rows = np.random.default_rng(0).normal(size=(500, 4))
    >>> model = LinearAutoencoder(code_size=2).fit(rows)
    >>> bool(np.allclose(model.contributions(rows).sum(axis=1), model.anomaly_score(rows)))
    True
    >>> model.transform(rows).shape
    (500, 2)
    >>> model.get_feature_names_out()
    array(['linearautoencoder0', 'linearautoencoder1'], dtype=object)
    """

    _reads_from_disk: ClassVar[bool] = True

    def contributions(self, X: ArrayLike | RowSource) -> np.ndarray:
        """Return each column's part in the score, float64 of shape (n_rows, n_columns); they sum to it."""
        return in_blocks(self._check_rows(X), lambda block: self._contributions(block)[:, : block.shape[1]])

    def residuals(self, X: ArrayLike | RowSource) -> np.ndarray:
        """Return the rows less their reconstruction, float32 of shape (n_rows, n_columns)."""
        return in_blocks(self._check_rows(X), self._residuals)

    def reconstruct(self, X: ArrayLike | RowSource) -> np.ndarray:
        """Return what the model expects the rows to be, float32 of shape (n_rows, n_columns)."""
        return in_blocks(self._check_rows(X), self._reconstruct)

    def encode(self, X: ArrayLike | RowSource) -> np.ndarray:
        """Return the rows' codes, float32 of shape (n_rows, code_size)."""
        return in_blocks(self._check_rows(X), self._encode)

    def transform(self, X: ArrayLike | RowSource) -> np.ndarray:
        """Return ``encode(X)``, under scikit-learn's name; ``set_output`` makes it a frame."""
        return self.encode(X)

    @property
    def _n_features_out(self) -> int:
        """The width of a code, for scikit-learn's ``get_feature_names_out``."""
        check_is_fitted(self)
        return in_blocks(np.zeros((1, self.n_features_in_), np.float32), self._encode).shape[1]

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags; codes are float32, whatever the rows are."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _scores(self, rows: np.ndarray | RowSource) -> np.ndarray:
        return self._sums(rows, self._contributions)

    def _fit_row_scores(self, rows: np.ndarray | RowSource) -> np.ndarray:
        return self._sums(rows, self._fit_row_contributions)

    def _sums(self, rows: np.ndarray | RowSource, contributions: Callable[[Tensor], Tensor]) -> np.ndarray:
        scores = in_blocks(rows, lambda block: contributions(block).sum(dim=1))
        return self._require_finite(scores, rows)

    def _residuals(self, block: Tensor) -> Tensor:
        return block - self._reconstruct(block)

    @abstractmethod
    def _reconstruct(self, block: Tensor) -> Tensor:
        """Return what the model expects the rows of a block to be, of the block's shape."""

    @abstractmethod
    def _encode(self, block: Tensor) -> Tensor:
        """Return the codes of a block's rows, shape (n_rows, code_size)."""

    @abstractmethod
    def _contributions(self, block: Tensor) -> Tensor:
        """Return the columns' parts in the score, float64, a row each; columns beyond the block's are zero."""

    def _fit_row_contributions(self, block: Tensor) -> Tensor:
        """Return the same for fit rows, each judged by the others; as for any row unless the model holds rows."""
        return self._contributions(block)
