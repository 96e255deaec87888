"""The nodes of many decision trees as plain arrays, and the leaves that rows come to."""

from collections.abc import Iterator

import numpy as np

TREES_AT_ONCE = 16
"""Rows go down as many trees in one call of NumPy: while it works on them, other threads need not wait for its lock."""


class Nodes:
    """Nodes of binary trees, one tree after the other; a row goes right where its value is above the node's cut.

    Parameters
    ----------
    columns : int array of shape (n_nodes,)
        Column that each node looks at.
    cuts : float array of shape (n_nodes,)
        What a value is held against.
    children : int array of shape (n_nodes, 2)
        Numbers of the nodes to the left and to the right. A leaf leads to itself.
    roots : int array of shape (n_trees,)
        Where each tree begins; rising, the first one 0.
    depth : int
        The most steps from a root to a leaf.

    Examples
    --------
    >>> stump = Nodes(np.zeros(3), np.array([0.5, 0, 0]), np.array([[1, 2], [1, 1], [2, 2]]), np.zeros(1), depth=1)
    >>> next(stump.leaves(np.array([[0.2], [0.5], [0.7]], np.float32))).tolist()
    [[1, 1, 2]]
    """

    def __init__(
        self, columns: np.ndarray, cuts: np.ndarray, children: np.ndarray, roots: np.ndarray, *, depth: int
    ) -> None:
        # A value of four bytes is above a cut where it is above the next lower one of four bytes, too.
        near = cuts.astype(np.float32)
        near = np.where(near > cuts, np.nextafter(near, np.float32(-np.inf)), near)
        ends = np.append(roots[1:], len(columns)).astype(np.int64)
        starts = roots.astype(np.int64)
        columns, children = columns.astype(np.int64), children.astype(np.int64)
        self.depth = depth
        self._groups = []
        for place in range(0, len(roots), TREES_AT_ONCE):
            first, last = starts[place], ends[min(place + TREES_AT_ONCE, len(roots)) - 1]
            here = slice(first, last)
            group = columns[here], near[here], (children[here] - first).ravel()
            self._groups.append((first, (starts[place : place + TREES_AT_ONCE] - first)[:, None], *group))

    def leaves(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the leaf of each row in some trees after others, int64 of shape (n_trees_of_these, n_rows).

        Parameters
        ----------
        rows : float32 array of shape (n_rows, n_columns)
            As many as the processor's cache holds.
        """
        n_rows = len(rows)
        cells, own = rows.T.ravel(), np.arange(n_rows)  # a column's cells side by side
        for first, roots, columns, cuts, children in self._groups:
            node = np.broadcast_to(roots, (len(roots), n_rows))
            starts = columns * n_rows
            for _ in range(self.depth):
                goes_right = cells.take(starts.take(node) + own) > cuts.take(node)
                node = children.take(2 * node + goes_right)
            yield node + first
