"""The ensemble: memories, denoising networks, columns and pairs of them, combined on calibrated tails."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torch.nn import functional

from models import checkpoints, training
from models.base import Autoencoder
from models.blocks import at_random, in_blocks, is_streamed
from models.memory import MemoryAutoencoder, hash_rows
from models.one_class import with_prefix
from models.ranks import ExponentialTail, NormalRanks, surprisal
from models.rarity import PairRarity
from models.scores import Mahalanobis
from models.settings import OnEpoch, RowSource, Settings

CALIBRATION_ROWS = 20_000
"""Ranks, tails and covariances are fitted on as many rows at most."""
MEMBERS = ("likelihood", "memory", "distance", "ranks", "rank_memory", "networks", "columns", "pairs")
"""What the scores that are combined come from, in order."""
RARITIES = ("columns", "pairs")
"""Their scores are ``-log P`` already, so that tails need not fall off faster than by 1 for 1."""


class NetworkBundle(nn.Module):
    """Several dense networks of one shape side by side, hard swish between their layers; one product a layer.

    Parameters
    ----------
    noises : sequence of float
        Standard deviation of the noise that each network is trained with.
    sizes : sequence of int
        Nodes of the input and of each layer.
    generator : Generator
        Draws the weights as torch draws those of a Linear.
    """

    noise: Tensor

    def __init__(self, *, noises: Sequence[float], sizes: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        # Not a weight, but it has to lie where they do.
        self.register_buffer("noise", torch.tensor(noises, dtype=torch.float32)[:, None, None], persistent=False)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for n_in, n_out in pairwise(sizes):
            bound = n_in**-0.5
            for to, shape in ((self.weights, (len(noises), n_in, n_out)), (self.biases, (len(noises), 1, n_out))):
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
class EnsembleAutoencoder(Autoencoder):
    """Memories, denoising networks, columns and pairs of them; a row scores what their tail probabilities say together.

    Eight scores are combined.

    - "likelihood", "memory", "distance": where a row lies among the normal ones. A ``MemoryAutoencoder`` sees the
      columns divided by their largest deviation from the mean, so that one that seldom moves, but then far, counts
      little in who is near. Its likelihood and the Mahalanobis distance of its residuals weigh the columns anew;
      their mean square does not.
    - "ranks", "rank_memory": the likelihood and the Mahalanobis distance of a second memory that sees the columns by
      their ranks (``NormalRanks``), for which long tails and units do not matter.
    - "networks": how its columns hang together, the mean Mahalanobis distance of the residuals of denoising networks
      (Vincent et al. 2008) that are trained side by side, each with its own weights, noise and rows.
    - "columns": how far out its values are one by one, the sum of the columns' two-sided tail probabilities,
      ``-log P``.
    - "pairs": how seldom its values come together two by two (``PairRarity``), for which what is a code has no near
      and far.

    They are of different kinds and scales, so each is turned into ``-log P`` of a normal row scoring as high, by
    ``ExponentialTail``, as Kriegel, Kröger, Schubert and Zimek, "Interpreting and unifying outlier scores" (2011) ask
    for. The root mean square of these lies between their mean, which is Fisher's way of combining tests (1932), and
    their maximum: one member that is sure counts for more than several that are not. Scores are 0 or more.

    Tails and covariances need rows that the scores were not made of. The memories leave a row out of its own
    reconstruction, and the pairs out of their counts; and each network leaves out one fold of the rows, which it
    alone is judged by, as in cross-validation. Copies of a row are in one fold.

    A row's contributions are those to the eight scores, each in proportion to what the score's tail says.

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
    checkpoint : str or Path, optional
        Folder of its own, where each pass is saved: a killed fit goes on from there when it is called again in the
        same way, and ends the same to the last bit. Cleared when the fit ends.
    contamination : float
        Share of the fit rows, above 0 and at most 0.5, that ``predict`` calls outliers.
    random_state : int, RandomState or None
        Seeds prototypes, first weights, the order of the rows, noise.
    on_epoch : callable, optional
        ``on_epoch(epoch, max_epochs, losses)``, called after each pass.

    Attributes
    ----------
    memory_, rank_memory_ : MemoryAutoencoder
        Of the rows times ``scales_``, and of their ranks.
    scales_ : ndarray of float32, shape (n_columns,)
        One over each column's largest deviation from its mean.
    ranks_ : NormalRanks
    pairs_ : PairRarity
    networks_ : NetworkBundle
    tails_ : dict of ExponentialTail
        By ``MEMBERS``.
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
    checkpoint: str | Path | None = None
    contamination: float = 0.1
    random_state: int | np.random.RandomState | None = 0
    on_epoch: OnEpoch | None = None

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

    def fit(self, X: ArrayLike | RowSource, y: object = None, X_held_out: ArrayLike | None = None) -> Self:
        """Fit to normal rows.

        Parameters
        ----------
        X : array or frame of shape (n_rows, n_columns), or a table on disk
            Finite; scaled by the caller. Two rows at least. For tables on disk see
            ``models.networks.NetworkAutoencoder.fit``.
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
        sample = self._memory(seed).draw(rows)
        some = np.asarray(at_random(rows, CALIBRATION_ROWS, generator)[:], dtype=np.float32)
        self.ranks_ = NormalRanks.fit(some)
        self.pairs_ = PairRarity.fit(some)
        self._counted = hash_rows(torch.from_numpy(some)).sort().values
        self.scales_ = _scales(some)
        self.memory_ = self._memory(seed).fit(sample * self.scales_)
        self.rank_memory_ = self._memory(seed).fit(in_blocks(sample, self.ranks_))
        self.networks_ = self._build(rows.shape[1], generator)
        self.networks_.requires_grad_(requires_grad=True)
        settings = Settings(
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            max_epochs=-(-self.n_steps // -(-len(rows) // self.batch_size)),
            patience=self.patience,
            seed=seed,
            column_names=self._column_names(),
            checkpoint=None if self.checkpoint is None else Path(self.checkpoint),
            identity=json.dumps([type(self).__name__, self._parameters()]),
        )
        to_train = rows if is_streamed(rows) else torch.from_numpy(np.require(rows, requirements="W"))
        self.epochs_ = training.fit(
            self.networks_, self._loss, to_train, held_out=held_out, settings=settings, on_epoch=self.on_epoch
        )
        self.networks_.requires_grad_(requires_grad=False)
        self._distances = {
            "memory": Mahalanobis.fit(in_blocks(some, self._memory_residuals)),
            "rank_memory": Mahalanobis.fit(in_blocks(some, self._rank_memory_residuals)),
            "networks": Mahalanobis.fit(in_blocks(some, self._out_of_fold)),
        }
        members = in_blocks(some, lambda block: torch.stack(self._sums_of(self._out_of_fit(block)), dim=1))
        self.tails_ = {
            name: ExponentialTail.fit(scores, least=float(name in RARITIES))
            for name, scores in zip(MEMBERS, members.T, strict=True)
        }
        self._set_offset(self._fit_row_scores(rows))
        if self.checkpoint is not None:
            checkpoints.clear(self.checkpoint)
        return self

    def member_scores(self, X: ArrayLike | RowSource) -> np.ndarray:
        """Return ``-log P`` of each of the eight scores, float64 of shape (n_rows, 8), in the order of ``MEMBERS``."""

        def levels(block: Tensor) -> Tensor:
            residuals = self._network_residuals(block)
            return self._levels(self._sums_of(self._members(block, leave_out=False, network_residuals=residuals)))

        return in_blocks(self._check_rows(X), levels)

    def _memory(self, seed: int) -> MemoryAutoencoder:
        names = ("n_prototypes", "bandwidth", "smoothing")
        return MemoryAutoencoder(**{name: getattr(self, name) for name in names}, random_state=seed)

    def _build(self, n_columns: int, generator: torch.Generator) -> NetworkBundle:
        noises = [self.noises[number % len(self.noises)] for number in range(self.n_networks)]
        return NetworkBundle(noises=noises, sizes=[n_columns, *self.hidden, n_columns], generator=generator).eval()

    def _in_fold(self, rows: Tensor) -> Tensor:
        """Return which network each row is left out of, as 0 and 1 of shape (n_networks, n_rows, 1)."""
        fold = (hash_rows(rows) >> 32).remainder(self.n_networks)
        return functional.one_hot(fold, self.n_networks).T[:, :, None].to(rows.dtype)

    def _loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return the squared error of each cell, the mean of the networks that the row is not left out of."""
        noise = torch.randn((self.n_networks, *batch.shape), generator=generator, device=batch.device)
        noisy = noise.mul_(self.networks_.noise).add_(batch)
        errors = (self.networks_(noisy) - batch).square() * (1 - self._in_fold(batch))
        return errors.sum(dim=0) / (self.n_networks - 1)

    def _network_residuals(self, block: Tensor) -> Tensor:
        return block - self.networks_(block.expand(self.n_networks, -1, -1))

    def _out_of_fold(self, block: Tensor) -> Tensor:
        return (self._network_residuals(block) * self._in_fold(block)).sum(dim=0)

    def _scaled(self, block: Tensor) -> Tensor:
        return block * torch.from_numpy(self.scales_)

    def _memory_residuals(self, block: Tensor) -> Tensor:
        scaled = self._scaled(block)
        return scaled - self.memory_.read(scaled, leave_out=True)[0]

    def _rank_memory_residuals(self, block: Tensor) -> Tensor:
        ranks = self.ranks_(block)
        return ranks - self.rank_memory_.read(ranks, leave_out=True)[0]

    def _members(self, block: Tensor, *, leave_out: bool, network_residuals: Iterable[Tensor]) -> list[Tensor]:
        """Return the contributions to the scores, in the order of ``MEMBERS``."""
        scaled, ranks = self._scaled(block), self.ranks_(block)
        read, likelihood = self.memory_.read(scaled, leave_out=leave_out)
        rank_read, rank_likelihood = self.rank_memory_.read(ranks, leave_out=leave_out)
        apart, rank_apart = (scaled - read).double(), (ranks - rank_read).double()
        distance = self._distances["networks"]
        is_fit_row = torch.isin(hash_rows(block), self._counted)
        return [
            likelihood,
            self._distances["memory"].contributions(apart),
            apart.square(),
            rank_likelihood,
            self._distances["rank_memory"].contributions(rank_apart),
            torch.stack([distance.contributions(residuals.double()) for residuals in network_residuals]).mean(dim=0),
            surprisal(ranks),
            self.pairs_(block, is_fit_row).double(),
        ]

    def _out_of_fit(self, block: Tensor) -> list[Tensor]:
        """Return those of fit rows, each by the memories without it and by the network that it was left out of."""
        return self._members(block, leave_out=True, network_residuals=[self._out_of_fold(block)])

    @staticmethod
    def _sums_of(members: Sequence[Tensor]) -> list[Tensor]:
        return [contributions.sum(dim=1).clamp_(min=0) for contributions in members]

    def _contributions(self, block: Tensor) -> Tensor:
        return self._combined(block, leave_out=False)

    def _fit_row_contributions(self, block: Tensor) -> Tensor:
        """Return those of fit rows, each by the memories without it; by the networks as any row."""
        return self._combined(block, leave_out=True)

    def _levels(self, sums: Sequence[Tensor]) -> Tensor:
        """Return ``-log P`` of the scores, shape (n_rows, n_members)."""
        levels = [self.tails_[name](score.numpy()) for name, score in zip(MEMBERS, sums, strict=True)]
        return torch.from_numpy(np.column_stack(levels))

    def _combined(self, block: Tensor, *, leave_out: bool) -> Tensor:
        members = self._members(block, leave_out=leave_out, network_residuals=self._network_residuals(block))
        scores = self._sums_of(members)
        sums, levels = torch.stack(scores), self._levels(scores).T
        combined = levels.square().mean(dim=0).sqrt_()
        # The score is the sum of level^2 / (members * score): that much of it is each member's.
        shares = torch.where(sums * combined > 0, levels.square() / (len(MEMBERS) * combined * sums), 0)
        return torch.stack([part * share[:, None] for part, share in zip(members, shares, strict=True)]).sum(dim=0)

    def _reconstruct(self, block: Tensor) -> Tensor:
        """Return the mean of the memory's reconstruction and of that of the networks."""
        networks = block - self._network_residuals(block).mean(dim=0)
        read = self.memory_.read(self._scaled(block), leave_out=False)[0] / torch.from_numpy(self.scales_)
        return (networks + read) / 2

    def _encode(self, block: Tensor) -> Tensor:
        return self.memory_._encode(self._scaled(block))  # noqa: SLF001 - its code is the memory's, and both are of one library

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        memories = {"memory": self.memory_._state(), "rank_memory": self.rank_memory_._state()}
        arrays = {f"{name}.{part}": array for name, (_, parts) in memories.items() for part, array in parts.items()}
        arrays |= {"scales": self.scales_, "counted": self._counted.numpy()}
        fitted: dict[str, Any] = {"ranks": self.ranks_, "pairs": self.pairs_}
        fitted |= {f"distance.{name}": distance for name, distance in self._distances.items()}
        fitted |= {f"tail.{name}": tail for name, tail in self.tails_.items()}
        for name, part in fitted.items():
            arrays |= {f"{name}.{piece}": array for piece, array in part.arrays().items()}
        arrays |= {f"networks.{name}": value.numpy() for name, value in self.networks_.state_dict().items()}
        return {"epochs": self.epochs_, **{name: values for name, (values, _) in memories.items()}}, arrays

    def _restore(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.epochs_ = values["epochs"]
        self.ranks_ = NormalRanks.from_arrays(with_prefix(arrays, "ranks."))
        self.pairs_ = PairRarity(**with_prefix(arrays, "pairs."))
        self.scales_, self._counted = arrays["scales"], torch.from_numpy(arrays["counted"])
        self.memory_, self.rank_memory_ = (self._memory(0) for _ in range(2))
        for name, memory in (("memory", self.memory_), ("rank_memory", self.rank_memory_)):
            memory.n_features_in_ = self.n_features_in_
            memory._restore(values[name], with_prefix(arrays, f"{name}."))
        self.networks_ = self._build(self.n_features_in_, torch.Generator())
        weights = {name: torch.from_numpy(value) for name, value in with_prefix(arrays, "networks.").items()}
        self.networks_.load_state_dict(weights)
        self.networks_.requires_grad_(requires_grad=False)
        names = ("memory", "rank_memory", "networks")
        self._distances = {name: Mahalanobis.from_arrays(with_prefix(arrays, f"distance.{name}.")) for name in names}
        self.tails_ = {name: ExponentialTail.from_arrays(with_prefix(arrays, f"tail.{name}.")) for name in MEMBERS}


def _scales(rows: np.ndarray) -> np.ndarray:
    """Return one over each column's largest deviation from its mean, and 1 where there is none; float32."""
    most = np.abs(rows - rows.mean(axis=0, dtype=np.float64)).max(axis=0)
    return np.divide(1, most, out=np.ones(len(most)), where=most > np.finfo(np.float32).eps).astype(np.float32)
