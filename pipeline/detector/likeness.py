"""How many known frauds a row is like: those in which the trees see what they see in the row."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from models.trees import BoostedTrees

MOST_FRAUDS = 1_000
"""A row is compared with as many known frauds at most, evenly taken in time."""
LEAST_SHARE = 0.7
"""A fraud is like a row with which it shares the leaves that make up as much of what speaks for fraud in the row."""
ROWS = 1024
"""Rows that are compared at a time."""


@dataclass(frozen=True, eq=False)
class KnownFrauds:
    """The leaves of boosted trees that known frauds end at: no value of theirs, and enough to say who is like them.

    Parameters
    ----------
    leaves : array of int32, shape (n_frauds, n_trees)
        As ``BoostedTrees.leaves`` has them.
    """

    leaves: np.ndarray

    @classmethod
    def of(cls, trees: "BoostedTrees", matrix: np.ndarray) -> Self:
        """Return some of the frauds of a matrix of encoded frauds, in the order of time."""
        return cls(trees.leaves(matrix[:: -(-len(matrix) // MOST_FRAUDS) or 1]))

    def alike(self, trees: "BoostedTrees", matrix: np.ndarray) -> np.ndarray:
        """Return how many of the frauds are like each row.

        Leaves that add to a row's margin speak for fraud in it, each by as much as it adds. A fraud is like the row
        where it ends at those of them that make up seven tenths of the sum.

        Parameters
        ----------
        trees : BoostedTrees
            The ones whose leaves these are.
        matrix : array of shape (n_rows, n_columns)
            Encoded rows.

        Returns
        -------
        array of int64, shape (n_rows,)

        Examples
        --------
        >>> from models.trees import BoostedTrees
        >>> rows = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
        >>> trees = BoostedTrees.fit(rows, rows[:, 1] > 1)
        >>> frauds = KnownFrauds.of(trees, rows[rows[:, 1] > 1])
        >>> high, low = frauds.alike(trees, np.array([[0.0, 2.0], [2.0, 0.0]], np.float32))
        >>> bool(high > 2 * low)
        True
        """
        alike = [self._alike(trees, matrix[start : start + ROWS]) for start in range(0, len(matrix), ROWS)]
        return np.concatenate([np.empty(0, np.int64), *alike])

    def _alike(self, trees: "BoostedTrees", matrix: np.ndarray) -> np.ndarray:
        leaves = trees.leaves(matrix)
        speaks = np.maximum(trees.values[leaves], 0.0)
        shared = np.zeros((len(leaves), len(self.leaves)))
        for tree in range(leaves.shape[1]):
            shared += speaks[:, tree, None] * (leaves[:, tree, None] == self.leaves[None, :, tree])
        whole = speaks.sum(axis=1, keepdims=True)
        return np.count_nonzero((shared >= LEAST_SHARE * whole) & (whole > 0), axis=1)
