"""How far a row lies beyond everything that the fit rows had, in its farthest column."""

from collections.abc import Collection, Iterable, Mapping
from typing import Self

import numpy as np


class Extremes:
    """The range of each column in the fit rows, and how far beyond it the farthest column of a row lies.

    A value that no normal row came near is unusual by itself, among however many columns that are usual.

    Parameters
    ----------
    lowest, highest : ndarrays of float32, shape (n_columns,)
        ``-inf`` as the lowest of a column that has no low end, ``inf`` as the highest of one without a high end.

    Examples
    --------
    >>> extremes = Extremes.fit([np.array([[0.0, 0.0], [1.0, 1.0]])], above=(1,))
    >>> extremes(np.array([[0.5, 1.0], [3.0, 1.5], [-1.0, -9.0]])).tolist()
    [0.0, 2.0, 1.0]
    """

    def __init__(self, lowest: np.ndarray, highest: np.ndarray) -> None:
        self.lowest, self.highest = lowest, highest

    @classmethod
    def fit(cls, blocks: Iterable[np.ndarray], above: Collection[int] = (), *, ignored: Collection[int] = ()) -> Self:
        """Fit to blocks of rows of shape (n_block_rows, n_columns), one row at least.

        Of the columns named in ``above`` no value is too low, and of those in ``ignored`` none is too high either.
        """
        ends = [(block.min(axis=0), block.max(axis=0)) for block in blocks if len(block)]
        lowest, highest = (np.array(end, dtype=np.float32) for end in zip(*ends, strict=True))
        lowest, highest = lowest.min(axis=0), highest.max(axis=0)
        lowest[np.isin(np.arange(len(lowest)), [*above, *ignored])] = -np.inf
        highest[np.isin(np.arange(len(highest)), list(ignored))] = np.inf
        return cls(lowest, highest)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild from ``arrays()``."""
        return cls(arrays["lowest"], arrays["highest"])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return ``lowest`` and ``highest``."""
        return {"lowest": self.lowest, "highest": self.highest}

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return the distance of each row, in units of the matrix, 0 inside the range; float64 of shape (n_rows,)."""
        rows = np.asarray(rows, dtype=np.float32)
        beyond = np.maximum(rows - self.highest, self.lowest - rows)
        return np.maximum(beyond.max(axis=1), 0).astype(np.float64)
