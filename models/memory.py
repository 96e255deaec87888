"""The memory autoencoder: rows are reconstructed from stored normal rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state
from torch import Tensor
from torch.nn import functional

from models.base import Autoencoder
from models.blocks import in_blocks, slices
from models.one_class import with_prefix
from models.scores import RESIDUAL_SCORES, ResidualScore
from models.settings import RowSource

ATTENTION_ROWS = 128
"""Rows attend to the prototypes at a time: few enough that their weights stay in a cache."""
NEIGHBOUR = 5
"""The unit of the bandwidth is the median distance of a prototype to its neighbour of this rank."""
FLOOR = 0.01
"""This share of the mean variance of all columns is added to each one's."""
LEAST = 0.1
"""This share of a column's variance is added to its local variances."""
NEVER = -1e30
"""Closeness of a prototype that is not there; the softmax of anything finite beside it is zero."""


@dataclass(kw_only=True, eq=False, repr=False)
class MemoryAutoencoder(Autoencoder):
    """Reconstructs a row from stored normal rows, by softmax attention over squared distances.

    Gong, Liu, Le, Saha, Mansour, Venkatesh and van den Hengel, "Memorizing normality to detect anomaly:
    memory-augmented deep autoencoder" (2019), equations 3 and 4: what is read from the memory can only look normal,
    so an anomalous row comes back changed. With weights ``softmax(-|x - p|^2 / 2h^2)`` over the prototypes p, the
    reconstruction is their posterior mean given x, if x is a prototype with Gaussian noise of deviation h: the best
    denoiser there can be for the stored rows (Vincent, "A connection between score matching and denoising
    autoencoders", 2011, section 4; Miyasawa 1961, Robbins 1956).

    Departs from Gong et al.: the memory lies in the rows' own space and is drawn from the fit rows, not learnt; the
    attention is over distances, not cosines; nothing is shrunk to zero, since the bandwidth h does that.

    With ``residual_score="likelihood"`` the memory also holds how badly each prototype is reconstructed from the
    others, and gives what to expect where a row lies: column j of a residual r scores ``r_j^2 / v_j + log(v_j / w_j)``,
    the Gaussian log-likelihood but for constants (Nix and Weigend, "Estimating the mean and variance of the target
    probability distribution", 1994, equation 2). Here v_j is the mean of the prototypes' squared residuals under
    weights of bandwidth ``smoothing``, plus w_j, a tenth of their mean over all prototypes, so that no column scores
    below zero.

    **A row that was fitted on is left out while the model is fitted**: one copy of a prototype that equals the row in
    every cell takes no part in that row's attention. A later row with c copies among the n prototypes drawn may be one
    of these once more, or a new one like them. The first has probability c / n; the second c* / n, where
    ``c* = (c + 1) N_(c+1) / N_c`` and N_c rows came c times (Good, "The population frequencies of species and the
    estimation of population parameters", 1953, equation 2'; Turing's estimate). With even odds for both beforehand,
    ``c - c / (c + c*)`` copies are to be expected without the row itself, and as many take part: where no two rows are
    alike one is left out, and where rows are often repeated it stays.

    Parameters
    ----------
    n_prototypes : int
        Rows drawn from the fit rows, 2 or more; all of them where there are no more. Copies among them are stored
        once, with their number. Scoring time rises in proportion.
    bandwidth : float
        h, in median distances of a prototype to its 5th neighbour, above 0.
    smoothing : float
        Bandwidth of the local variances, in the same unit, above 0.
    residual_score : {"likelihood", "mahalanobis", "mean_squared", "normalised", "worst_share"}
        How residuals become a score; see ``models.scores`` for the others.
    code_size : int
        ``encode`` gives as many principal components of what is read from the memory, or one for each column.
    contamination : float
        Share of the fit rows, above 0 and at most 0.5, that ``predict`` calls outliers.
    random_state : int, RandomState or None
        Draws the prototypes.

    Attributes
    ----------
    prototypes_ : ndarray of float32, shape (n_stored, n_columns)
    copies_ : ndarray of int64, shape (n_stored,)
        How many of the rows drawn each prototype stands for.
    bandwidth_ : float
        h, in units of the matrix.

    Examples
    --------
    >>> import numpy as np
    >>> angles = np.random.default_rng(0).uniform(0, 2 * np.pi, size=1000)
    >>> model = MemoryAutoencoder().fit(np.column_stack([np.cos(angles), np.sin(angles)]))
    >>> on, inside = model.anomaly_score([[0.6, 0.8], [0.3, 0.4]])
    >>> bool(inside > on)
    True
    >>> model.reconstruct([[0.3, 0.4]]).round(1)
    array([[0.6, 0.8]], dtype=float32)
    """

    score_names: ClassVar[tuple[str, ...]] = ("likelihood", *RESIDUAL_SCORES)

    n_prototypes: int = 8192
    bandwidth: float = 0.35
    smoothing: float = 0.7
    residual_score: str = "likelihood"
    code_size: int = 2
    contamination: float = 0.1
    random_state: int | np.random.RandomState | None = 0

    def _check_parameters(self) -> None:
        if self.n_prototypes < 2:
            raise ValueError(f"n_prototypes={self.n_prototypes!r} must be 2 or more")
        if self.code_size < 1:
            raise ValueError(f"code_size={self.code_size!r} must be 1 or more")
        for name in ("bandwidth", "smoothing"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r} must be above 0")
        if self.residual_score not in self.score_names:
            names = ", ".join(map(repr, self.score_names))
            raise ValueError(f"residual_score={self.residual_score!r} must be one of {names}")

    def fit(self, X: ArrayLike | RowSource, y: object = None) -> Self:
        """Draw the prototypes from normal rows, and set the bandwidth by them.

        Parameters
        ----------
        X : array or frame of shape (n_rows, n_columns), or a table on disk
            Finite; scaled by the caller. Two rows at least. For tables on disk see
            ``models.networks.NetworkAutoencoder.fit``.
        y : ignored

        Raises
        ------
        ValueError
            For a parameter out of its range, or a matrix that scikit-learn refuses.
        """
        rows = self._check_fit_rows(X)
        self._check_parameters()
        sample = self.draw(rows)
        self.prototypes_, self.copies_ = np.unique(sample, axis=0, return_counts=True)
        self.bandwidth_ = self.bandwidth * _unit(sample)
        self.mean_ = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        _, axes = np.linalg.eigh(np.atleast_2d(np.cov(sample.T.astype(np.float64))))
        self.axes_ = np.ascontiguousarray(axes[:, ::-1][:, : self.code_size], dtype=np.float32)
        self._prepare()
        if self.residual_score == "likelihood":
            squares = np.square(in_blocks(self.prototypes_, self._fit_row_residuals), dtype=float)
            variance = np.average(squares, axis=0, weights=self.copies_)
            self.variance_ = variance + max(FLOOR * float(variance.mean()), np.finfo(np.float32).eps ** 2)
            self.local_variances_ = (squares / self.variance_).astype(np.float32)
            self._variances = _with_counts(self.local_variances_, self._counts)
        else:
            residuals = in_blocks(sample, self._fit_row_residuals)
            self._score: ResidualScore = RESIDUAL_SCORES[self.residual_score].fit(residuals)
        self._set_offset(self._fit_row_scores(rows))
        return self

    def draw(self, rows: np.ndarray | RowSource) -> np.ndarray:
        """Return as many rows as there shall be prototypes, at random and in order; float32 like the rows."""
        n_prototypes = min(self.n_prototypes, len(rows))
        positions = np.sort(check_random_state(self.random_state).permutation(len(rows))[:n_prototypes])
        prototypes = np.empty((n_prototypes, rows.shape[1]), np.float32)
        start = 0
        for block in slices(rows):
            here = slice(*np.searchsorted(positions, [start, start + len(block)]))
            prototypes[here] = block[positions[here] - start]
            start += len(block)
        return prototypes + np.float32(0)  # no negative zeros: equal cells shall be equal to the bit

    def _prepare(self) -> None:
        """Lay out the prototypes for scoring, all in multiples of 64 bytes, and put them in order of their hash.

        A key holds ``p / h^2`` and ``-|p|^2 / 2h^2``, so that its product with a row, and a one after it, is the
        squared distance over ``-2h^2`` but for what is the same for all prototypes. Rows are taken from the mean
        prototype, where float32 is finest.
        """
        n_stored, n_columns = self.prototypes_.shape
        centred = self.prototypes_.astype(np.float64) - self.mean_
        keys = np.column_stack([centred, -0.5 * np.square(centred).sum(axis=1)]) / self.bandwidth_**2
        more = -n_stored % 16
        self._keys = functional.pad(torch.from_numpy(keys).float(), (0, -(n_columns + 1) % 16, 0, more)).T.contiguous()
        self._keys[n_columns, n_stored:] = NEVER
        self._counts = functional.pad(torch.from_numpy(self.copies_), (0, more))[:, None].double()
        self._values = _with_counts(self.prototypes_, self._counts)
        self._stored = torch.from_numpy(self.prototypes_)
        copies = self.copies_.astype(np.float64)
        times = np.bincount(self.copies_, minlength=self.copies_.max() + 2)
        again = (copies + 1) * times[self.copies_ + 1] / times[self.copies_]
        with np.errstate(divide="ignore"):  # minus infinity for a single copy
            fewer = np.log1p(-1 / copies), np.log1p(-1 / (copies + again))
        self._fewer, self._fewer_of_later = (torch.from_numpy(logs).float() for logs in fewer)
        self._hashes, self._by_hash = hash_rows(self._stored).sort()

    def _copies(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return which rows equal a prototype in every cell, and which prototype each of them does."""
        at = torch.searchsorted(self._hashes, hash_rows(rows)).clamp_(max=len(self._hashes) - 1)
        prototype = self._by_hash[at]
        equal = (rows == self._stored[prototype]).all(dim=1).nonzero()[:, 0]
        return equal, prototype[equal]

    def _attend(self, block: Tensor, *, leave_out: bool, local: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what rows read from the memory, and of ``local`` values at the wider bandwidth, if any.

        Further columns are zero.
        """
        n_columns = block.shape[1]
        queries = functional.pad(block - torch.from_numpy(self.mean_), (0, len(self._keys) - n_columns))
        queries[:, n_columns] = 1
        sums, variances = torch.empty(2, len(block), self._values.shape[1])
        closeness = torch.empty(ATTENTION_ROWS, self._keys.shape[1])
        smoothed = torch.empty_like(closeness)
        row, prototype = self._copies(block)
        fewer = (self._fewer if leave_out else self._fewer_of_later)[prototype]
        for start in range(0, len(block), ATTENTION_ROWS):
            part = slice(start, start + ATTENTION_ROWS)
            torch.mm(queries[part], self._keys, out=closeness)
            here = slice(*torch.searchsorted(row, torch.tensor([start, start + ATTENTION_ROWS])).tolist())
            at = row[here] - start, prototype[here]
            if local is not None:
                torch.mul(closeness, (self.bandwidth / self.smoothing) ** 2, out=smoothed)
                smoothed[at] += fewer[here]
                _read(smoothed, local, variances[part])
            closeness[at] += fewer[here]
            _read(closeness, self._values, sums[part])
        return _over_counts(sums, n_columns), _over_counts(variances, n_columns) if local is not None else variances

    def _reconstruct(self, block: Tensor) -> Tensor:
        return self._attend(block, leave_out=False)[0][:, : block.shape[1]]

    def _fit_row_residuals(self, block: Tensor) -> Tensor:
        """Return the residuals of fit rows, each without the copy of it that the memory holds."""
        return block - self._attend(block, leave_out=True)[0][:, : block.shape[1]]

    def _encode(self, block: Tensor) -> Tensor:
        """Return principal components of what is read from the memory: where among the normal rows a row lies."""
        n_columns, n_codes = self.axes_.shape
        axes = functional.pad(torch.from_numpy(self.axes_), (0, -n_codes % 16, 0, -n_columns % 16))
        centred = self._reconstruct(block) - torch.from_numpy(self.mean_)
        return (functional.pad(centred, (0, -n_columns % 16)) @ axes)[:, :n_codes]

    def _contributions(self, block: Tensor) -> Tensor:
        if self.residual_score != "likelihood":
            return self._score.contributions(self._residuals(block).double())
        return self._likelihood(block, *self._attend(block, leave_out=False, local=self._variances))

    def _fit_row_contributions(self, block: Tensor) -> Tensor:
        if self.residual_score != "likelihood":
            return self._score.contributions(self._fit_row_residuals(block).double())
        return self._likelihood(block, *self._attend(block, leave_out=True, local=self._variances))

    def read(self, block: Tensor, *, leave_out: bool) -> tuple[Tensor, Tensor]:
        """Return the reconstruction of a block of rows and the contributions to their likelihood, in one go.

        For models that this one is a part of; only with ``residual_score="likelihood"``. Both are of the block's
        shape, whose rows are a multiple of ``ATTENTION_ROWS``.
        """
        means, variances = self._attend(block, leave_out=leave_out, local=self._variances)
        n_columns = block.shape[1]
        return means[:, :n_columns], self._likelihood(block, means, variances)[:, :n_columns]

    def _likelihood(self, block: Tensor, means: Tensor, variances: Tensor) -> Tensor:
        """Return the contributions to the likelihood of what was read; further columns are zero."""
        more = means.shape[1] - block.shape[1]
        local = variances.double().div_(LEAST).add_(1)
        scale = functional.pad(torch.from_numpy(self.variance_), (0, more), value=1.0) * LEAST
        squares = functional.pad(block, (0, more)).sub_(means).double().square_()
        return squares.div_(scale).div_(local).add_(local.log_())

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        names = ["prototypes", "copies", "mean", "axes"]
        names += ["variance", "local_variances"] if self.residual_score == "likelihood" else []
        arrays = {name: getattr(self, f"{name}_") for name in names}
        if self.residual_score != "likelihood":
            arrays |= {f"score.{name}": value for name, value in self._score.arrays().items()}
        return {"bandwidth": self.bandwidth_}, arrays

    def _restore(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.bandwidth_ = values["bandwidth"]
        for name, array in arrays.items():
            if not name.startswith("score."):
                setattr(self, f"{name}_", array)
        self._prepare()
        if self.residual_score == "likelihood":
            self._variances = _with_counts(self.local_variances_, self._counts)
        else:
            self._score = RESIDUAL_SCORES[self.residual_score].from_arrays(with_prefix(arrays, "score."))


def _read(closeness: Tensor, values: Tensor, out: Tensor) -> None:
    """Write the sums of values under softmax weights; ``closeness`` is used up."""
    torch.softmax(closeness, dim=1, out=closeness)
    torch.mm(closeness, values, out=out)


def hash_rows(rows: Tensor) -> Tensor:
    """Return an integer a row, the same for rows with equal cells and, all but surely, for no others; int64."""
    generator = torch.Generator().manual_seed(0)
    factors = 2 * torch.randint(2**62, (rows.shape[1],), generator=generator) + 1
    bits = (rows + 0.0).contiguous().view(torch.int32)  # without negative zeros
    return (bits.long() * factors.to(rows.device)).sum(dim=1)


def _with_counts(values: np.ndarray, counts: Tensor) -> Tensor:
    """Return the values times their prototype's copies, then the copies; float32, 16 n rows and columns."""
    wide = functional.pad(torch.from_numpy(values).double(), (0, 1, 0, len(counts) - len(values)), value=1.0)
    return functional.pad((wide * counts).float(), (0, -wide.shape[1] % 16))


def _over_counts(sums: Tensor, n_columns: int) -> Tensor:
    """Return the weighted means of sums whose column ``n_columns`` is the sum of the weights; zeros from there on."""
    means = sums.div_(sums[:, n_columns : n_columns + 1].clone())
    means[:, n_columns] = 0
    return means


def _unit(rows: np.ndarray) -> float:
    """Return the median distance of a row to its 5th neighbour among the others.

    Where most rows have as many copies it is the mean distance, and at least a thousandth of the rows' spread, which
    float32 can still tell apart.
    """
    rank = min(NEIGHBOUR, len(rows) - 1)
    distances = NearestNeighbors(algorithm="brute", n_neighbors=rank).fit(rows).kneighbors()[0][:, -1]
    spread = float(np.sqrt(rows.var(axis=0, dtype=np.float64).sum()))
    return max(float(np.median(distances)) or float(distances.mean()), 1e-3 * spread) or 1.0
