"""How rare a row's values are two by two, by how many fit rows have them."""

from typing import Self

import numpy as np
import torch
from torch import Tensor

PAIR_VALUES = 12
"""A column of more values than these is cut into as many bins of one share of the rows."""
PAIRS = 300
"""Pairs of columns that are looked at, at most; where there are more, as many at random."""


class PairRarity:
    """Turns the cell that a row's values of two columns lie in into minus the log of the share of rows in as rare ones.

    A column of 12 values or fewer has a bin for each, which reaches half the way to the next; one with more is cut at
    its quantiles. Each pair of columns is a table of cells. A cell that c of n fit rows lie in scores ``-log P``, where
    P is the share of the rows whose cell holds c rows or fewer; so it does not matter how far apart values are, as in
    codes that stand for names. P of an empty cell is that of a cell with one row, N_1 / n with N_1 such cells: the
    probability that a row comes into a new one (Good, "The population frequencies of species and the estimation of
    population parameters", 1953, equation 9; Turing's estimate). Half of a score is either column's.

    Parameters
    ----------
    edges : ndarray of float32, shape (n_columns, n_edges)
        Where each column's bins but the first begin, rising, filled up with infinity.
    pairs : ndarray of int64, shape (n_pairs, 2)
    levels, levels_without : ndarrays of float32, shape (n_pairs, (n_edges + 1) ** 2)
        ``-log P`` of each cell; and for a row that lies in it and is left out of all counts.

    Examples
    --------
    >>> rarity = PairRarity.fit(np.array([[0.0, 0.0]] * 50 + [[1.0, 1.0]] * 49 + [[1.0, 0.0]]))
    >>> rarity(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])).sum(dim=1).neg().exp().round(decimals=2)
    tensor([1.0000, 0.0100, 0.0100])
    """

    def __init__(self, *, edges: np.ndarray, pairs: np.ndarray, levels: np.ndarray, levels_without: np.ndarray) -> None:
        self.edges, self.pairs = torch.tensor(edges), torch.tensor(pairs)
        self.levels, self.levels_without = torch.tensor(levels), torch.tensor(levels_without)

    @classmethod
    def fit(cls, rows: np.ndarray) -> Self:
        """Fit to rows of shape (n_rows, n_columns), two rows at least."""
        columns = np.asarray(rows, dtype=np.float32).T
        every = [_edges(column) for column in columns]
        size = 1 + max(map(len, every))
        bins = [np.searchsorted(edges, column, side="right") for edges, column in zip(every, columns, strict=True)]
        pairs = _pairs(len(columns))
        levels, levels_without = np.empty((2, len(pairs), size**2), np.float32)
        for number, (one, other) in enumerate(pairs):
            counts = np.bincount(bins[one] * size + bins[other], minlength=size**2)
            levels[number], levels_without[number] = _surprise(counts)
        edges = np.array([np.pad(some, (0, size - 1 - len(some)), constant_values=np.inf) for some in every])
        return cls(edges=edges, pairs=pairs, levels=levels, levels_without=levels_without)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that was fitted, by the name of the parameter."""
        return {name: getattr(self, name).numpy() for name in ("edges", "pairs", "levels", "levels_without")}

    def __call__(self, rows: Tensor, is_fit_row: Tensor | None = None) -> Tensor:
        """Return each column's half of the levels of its pairs, float32 of shape (n_rows, n_columns), 0 or more.

        Fit rows, where ``is_fit_row``, bool of shape (n_rows,), says so, are left out of the counts.
        """
        bins = torch.searchsorted(self.edges, rows.T.contiguous(), right=True)
        cells = bins[self.pairs[:, 0]].mul_(self.edges.shape[1] + 1).add_(bins[self.pairs[:, 1]])
        levels = self.levels.gather(1, cells)
        if is_fit_row is not None:
            levels = torch.where(is_fit_row, self.levels_without.gather(1, cells), levels)
        parts = torch.zeros(rows.shape[1], len(rows))
        for side in self.pairs.T:
            parts.index_add_(0, side, levels / 2)
        return parts.T.contiguous()


def _surprise(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return minus the log of the share of rows in cells that hold as many rows as each or fewer, at least N_1 / n.

    Then the same for a row that lies in the cell and is left out of all counts.
    """
    n_rows, n_single = int(counts.sum()), int(np.count_nonzero(counts == 1))
    rising = np.sort(counts)
    n_as_rare = np.append(0, np.cumsum(rising))
    share = n_as_rare[np.searchsorted(rising, counts, side="right")] / n_rows
    least = max(n_single, 0.5) / n_rows
    # The row's own cell then holds one fewer, and is as rare as those that held as few.
    n_without = n_as_rare[np.searchsorted(rising, counts - 1, side="right")] + counts - 1
    without = np.where(counts > 1, n_without, max(n_single - 1, 0.5)) / (n_rows - 1)
    return -np.log(np.maximum(share, least)), -np.log(without)


def _edges(column: np.ndarray) -> np.ndarray:
    """Return where a column's bins but the first begin: between few values, else at quantiles and behind the last."""
    values = np.unique(column)
    if len(values) <= PAIR_VALUES:
        return (values[1:] + values[:-1]) / 2
    edges = np.unique(np.quantile(column, np.linspace(0, 1, PAIR_VALUES + 1)).astype(np.float32))
    edges[-1] = np.nextafter(edges[-1], np.float32(np.inf))
    return edges


def _pairs(n_columns: int) -> np.ndarray:
    """Return the pairs of columns, int64 of shape (n_pairs, 2), rising."""
    pairs = np.column_stack(np.triu_indices(n_columns, 1))
    if len(pairs) > PAIRS:
        pairs = pairs[np.sort(np.random.default_rng(0).choice(len(pairs), PAIRS, replace=False))]
    return pairs
