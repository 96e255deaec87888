"""Autoencoders that are a trained network: how they are fitted, scored with and saved."""

import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from torch import Tensor

from models import audit, checkpoints, heads, losses, training
from models.base import Autoencoder
from models.blocks import RowSubset, at_random, in_blocks, is_streamed, slices
from models.layers import Network
from models.one_class import with_prefix
from models.scores import RESIDUAL_SCORES, ResidualScore
from models.settings import Loss, OnEpoch, RowSource, Settings

SCORE_CELLS = 20_000_000
"""A score is fitted on as many residuals at most, to bound memory; further rows are left out at random."""


@dataclass(kw_only=True, eq=False, repr=False)
class NetworkAutoencoder(Autoencoder):
    """An autoencoder that is a network, trained to reconstruct normal rows; it scores how badly it does a row.

    A subclass is a dataclass too: it adds its own parameters as fields, gives ``_build`` and, where its loss is
    more than reconstruction, ``_objective``.

    Parameters
    ----------
    residual_score : {"mahalanobis", "mean_squared", "normalised", "worst_share"}
        How residuals become a score, see ``models.scores``.
    loss : {"squared", "huber", "gaussian", "mixed"}
        Loss of the numbers; "mixed" has squared errors for numbers and cross-entropies for 0/1 columns and
        one-hot groups. See ``models.heads.Head``.
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

    score_names: ClassVar[tuple[str, ...]] = tuple(RESIDUAL_SCORES)

    residual_score: str = "mahalanobis"
    loss: str = "squared"
    column_groups: heads.Groups | None = None
    scale_loss: bool = False
    batch_size: int = 512
    learning_rate: float = 1e-3
    max_epochs: int = 30
    patience: int = 5
    trim: float = 0.0
    checkpoint: str | Path | None = None
    contamination: float = 0.1
    random_state: int | np.random.RandomState | None = 0
    on_epoch: OnEpoch | None = None

    @abstractmethod
    def _build(self, n_columns: int, generator: torch.Generator) -> Network:
        """Return the network, its weights drawn from the generator."""

    def _objective(self) -> Loss:
        """Return the loss that training minimises; it holds ``network_``."""
        return losses.Reconstruction(self.network_)

    def _pretrain(self, rows: Tensor | RowSource, generator: torch.Generator) -> None:
        """Change the first weights in view of the fit rows, before training; nothing by default."""

    def _check_parameters(self) -> None:
        """Raise ValueError for a parameter out of its range."""
        for name, choices in (("residual_score", self.score_names), ("loss", heads.LOSSES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r} must be one of {', '.join(map(repr, choices))}")
        for name in ("batch_size", "max_epochs", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be 1 or more")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate!r} must be above 0")
        if not 0 <= self.trim < 0.5:
            raise ValueError(f"trim={self.trim!r} must be 0 or more and below 0.5")

    def fit(self, X: ArrayLike | RowSource, y: object = None, X_held_out: ArrayLike | None = None) -> Self:
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
            rest = np.sort(np.argsort(scores, kind="stable")[: len(rows) - n_trimmed])
            before = scores[rest]
            self._fit_rows(RowSubset(rows, rest) if is_streamed(rows) else rows[rest], held_out, seed)
            scores = self._scores(rows)
            self.trimmed_ = {"rows": n_trimmed, **audit.movement(before, scores[rest])}
        self._set_offset(scores)
        if self.checkpoint is not None:
            checkpoints.clear(self.checkpoint)
        return self

    def _fit_rows(self, rows: np.ndarray | RowSource, held_out: Tensor | None, seed: int) -> None:
        """Fit network and score, to rows that are checked."""
        generator = torch.Generator().manual_seed(seed)
        n_columns, weight = rows.shape[1], None
        is_binary = np.zeros(n_columns, dtype=bool)
        if self.loss == "mixed" or self.scale_loss:
            variance, is_binary = heads.column_statistics(slices(rows))
            weight = heads.column_weight(variance) if self.scale_loss else None
        self.column_groups_ = heads.column_groups(
            self.loss, self.column_groups, n_columns=n_columns, is_binary=is_binary
        )
        self.network_ = self._build(n_columns, generator)
        self.network_.head = self._head(weight)
        to_train = rows if is_streamed(rows) else torch.from_numpy(np.require(rows, requirements="W"))
        self._pretrain(to_train, generator)
        settings = Settings(
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            max_epochs=self.max_epochs,
            patience=self.patience,
            seed=seed,
            column_names=self._column_names(),
            checkpoint=None if self.checkpoint is None else Path(self.checkpoint),
            identity=json.dumps([type(self).__name__, self._parameters()]),
        )
        self.epochs_ = training.fit(
            self.network_,
            self._objective(),
            to_train,
            held_out=held_out,
            settings=settings,
            on_epoch=self.on_epoch,
        )
        self.network_.freeze()
        if self.residual_score in RESIDUAL_SCORES:
            residuals = in_blocks(at_random(rows, max(2, SCORE_CELLS // n_columns), generator), self._residuals)
            self._score: ResidualScore = RESIDUAL_SCORES[self.residual_score].fit(residuals)

    def _head(self, weight: Tensor | None) -> heads.Head:
        return heads.Head(
            groups=self.column_groups_, number="squared" if self.loss == "mixed" else self.loss, weight=weight
        )

    def _reconstruct(self, block: Tensor) -> Tensor:
        return self.network_(block)

    def _encode(self, block: Tensor) -> Tensor:
        return self.network_.encoder(block)

    def _contributions(self, block: Tensor) -> Tensor:
        return self._score.contributions(self._residuals(block).double())

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        arrays = {f"network.{name}": value.numpy() for name, value in self.network_.state_dict().items()}
        if self.residual_score in RESIDUAL_SCORES:
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
        if self.residual_score in RESIDUAL_SCORES:
            self._score = RESIDUAL_SCORES[self.residual_score].from_arrays(with_prefix(arrays, "score."))
