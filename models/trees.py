"""Gradient-boosted trees of two classes, held as plain arrays: what labels teach beside a one-class model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from models.blocks import in_blocks
from models.nodes import Nodes

FIELDS = ("columns", "cuts", "left", "right", "values", "roots")


@dataclass(frozen=True, eq=False, kw_only=True)
class BoostedTrees:
    """Boosted trees that tell fraud from normal rows, saved and read without pickle and without scikit-learn.

    Fitted by scikit-learn's ``HistGradientBoostingClassifier``, which grows trees leaf by leaf on binned columns, as
    LightGBM does (Ke et al. 2017), and then taken apart. A row goes left where its value is at most the node's cut.
    A leaf leads to itself.

    Parameters
    ----------
    columns, left, right : ndarrays of int32, shape (n_nodes,)
        Of each node of all trees, one tree after the other: the column that it looks at, and the nodes below it.
    cuts, values : ndarrays of float64, shape (n_nodes,)
        What the column is held against, and what the node adds to the margin where a row ends at it.
    roots : ndarray of int32, shape (n_trees,)
        Where each tree begins.
    depth : int
        The most steps from a root to a leaf.
    base : float
        The margin without any tree.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
    >>> trees = BoostedTrees.fit(rows, rows[:, 1] > 1)
    >>> (trees.margin(np.array([[0.0, 2.0], [2.0, 0.0]], np.float32)) > 0).tolist()
    [True, False]
    """

    columns: np.ndarray
    cuts: np.ndarray
    left: np.ndarray
    right: np.ndarray
    values: np.ndarray
    roots: np.ndarray
    depth: int
    base: float

    @classmethod
    def fit(cls, rows: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None, *, seed: int = 0) -> Self:
        """Fit to labelled rows.

        Parameters
        ----------
        rows : array of shape (n_rows, n_columns)
            Finite.
        labels : array of bool, shape (n_rows,)
            True is fraud; both kinds are there.
        weights : array of shape (n_rows,), optional
            How many rows each stands for.
        seed : int
            Draws the columns that each tree's nodes look at.
        """
        from sklearn.ensemble import HistGradientBoostingClassifier

        booster = HistGradientBoostingClassifier(
            learning_rate=0.08,
            max_iter=100,
            max_leaf_nodes=31,
            max_depth=5,
            l2_regularization=1.0,
            max_features=0.3,
            early_stopping=False,
            random_state=seed,
        ).fit(rows, labels, sample_weight=weights)
        # scikit-learn has no public way to the nodes; they are read here only, never from an artefact.
        nodes = [trees[0].nodes for trees in booster._predictors]  # noqa: SLF001
        roots = np.cumsum([0, *(len(tree) for tree in nodes[:-1])])
        whole = np.concatenate(nodes)
        starts = np.repeat(roots, [len(tree) for tree in nodes])
        is_leaf, own = whole["is_leaf"].astype(bool), np.arange(len(whole))
        return cls(
            columns=np.where(is_leaf, 0, whole["feature_idx"]).astype(np.int32),
            cuts=np.where(is_leaf, 0.0, whole["num_threshold"]),
            left=np.where(is_leaf, own, starts + whole["left"]).astype(np.int32),
            right=np.where(is_leaf, own, starts + whole["right"]).astype(np.int32),
            values=whole["value"].astype(np.float64),
            roots=roots.astype(np.int32),
            depth=int(whole["depth"].max()),
            base=float(np.ravel(booster._baseline_prediction)[0]),  # noqa: SLF001
        )

    def margin(self, rows: np.ndarray) -> np.ndarray:
        """Return the log of each row's odds to be fraud, float64 of shape (n_rows,), whatever rows it comes with.

        Parameters
        ----------
        rows : array of shape (n_rows, n_columns)
        """
        if not len(rows):
            return np.empty(0)
        nodes = self._nodes()

        def margin(block: Tensor) -> Tensor:
            values = [self.values.take(leaves) for leaves in nodes.leaves(block.numpy())]
            return torch.from_numpy(self.base + np.ascontiguousarray(np.concatenate(values).T).sum(axis=1))

        return in_blocks(rows, margin)

    def leaves(self, rows: np.ndarray) -> np.ndarray:
        """Return the leaf that each row ends at in each tree, int32 of shape (n_rows, n_trees): its place in `values`.

        Parameters
        ----------
        rows : array of shape (n_rows, n_columns)
        """
        if not len(rows):
            return np.empty((0, len(self.roots)), np.int32)
        nodes = self._nodes()

        def ends(block: Tensor) -> Tensor:
            leaves = np.concatenate([*nodes.leaves(block.numpy())]).T
            return torch.from_numpy(np.ascontiguousarray(leaves, dtype=np.int32))

        return in_blocks(rows, ends)

    def _nodes(self) -> Nodes:
        return Nodes(self.columns, self.cuts, np.column_stack([self.left, self.right]), self.roots, depth=self.depth)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything as arrays by name."""
        numbers = {"depth": np.array([self.depth]), "base": np.array([self.base])}
        return {name: getattr(self, name) for name in FIELDS} | numbers

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild from ``arrays()``."""
        parts = {name: arrays[name] for name in FIELDS}
        return cls(**parts, depth=int(arrays["depth"][0]), base=float(arrays["base"][0]))
