"""The contracts: OneClassModel, a scikit-learn outlier detector, and Autoencoder on top of it."""

import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from safetensors.numpy import load_file, save_file
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn
from torch.nn import functional

from models import training
from models.scores import SCORES, Score

FORMAT = 1
"""Version of the saved format; a reader refuses any other."""
BLOCK_ROWS = 1024
"""Rows go through a network in blocks of exactly this many, the last one padded."""
COVARIANCE_CELLS = 20_000_000
"""A score is fitted on as many residuals at most, to bound memory; further rows are left out at random."""

_MODULES = {"DenoisingAutoencoder": "models.denoising"}
"""The classes that an artefact may name, and where each lies."""


class OneClassModel(OutlierMixin, BaseEstimator, ABC):
    """A scikit-learn outlier detector that is fitted on normal rows.

    A subclass has a keyword-only constructor with ``contamination`` among its parameters, and gives ``fit``,
    ``anomaly_score``, ``_state`` and ``_restore``. ``fit`` ends with ``_set_offset``.

    Attributes
    ----------
    offset_ : float
        ``score_samples`` below this is an outlier: its ``contamination`` quantile over the fit rows.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only when fitted on a table with column names.
    """

    contamination: float

    @abstractmethod
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Fit to normal rows, shape (n_rows, n_columns), finite; ``y`` is ignored."""

    @abstractmethod
    def anomaly_score(self, X: ArrayLike) -> np.ndarray:
        """Return one score a row, float64 of shape (n_rows,); higher is more anomalous."""

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Return the anomaly score with its sign changed, as scikit-learn has it: lower is more abnormal."""
        return -self.anomaly_score(X)

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return ``score_samples`` less ``offset_``, shape (n_rows,); outliers are below zero."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return -1 for each row whose ``decision_function`` is below zero, else +1."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def save(self, folder: str | Path) -> None:
        """Write ``model.json`` and ``model.safetensors`` into a folder, which is made; ``load`` reads them.

        Parameters that JSON cannot hold (a callback, a ``RandomState``) are saved as None.
        """
        check_is_fitted(self)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        values, arrays = self._state()
        described = {
            "format": FORMAT,
            "class": type(self).__name__,
            "parameters": {name: _as_json(value) for name, value in self.get_params(deep=False).items()},
            "n_features_in": self.n_features_in_,
            "feature_names_in": [str(name) for name in getattr(self, "feature_names_in_", ())],
            "offset": self.offset_,
            **values,
        }
        (folder / "model.json").write_text(json.dumps(described, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        save_file(arrays, folder / "model.safetensors")

    @abstractmethod
    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what the subclass has fitted: values for JSON, arrays for safetensors."""

    @abstractmethod
    def _restore(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what ``_state`` gave; the parameters and ``n_features_in_`` are there already."""

    def _check_fit_rows(self, X: ArrayLike) -> np.ndarray:
        if not 0 < self.contamination <= 0.5:
            raise ValueError(f"contamination={self.contamination!r} must lie above 0 and not above 0.5")
        return validate_data(self, X, dtype=np.float32, order="C", ensure_min_samples=2)

    def _check_rows(self, X: ArrayLike) -> np.ndarray:
        check_is_fitted(self)
        self._check_order(X)
        return validate_data(self, X, dtype=np.float32, reset=False)

    def _check_order(self, X: Any) -> None:
        """Name the columns that changed places; scikit-learn says only that some did."""
        fitted, found = list(getattr(self, "feature_names_in_", ())), list(getattr(X, "columns", ()))
        if fitted != found and sorted(map(str, fitted)) == sorted(map(str, found)):
            pairs = enumerate(zip(fitted, found, strict=True))
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


class Dense(nn.Linear):
    """A linear layer that, once trained, gives a row the same output wherever in a batch the row stands.

    Matrix products take another path, which rounds differently, for a row that does not start on a boundary of
    64 bytes. So outside training rows and weights are padded with zeros to a multiple of 16 numbers. Activations
    after it must be exact arithmetic too: ``exp`` differs between the vectorised part of a tensor and its end.
    """

    def forward(self, rows: Tensor) -> Tensor:
        """Return ``rows @ weight.T + bias``, shape (n_rows, out_features)."""
        more_in, more_out = -self.in_features % 16, -self.out_features % 16
        if self.training or more_in == more_out == 0:
            return super().forward(rows)
        weight = functional.pad(self.weight, (0, more_in, 0, more_out))
        bias = functional.pad(self.bias, (0, more_out))
        return functional.linear(functional.pad(rows, (0, more_in)), weight, bias)[:, : self.out_features]


class Network(nn.Module):
    """An encoder and a decoder, each a module that maps rows to rows."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, batch: Tensor) -> Tensor:
        """Return the reconstruction of a batch, shape (n_rows, n_columns)."""
        return self.decoder(self.encoder(batch))


class Autoencoder(OneClassModel):
    """A one-class model that scores how badly it reconstructs a row.

    A subclass gives ``_build``, ``_loss`` and, in its constructor, the parameters below. Rows are scored in
    blocks of one size, so that a row's score is the same to the last bit in whatever batch it comes.

    Attributes
    ----------
    network_ : Network
    epochs_ : list of dict
        ``epoch``, ``train_loss`` and, with held-out rows, ``held_out_loss``.
    """

    residual_score: str
    batch_size: int
    learning_rate: float
    max_epochs: int
    patience: int
    random_state: int | np.random.RandomState | None
    on_epoch: training.OnEpoch | None

    @abstractmethod
    def _build(self, n_columns: int, generator: torch.Generator) -> Network:
        """Return the network, its weights drawn from the generator."""

    @abstractmethod
    def _loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of each cell of a batch, shape (n_rows, n_columns)."""

    def _check_parameters(self) -> None:
        """Raise ValueError for a parameter out of its range."""
        if self.residual_score not in SCORES:
            raise ValueError(f"residual_score={self.residual_score!r} must be one of {', '.join(map(repr, SCORES))}")
        for name in ("batch_size", "max_epochs", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be 1 or more")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate!r} must be above 0")

    def fit(self, X: ArrayLike, y: object = None, X_held_out: ArrayLike | None = None) -> Self:
        """Fit to normal rows.

        Parameters
        ----------
        X : array or frame of shape (n_rows, n_columns)
            Finite; scaled by the caller. Two rows at least.
        y : ignored
        X_held_out : array or frame of shape (n_held_out_rows, n_columns), optional
            Normal rows that only stop the training in time. Without them it runs for ``max_epochs``.

        Raises
        ------
        ValueError
            For a parameter out of its range, for a matrix that scikit-learn refuses, and when the loss turns
            NaN or infinite (names the epoch, the batch and the column).
        """
        matrix = self._check_fit_rows(X)
        self._check_parameters()
        held_out = None
        if X_held_out is not None:
            self._check_order(X_held_out)
            held_out = torch.tensor(validate_data(self, X_held_out, dtype=np.float32, reset=False))
        seed = int(check_random_state(self.random_state).randint(2**31))
        generator = torch.Generator().manual_seed(seed)
        self.network_ = self._build(matrix.shape[1], generator)
        settings = training.Settings(
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            max_epochs=self.max_epochs,
            patience=self.patience,
            seed=seed,
            column_names=self._column_names(),
        )
        rows = torch.from_numpy(np.require(matrix, requirements="W"))
        self.epochs_ = training.fit(self.network_, self._loss, rows, held_out, settings, self.on_epoch)
        self.network_.requires_grad_(False)
        n_rows = max(2, COVARIANCE_CELLS // matrix.shape[1])
        if len(matrix) > n_rows:
            chosen = torch.randperm(len(matrix), generator=generator)[:n_rows].numpy()
            residuals = self._in_blocks(matrix[np.sort(chosen)], self._residuals)
        else:
            residuals = self._in_blocks(matrix, self._residuals)
        self._score: Score = SCORES[self.residual_score].fit(residuals)
        self._set_offset(self._scores(matrix))
        return self

    def anomaly_score(self, X: ArrayLike) -> np.ndarray:
        """Return one score a row, float64 of shape (n_rows,); higher is more anomalous.

        Raises
        ------
        ValueError
            When a row's score is not finite: its values are too large for float32.
        """
        return self._scores(self._check_rows(X))

    def _scores(self, matrix: np.ndarray) -> np.ndarray:
        scores = self._in_blocks(matrix, lambda block: self._contributions(block).sum(dim=1))
        if not np.isfinite(scores).all():
            row = int(np.flatnonzero(~np.isfinite(scores))[0])
            column = int(np.abs(matrix[row]).argmax())
            raise ValueError(
                f"row {row} has no finite score; its largest value is {matrix[row, column]:g}, in column "
                f"{self._column_names()[column]!r}: scale or bound that column"
            )
        return scores

    def contributions(self, X: ArrayLike) -> np.ndarray:
        """Return each column's part in the score, float64 of shape (n_rows, n_columns); they sum to it."""
        return self._in_blocks(self._check_rows(X), self._contributions)

    def residuals(self, X: ArrayLike) -> np.ndarray:
        """Return the rows less their reconstruction, float32 of shape (n_rows, n_columns)."""
        return self._in_blocks(self._check_rows(X), self._residuals)

    def reconstruct(self, X: ArrayLike) -> np.ndarray:
        """Return what the model expects the rows to be, float32 of shape (n_rows, n_columns)."""
        return self._in_blocks(self._check_rows(X), lambda block: self.network_(block))

    def encode(self, X: ArrayLike) -> np.ndarray:
        """Return the rows' codes, float32 of shape (n_rows, code_size)."""
        return self._in_blocks(self._check_rows(X), lambda block: self.network_.encoder(block))

    def _residuals(self, block: Tensor) -> Tensor:
        return block - self.network_(block)

    def _contributions(self, block: Tensor) -> Tensor:
        return self._score.contributions(self._residuals(block).double())

    @staticmethod
    def _in_blocks(matrix: np.ndarray, function: Callable[[Tensor], Tensor]) -> np.ndarray:
        """Apply a function of rows to blocks of one size, the last one padded with zeros, on all cores.

        float32 matrix products round differently with the shape of their operands, and with where they lie in
        memory, so every block is copied into a tensor of its own, which torch aligns.
        """

        def apply(start: int) -> np.ndarray:
            rows = matrix[start : start + BLOCK_ROWS]
            block = torch.zeros(BLOCK_ROWS, matrix.shape[1])
            block.numpy()[: len(rows)] = rows
            with torch.inference_mode():
                return function(block)[: len(rows)].numpy()

        starts = range(0, len(matrix), BLOCK_ROWS)
        with training.one_thread() as n_cores:
            if len(starts) == 1:
                return apply(0).copy()
            with ThreadPoolExecutor(min(n_cores, len(starts))) as pool:
                return np.concatenate(list(pool.map(apply, starts)))

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        arrays = {f"network.{name}": value.numpy() for name, value in self.network_.state_dict().items()}
        arrays |= {f"score.{name}": value for name, value in self._score.arrays().items()}
        return {"epochs": self.epochs_}, arrays

    def _restore(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.epochs_ = values["epochs"]
        self.network_ = self._build(self.n_features_in_, torch.Generator())
        self.network_.load_state_dict(
            {name: torch.from_numpy(value) for name, value in _with_prefix(arrays, "network.").items()}
        )
        self.network_.requires_grad_(False).eval()
        self._score = SCORES[self.residual_score].from_arrays(_with_prefix(arrays, "score."))


def load(folder: str | Path) -> OneClassModel:
    """Read a model that ``save`` wrote; it scores bit for bit as before.

    Raises
    ------
    ValueError
        When the folder was written in another format, or names a class that is not one of ours.
    FileNotFoundError
        When ``model.json`` or ``model.safetensors`` is not there.
    """
    folder = Path(folder)
    path = folder / "model.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    if described.get("format") != FORMAT:
        raise ValueError(
            f"{folder / 'model.json'} has format {described.get('format')!r}, and this version reads {FORMAT}"
        )
    if described.get("class") not in _MODULES:
        raise ValueError(
            f"{folder / 'model.json'} names the class {described.get('class')!r}; known are {', '.join(_MODULES)}"
        )
    found = getattr(importlib.import_module(_MODULES[described["class"]]), described["class"])
    parameters = {
        name: tuple(value) if isinstance(value, list) else value for name, value in described["parameters"].items()
    }
    model: OneClassModel = found(**parameters)
    model.n_features_in_ = described["n_features_in"]
    if described["feature_names_in"]:
        model.feature_names_in_ = np.array(described["feature_names_in"], dtype=object)
    model.offset_ = described["offset"]
    model._restore(described, load_file(folder / "model.safetensors"))
    return model


def _as_json(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_as_json(item) for item in value]
    return value if isinstance(value, bool | int | float | str) else None


def _with_prefix(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
