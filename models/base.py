"""The contracts: OneClassModel, a scikit-learn outlier detector, and Autoencoder on top of it."""

import importlib
import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from safetensors.numpy import load_file
from sklearn.utils import check_random_state
from torch import Tensor

from models import audit, checkpoints, losses, training
from models.blocks import Chosen, at_random, in_blocks, is_streamed, slices
from models.layers import Network
from models.one_class import FORMAT, OneClassModel, with_prefix
from models.scores import SCORES, Score
from models.training import Rows

SCORE_CELLS = 20_000_000
"""A score is fitted on as many residuals at most, to bound memory; further rows are left out at random."""

MODELS = {
    "denoising": "models.denoising.DenoisingAutoencoder",
    "dense": "models.dense.DenseAutoencoder",
    "linear": "models.dense.LinearAutoencoder",
    "sparse": "models.sparse.SparseAutoencoder",
    "contractive": "models.contractive.ContractiveAutoencoder",
    "variational": "models.variational.VariationalAutoencoder",
    "convolutional": "models.convolutional.ConvolutionalAutoencoder",
    "belief": "models.belief.DeepBeliefAutoencoder",
    "memory": "models.memory.MemoryAutoencoder",
    "ensemble": "models.ensemble.EnsembleAutoencoder",
    "pca": "models.baselines.PrincipalComponents",
    "knn": "models.baselines.NearestNeighbours",
    "isolation_forest": "models.baselines.IsolationTrees",
    "one_class_svm": "models.baselines.OneClassSVM",
}
"""Each model's short name, as configurations have it, and its class: the only ones that an artefact may name."""


def model_class(name: str) -> "type[OneClassModel]":
    """Return the class behind a short name of ``MODELS``; imports its module.

    Raises
    ------
    ValueError
        When no model has that name.

    Examples
    --------
    >>> model_class("denoising").__name__
    'DenoisingAutoencoder'
    """
    if name not in MODELS:
        raise ValueError(f"there is no model {name!r}; known are {', '.join(MODELS)}")
    module, _, found = MODELS[name].rpartition(".")
    return getattr(importlib.import_module(module), found)


@dataclass(kw_only=True, eq=False, repr=False)
class Autoencoder(OneClassModel):
    """A one-class model that scores how badly it reconstructs a row.

    A subclass is a dataclass too: it adds its own parameters as fields, gives ``_build`` and, where its loss is
    more than reconstruction, ``_objective``. Rows are scored in blocks of one size, so that a row's score is the
    same to the last bit in whatever batch it comes.

    Parameters
    ----------
    residual_score : {"mahalanobis", "mean_squared", "normalised", "worst_share"}
        How residuals become a score, see ``models.scores``.
    loss : {"squared", "huber", "gaussian", "mixed"}
        Loss of the numbers; "mixed" has squared errors for numbers and cross-entropies for 0/1 columns and
        one-hot groups. See ``models.losses.Head``.
    column_groups : sequence of (kind, width), optional
        For "mixed": the kinds of the columns in order, "number", "binary" or "category" (a one-hot group as wide
        as it has values). Without it, columns that hold only 0 and 1 in the fit rows are binary.
    scale_loss : bool
        Divide each column's loss by its variance over the fit rows.
    batch_size : int
        Rows of a training step.
    learning_rate : float
        Peak learning rate of AdamW.
    max_epochs : int
        Passes over the rows at the latest.
    patience : int
        Passes without a lower loss on the held-out rows before training stops.
    trim : float
        Share of the fit rows, those with the highest scores, that a second fit leaves out; below 0.5. For fit
        rows that are not all normal.
    checkpoint : str or Path, optional
        Folder of its own, where each epoch is saved: a killed fit goes on from there when it is called again in
        the same way, and ends the same to the last bit. Cleared when the fit ends.
    contamination : float
        Share of the fit rows that ``predict`` calls outliers, above 0 and at most 0.5.
    random_state : int, RandomState or None
        Seeds the first weights, the order of the rows and all noise.
    on_epoch : callable, optional
        ``on_epoch(epoch, max_epochs, losses)``, called after each epoch.

    Attributes
    ----------
    network_ : Network
    epochs_ : list of dict
        ``epoch``, ``train_loss`` and, with held-out rows, ``held_out_loss``.
    column_groups_ : list of (kind, width)
        As the loss reads the columns.
    trimmed_ : dict or None
        With ``trim``: ``rows`` left out, and how much the scores of those kept moved: ``median_before``,
        ``median_after`` and the ``rank_correlation`` (Spearman's) of both.
    """

    score_names: ClassVar[tuple[str, ...]] = tuple(SCORES)
    """What ``residual_score`` may be."""
    _reads_from_disk: ClassVar[bool] = True

    residual_score: str = "mahalanobis"
    loss: str = "squared"
    column_groups: losses.Groups | None = None
    scale_loss: bool = False
    batch_size: int = 512
    learning_rate: float = 1e-3
    max_epochs: int = 30
    patience: int = 5
    trim: float = 0.0
    checkpoint: str | Path | None = None
    contamination: float = 0.1
    random_state: int | np.random.RandomState | None = 0
    on_epoch: training.OnEpoch | None = None

    @abstractmethod
    def _build(self, n_columns: int, generator: torch.Generator) -> Network:
        """Return the network, its weights drawn from the generator."""

    def _objective(self) -> training.Loss:
        """Return the loss that training minimises; it holds ``network_``."""
        return losses.Reconstruction(self.network_)

    def _pretrain(self, rows: Tensor | Rows, generator: torch.Generator) -> None:
        """Change the first weights in view of the fit rows, before training; nothing by default."""

    def _check_parameters(self) -> None:
        """Raise ValueError for a parameter out of its range."""
        for name, known in (("residual_score", self.score_names), ("loss", losses.LOSSES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} must be one of {', '.join(map(repr, known))}")
        for name in ("batch_size", "max_epochs", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be 1 or more")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate!r} must be above 0")
        if not 0 <= self.trim < 0.5:
            raise ValueError(f"trim={self.trim!r} must be 0 or more and below 0.5")

    def fit(self, X: ArrayLike | Rows, y: object = None, X_held_out: ArrayLike | None = None) -> Self:
        """Fit to normal rows.

        Parameters
        ----------
        X : array or frame of shape (n_rows, n_columns), or a table on disk
            Finite; scaled by the caller. Two rows at least. A ``numpy.memmap``, or any object with ``shape``,
            a length and slices of rows, is read piece by piece and never held in memory as a whole; its rows
            are then shuffled as ``models.training.fit`` says.
        y : ignored
        X_held_out : array or frame of shape (n_held_out_rows, n_columns), optional
            Normal rows that only stop the training in time. Without them it runs for ``max_epochs``.

        Raises
        ------
        ValueError
            For a parameter out of its range, for a matrix that scikit-learn refuses, and when the loss turns
            NaN or infinite (names the epoch, the batch and the column).
        """
        rows = self._check_fit_rows(X)
        self._check_parameters()
        held_out = self._check_held_out(X_held_out)
        seed = int(check_random_state(self.random_state).randint(2**31))
        self._fit_rows(rows, held_out, seed)
        scores = self._scores(rows)
        n_trimmed = min(int(self.trim * len(rows)), len(rows) - 2)
        self.trimmed_: dict[str, float] | None = None
        if n_trimmed:
            kept = np.sort(np.argsort(scores, kind="stable")[: len(rows) - n_trimmed])
            before = scores[kept]
            self._fit_rows(Chosen(rows, kept) if is_streamed(rows) else rows[kept], held_out, seed)
            scores = self._scores(rows)
            self.trimmed_ = {"rows": n_trimmed, **audit.moved(before, scores[kept])}
        self._set_offset(scores)
        if self.checkpoint is not None:
            checkpoints.clear(self.checkpoint)
        return self

    def _fit_rows(self, rows: np.ndarray | Rows, held_out: Tensor | None, seed: int) -> None:
        """Fit network and score, to rows that are checked."""
        generator = torch.Generator().manual_seed(seed)
        n_columns, weight = rows.shape[1], None
        is_binary = np.zeros(n_columns, dtype=bool)
        if self.loss == "mixed" or self.scale_loss:
            variance, is_binary = losses.column_statistics(slices(rows))
            weight = losses.column_weight(variance) if self.scale_loss else None
        self.column_groups_ = losses.column_groups(self.loss, self.column_groups, n_columns, is_binary)
        self.network_ = self._build(n_columns, generator)
        self.network_.head = self._head(weight)
        to_train = rows if is_streamed(rows) else torch.from_numpy(np.require(rows, requirements="W"))
        self._pretrain(to_train, generator)
        settings = training.Settings(
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            max_epochs=self.max_epochs,
            patience=self.patience,
            seed=seed,
            column_names=self._column_names(),
            checkpoint=None if self.checkpoint is None else Path(self.checkpoint),
            identity=json.dumps([type(self).__name__, self._parameters()]),
        )
        self.epochs_ = training.fit(self.network_, self._objective(), to_train, held_out, settings, self.on_epoch)
        self.network_.freeze()
        if self.residual_score in SCORES:
            residuals = in_blocks(at_random(rows, max(2, SCORE_CELLS // n_columns), generator), self._residuals)
            self._score: Score = SCORES[self.residual_score].fit(residuals)

    def _head(self, weight: Tensor | None) -> losses.Head:
        return losses.Head(self.column_groups_, "squared" if self.loss == "mixed" else self.loss, weight)

    def anomaly_score(self, X: ArrayLike) -> np.ndarray:
        """Return one score a row, float64 of shape (n_rows,); higher is more anomalous.

        Raises
        ------
        ValueError
            When a row's score is not finite: its values are too large for float32.
        """
        return self._scores(self._check_rows(X))

    def _scores(self, rows: np.ndarray | Rows) -> np.ndarray:
        scores = in_blocks(rows, lambda block: self._contributions(block).sum(dim=1))
        return self._require_finite(scores, rows)

    def contributions(self, X: ArrayLike) -> np.ndarray:
        """Return each column's part in the score, float64 of shape (n_rows, n_columns); they sum to it."""
        return in_blocks(self._check_rows(X), self._contributions)

    def residuals(self, X: ArrayLike) -> np.ndarray:
        """Return the rows less their reconstruction, float32 of shape (n_rows, n_columns)."""
        return in_blocks(self._check_rows(X), self._residuals)

    def reconstruct(self, X: ArrayLike) -> np.ndarray:
        """Return what the model expects the rows to be, float32 of shape (n_rows, n_columns)."""
        return in_blocks(self._check_rows(X), self.network_)

    def encode(self, X: ArrayLike) -> np.ndarray:
        """Return the rows' codes, float32 of shape (n_rows, code_size)."""
        return in_blocks(self._check_rows(X), self.network_.encoder)

    def _residuals(self, block: Tensor) -> Tensor:
        return block - self.network_(block)

    def _contributions(self, block: Tensor) -> Tensor:
        return self._score.contributions(self._residuals(block).double())

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        arrays = {f"network.{name}": value.numpy() for name, value in self.network_.state_dict().items()}
        if self.residual_score in SCORES:
            arrays |= {f"score.{name}": value for name, value in self._score.arrays().items()}
        return {"epochs": self.epochs_, "column_groups": self.column_groups_, "trimmed": self.trimmed_}, arrays

    def _restore(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.epochs_ = values["epochs"]
        self.column_groups_ = [(kind, width) for kind, width in values["column_groups"]]
        self.trimmed_ = values["trimmed"]
        weights = {name: torch.from_numpy(value) for name, value in with_prefix(arrays, "network.").items()}
        self.network_ = self._build(self.n_features_in_, torch.Generator())
        self.network_.head = self._head(weights.get("head.weight"))
        self.network_.load_state_dict(weights)
        self.network_.freeze()
        if self.residual_score in SCORES:
            self._score = SCORES[self.residual_score].from_arrays(with_prefix(arrays, "score."))


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
        raise ValueError(f"{path} has format {described.get('format')!r}, and this version reads {FORMAT}")
    names = {path.rpartition(".")[2]: name for name, path in MODELS.items()}
    if described.get("class") not in names:
        raise ValueError(f"{path} names the class {described.get('class')!r}; known are {', '.join(names)}")
    found = model_class(names[described["class"]])
    model = found(**{name: _as_tuple(value) for name, value in described["parameters"].items()})
    model.n_features_in_ = described["n_features_in"]
    if described["feature_names_in"]:
        model.feature_names_in_ = np.array(described["feature_names_in"], dtype=object)
    model.offset_ = described["offset"]
    model._restore(described, load_file(folder / "model.safetensors"))
    return model


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list) else value
