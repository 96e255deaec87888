"""The ensemble: a memory and several denoising networks, combined on calibrated tails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torch.nn import functional

from models import training
from models.blocks import at_random, in_blocks
from models.memory import MemoryAutoencoder, hash_rows
from models.one_class import OneClassModel, with_prefix
from models.scores import Mahalanobis
from models.training import Rows

CALIBRATION_ROWS = 20_000
"""Tails and covariances are fitted on as many rows at most."""
KNOTS = 512
"""A tail remembers at most this many quantiles."""
NAMES = ("likelihood", "memory", "networks")


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


class Networks(nn.Module):
    """Several dense networks of one shape side by side, hard swish between their layers; one product a layer.

    Parameters
    ----------
    n_networks : int
    sizes : sequence of int
        Nodes of the input and of each layer.
    generator : Generator
        Draws the weights as torch draws those of a Linear.
    """

    def __init__(self, n_networks: int, sizes: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for n_in, n_out in pairwise(sizes):
            bound = n_in**-0.5
            for to, shape in ((self.weights, (n_networks, n_in, n_out)), (self.biases, (n_networks, 1, n_out))):
                to.append(nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator)))

    def forward(self, rows: Tensor) -> Tensor:
        """Map rows of shape (n_networks, n_rows, n_columns), each network its own."""
        n_columns = rows.shape[-1]
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if number:
                rows = functional.hardswish(rows)
            if not self.training:  # multiples of 64 bytes are rounded alike wherever they stand
                more_in, more_out = -weight.shape[1] % 16, -weight.shape[2] % 16
                weight, bias = functional.pad(weight, (0, more_out, 0, more_in)), functional.pad(bias, (0, more_out))
                rows = functional.pad(rows, (0, weight.shape[1] - rows.shape[-1]))
            rows = torch.baddbmm(bias, rows, weight)
        return rows[..., :n_columns]


@dataclass(kw_only=True, eq=False, repr=False)
class EnsembleAutoencoder(OneClassModel):
    """A memory and several denoising networks; a row scores the mean of what its tail probabilities say.

    Three scores are combined: that of a ``MemoryAutoencoder`` by likelihood, the Mahalanobis distance of the same
    residuals, and the mean Mahalanobis distance of the residuals of denoising networks (Vincent et al. 2008) that are
    trained side by side, each with its own weights, noise and rows. They are of different kinds and scales, so each is
    turned into ``-log P`` of a normal row scoring as high, by ``Tail``, before they are averaged: Fisher's way of
    combining tests (1932), as Kriegel, Kröger, Schubert and Zimek, "Interpreting and unifying outlier scores" (2011)
    ask for.

    Tails and covariances need rows that the scores were not made of. The memory leaves a row out of its own
    reconstruction; and each network leaves out one fold of the rows, which it alone is judged by, as in
    cross-validation. Copies of a row are in one fold.

    A row's contributions are those to the three scores, each in proportion to what the score's tail says.

    Parameters
    ----------
    n_networks : int
        Networks, and folds; 2 or more.
    hidden : sequence of int
        Nodes of each network's layers between columns and columns.
    noises : sequence of float
        Standard deviations of the noise, in units of the matrix; the networks take turns.
    n_steps : int
        Training steps; rounded up to whole passes over the rows.
    batch_size : int
        Rows of a training step.
    learning_rate : float
        Peak learning rate of AdamW.
    patience : int
        Passes without a lower loss on held-out rows before training stops.
    n_prototypes : int
        Rows that the memory draws from the fit rows at most, 2 or more.
    bandwidth : float
        Of the memory's attention, in median distances of a prototype to its 5th neighbour, above 0.
    smoothing : float
        Bandwidth of the memory's local variances, in the same unit, above 0.
    leave_out : bool
        Whether rows that come after the fit, too, are scored without the fit row that they are a copy of; see
        ``models.memory.MemoryAutoencoder``.
    contamination : float
        Share of the fit rows, above 0 and at most 0.5, that ``predict`` calls outliers.
    random_state : int, RandomState or None
        Seeds prototypes, first weights, the order of the rows, noise.
    on_epoch : callable, optional
        ``on_epoch(epoch, max_epochs, losses)``, called after each pass.

    Attributes
    ----------
    memory_ : MemoryAutoencoder
    networks_ : Networks
    tails_ : dict of Tail
        Of "likelihood", "memory" and "networks".
    epochs_ : list of dict
        ``epoch``, ``train_loss`` and, with held-out rows, ``held_out_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> at = np.random.default_rng(0).normal(size=500)
    >>> model = EnsembleAutoencoder(n_steps=50).fit(np.column_stack([at, at, -at]))
    >>> usual, unusual = model.anomaly_score([[1.0, 1.0, -1.0], [1.0, 1.0, 1.0]])
    >>> bool(unusual > 10 * usual)
    True
    """

    n_networks: int = 4
    hidden: Sequence[int] = (128, 128)
    noises: Sequence[float] = (0.1, 0.3)
    n_steps: int = 1000
    batch_size: int = 256
    learning_rate: float = 1e-3
    patience: int = 20
    n_prototypes: int = 8192
    bandwidth: float = 0.35
    smoothing: float = 0.7
    leave_out: bool = True
    contamination: float = 0.1
    random_state: int | np.random.RandomState | None = 0
    on_epoch: training.OnEpoch | None = None

    def _check_parameters(self) -> None:
        for name, least in (("n_networks", 2), ("n_steps", 1), ("batch_size", 1), ("patience", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)!r} must be {least} or more")
        if min(*self.hidden, 1) < 1:
            raise ValueError(f"hidden={self.hidden!r} must be 1 or more each")
        if not self.noises or not min(self.noises) >= 0:
            raise ValueError(f"noises={self.noises!r} must be 0 or more, and one at least")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate!r} must be above 0")

    def fit(self, X: ArrayLike | Rows, y: object = None, X_held_out: ArrayLike | None = None) -> Self:
        """Fit to normal rows.

        Parameters
        ----------
        X : array or frame of shape (n_rows, n_columns), or a table on disk
            Finite; scaled by the caller. Two rows at least. See ``models.base.Autoencoder.fit`` for tables on disk.
        y : ignored
        X_held_out : array or frame of shape (n_held_out_rows, n_columns), optional
            Normal rows that only stop the training in time.

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
        generator = torch.Generator().manual_seed(seed)
        self.memory_ = self._memory(seed).fit(rows)
        self.networks_ = self._build(rows.shape[1], generator)
        self.networks_.requires_grad_(True)
        settings = training.Settings(
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            max_epochs=-(-self.n_steps // -(-len(rows) // self.batch_size)),
            patience=self.patience,
            seed=seed,
            column_names=self._column_names(),
        )
        to_train = torch.from_numpy(np.require(rows, requirements="W")) if isinstance(rows, np.ndarray) else rows
        self.epochs_ = training.fit(self.networks_, self._loss, to_train, held_out, settings, self.on_epoch)
        self.networks_.requires_grad_(False)
        some = at_random(rows, CALIBRATION_ROWS, generator)
        self._distances = {
            "memory": Mahalanobis.fit(in_blocks(some, self._memory_residuals)),
            "networks": Mahalanobis.fit(in_blocks(some, self._out_of_fold)),
        }
        members = in_blocks(some, lambda block: torch.stack(self._sums(self._out_of_fit(block)), dim=1))
        self.tails_ = {name: Tail.fit(scores) for name, scores in zip(NAMES, members.T, strict=True)}
        self._set_offset(self._scores(rows, leave_out=True))
        return self

    def _memory(self, seed: int) -> MemoryAutoencoder:
        names = ("n_prototypes", "bandwidth", "smoothing", "leave_out")
        return MemoryAutoencoder(**{name: getattr(self, name) for name in names}, random_state=seed)

    def _build(self, n_columns: int, generator: torch.Generator) -> Networks:
        networks = Networks(self.n_networks, [n_columns, *self.hidden, n_columns], generator)
        self._noise = torch.tensor([self.noises[m % len(self.noises)] for m in range(self.n_networks)])[:, None, None]
        return networks.eval()

    def _in_fold(self, rows: Tensor) -> Tensor:
        """Return which network each row is left out of, as 0 and 1 of shape (n_networks, n_rows, 1)."""
        fold = (hash_rows(rows) >> 32).remainder(self.n_networks)
        return functional.one_hot(fold, self.n_networks).T[:, :, None].to(rows.dtype)

    def _loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return the squared error of each cell, the mean of the networks that the row is not left out of."""
        noise = torch.randn((self.n_networks, *batch.shape), generator=generator, device=batch.device)
        noisy = noise.mul_(self._noise.to(batch.device)).add_(batch)
        errors = (self.networks_(noisy) - batch).square() * (1 - self._in_fold(batch))
        return errors.sum(dim=0) / (self.n_networks - 1)

    def _network_residuals(self, block: Tensor) -> Tensor:
        return block - self.networks_(block.expand(self.n_networks, -1, -1))

    def _out_of_fold(self, block: Tensor) -> Tensor:
        return (self._network_residuals(block) * self._in_fold(block)).sum(dim=0)

    def _memory_residuals(self, block: Tensor) -> Tensor:
        return block - self.memory_.read(block, leave_out=True)[0]

    def _members(self, block: Tensor, leave_out: bool) -> list[Tensor]:
        """Return the contributions to the three scores."""
        read, likelihood = self.memory_.read(block, leave_out)
        distance = self._distances["networks"]
        networks = [distance.contributions(found.double()) for found in self._network_residuals(block)]
        return [
            likelihood,
            self._distances["memory"].contributions((block - read).double()),
            torch.stack(networks).mean(0),
        ]

    def _out_of_fit(self, block: Tensor) -> list[Tensor]:
        """Return those of fit rows, each by the memory without it and by the network that it was left out of."""
        read, likelihood = self.memory_.read(block, leave_out=True)
        residuals = {"memory": block - read, "networks": self._out_of_fold(block)}
        return [likelihood, *(self._distances[name].contributions(found.double()) for name, found in residuals.items())]

    @staticmethod
    def _sums(members: Sequence[Tensor]) -> list[Tensor]:
        return [contributions.sum(dim=1).clamp_(min=0) for contributions in members]

    def _contributions(self, block: Tensor, leave_out: bool) -> Tensor:
        parts = []
        members = self._members(block, leave_out)
        for name, contributions, score in zip(NAMES, members, self._sums(members), strict=True):
            share = torch.where(score > 0, self.tails_[name](score) / score, 0)
            parts.append(contributions * share[:, None])
        return torch.stack(parts).mean(dim=0)

    def anomaly_score(self, X: ArrayLike | Rows) -> np.ndarray:
        """Return one score a row, float64 of shape (n_rows,), 0 or more; higher is more anomalous.

        Raises
        ------
        ValueError
            When a row's score is not finite: its values are too large for float32.
        """
        return self._scores(self._check_rows(X), self.leave_out)

    def _scores(self, rows: np.ndarray | Rows, leave_out: bool) -> np.ndarray:
        scores = in_blocks(rows, lambda block: self._contributions(block, leave_out).sum(dim=1))
        return self._require_finite(scores, rows)

    def contributions(self, X: ArrayLike | Rows) -> np.ndarray:
        """Return each column's part in the score, float64 of shape (n_rows, n_columns); they sum to it."""
        return in_blocks(self._check_rows(X), lambda block: self._contributions(block, self.leave_out))

    def residuals(self, X: ArrayLike | Rows) -> np.ndarray:
        """Return the rows less their reconstruction, float32 of shape (n_rows, n_columns)."""
        return in_blocks(self._check_rows(X), lambda block: block - self._reconstruct(block))

    def reconstruct(self, X: ArrayLike | Rows) -> np.ndarray:
        """Return the mean of the memory's reconstruction and of that of the networks, float32 like the rows."""
        return in_blocks(self._check_rows(X), self._reconstruct)

    def _reconstruct(self, block: Tensor) -> Tensor:
        networks = block - self._network_residuals(block).mean(dim=0)
        return (networks + self.memory_.read(block, self.leave_out)[0]) / 2

    def encode(self, X: ArrayLike | Rows) -> np.ndarray:
        """Return the memory's codes, float32 of shape (n_rows, code_size)."""
        return self.memory_.encode(self._check_rows(X))

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        memory_values, memory_arrays = self.memory_._state()
        arrays = {f"memory.{name}": array for name, array in memory_arrays.items()}
        arrays |= {f"networks.{name}": value.numpy() for name, value in self.networks_.state_dict().items()}
        for name, distance in self._distances.items():
            arrays |= {f"distance.{name}.{part}": array for part, array in distance.arrays().items()}
        for name, tail in self.tails_.items():
            arrays |= {f"tail.{name}.scores": tail.scores.numpy(), f"tail.{name}.levels": tail.levels.numpy()}
        xis = {name: tail.xi for name, tail in self.tails_.items()}
        return {"epochs": self.epochs_, "memory": memory_values, "xi": xis}, arrays

    def _restore(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.epochs_ = values["epochs"]
        self.memory_ = self._memory(0)
        self.memory_.n_features_in_ = self.n_features_in_
        self.memory_._restore(values["memory"], with_prefix(arrays, "memory."))
        self.networks_ = self._build(self.n_features_in_, torch.Generator())
        weights = {name: torch.from_numpy(value) for name, value in with_prefix(arrays, "networks.").items()}
        self.networks_.load_state_dict(weights)
        self.networks_.requires_grad_(False)
        names = ("memory", "networks")
        self._distances = {name: Mahalanobis.from_arrays(with_prefix(arrays, f"distance.{name}.")) for name in names}
        self.tails_ = {name: Tail(**with_prefix(arrays, f"tail.{name}."), xi=xi) for name, xi in values["xi"].items()}
