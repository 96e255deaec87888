"""Rows in blocks of one size, so that a row's result does not depend on the rows around it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from scipy.sparse import issparse
from torch import Tensor

from models.settings import RowSource
from models.training import DISK_ROWS, one_thread

BLOCK_CELLS = 2**17
"""A block has about this many cells of the matrix: enough to be worth the calls, and small enough for a cache."""

MOST_THREADS = 4
"""More threads wait for Python's lock: on 16 processors, models with 16 are a third slower than with 4
(benchmarks/processors.py)."""

SLICE_ROWS = 2**16
"""Rows are looked through this many at a time."""


@runtime_checkable
class _Array(Protocol):
    """What NumPy takes as an array."""

    def __array__(self) -> np.ndarray: ...


@runtime_checkable
class _Frame(Protocol):
    """What gives itself to other libraries as a data frame."""

    def __dataframe__(self) -> Any: ...


def block_rows(n_columns: int) -> int:
    """Return the rows of a block, a power of two.

    Examples
    --------
    >>> block_rows(1), block_rows(30), block_rows(200), block_rows(1500)
    (4096, 4096, 512, 128)
    """
    return max(128, min(4096, 1 << (BLOCK_CELLS // n_columns).bit_length() - 1))


def in_blocks(rows: np.ndarray | RowSource, function: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Apply a function of rows to blocks of one size, the last one padded with zeros, on up to `MOST_THREADS` cores.

    float32 matrix products round differently with the shape of their operands, and with where they lie in
    memory, so every block is copied into a tensor of its own, which torch aligns.

    Parameters
    ----------
    rows : array of shape (n_rows, n_columns), or RowSource
        One row at least.
    function : callable
        Maps a float32 tensor of shape (n_block_rows, n_columns) to one with as many rows. A row's result may
        depend on that row alone.
    """
    size = block_rows(rows.shape[1])
    n_rows = len(rows)

    def apply(start: int) -> np.ndarray:
        part = np.asarray(rows[start : start + size])
        block = torch.zeros(size, rows.shape[1])
        block.numpy()[: len(part)] = part
        with torch.inference_mode():
            return function(block)[: len(part)].numpy()

    with one_thread() as n_cores:
        first = apply(0)
        if n_rows <= size:
            return first.copy()
        results = np.empty((n_rows, *first.shape[1:]), first.dtype)
        results[:size] = first

        def fill(start: int) -> None:
            results[start : start + size] = apply(start)

        with ThreadPoolExecutor(min(n_cores, MOST_THREADS)) as pool:
            for _ in pool.map(fill, range(size, n_rows, size)):
                pass
        return results


def is_streamed(X: Any) -> bool:
    """Return whether to read a table from where it lies, slice by slice, instead of taking it as an array.

    That is so for a ``numpy.memmap`` and for an object that has a length, a shape and slices of its rows, and
    is no array (an HDF5 or Zarr data set, say).
    """
    if isinstance(X, np.memmap):
        return X.ndim == 2
    is_table = isinstance(X, RowSource) and len(X.shape) == 2
    return is_table and not issparse(X) and not isinstance(X, _Array | _Frame)


def slices(rows: np.ndarray | RowSource) -> Iterator[np.ndarray]:
    """Yield the rows in order, some at a time, as float32 arrays."""
    for start in range(0, len(rows), SLICE_ROWS):
        yield np.asarray(rows[start : start + SLICE_ROWS], dtype=np.float32)


def check_streamed(rows: Any, model: Any, *, reset: bool) -> None:
    """Read a table once through, and remember (``reset``) or compare its number of columns.

    Raises
    ------
    ValueError
        When it has too few rows or another number of columns, or a value is NaN or infinite.
    """
    n_rows, n_columns = rows.shape
    if n_rows < 2 and reset:
        raise ValueError(f"Found array with {n_rows} sample(s) (shape={rows.shape}) while a minimum of 2 is required")
    if reset:
        model.n_features_in_ = n_columns
    elif n_columns != model.n_features_in_:
        raise ValueError(
            f"X has {n_columns} features, but {type(model).__name__} is expecting {model.n_features_in_} features"
        )
    start = 0
    for block in slices(rows):
        if not np.isfinite(block).all():
            row, column = (int(at[0]) for at in np.nonzero(~np.isfinite(block)))
            raise ValueError(f"Input X contains NaN or infinity: row {start + row}, column {column}")
        start += len(block)


class RowSubset:
    """Some rows of a table that is read from where it lies.

    Parameters
    ----------
    rows : RowSource
    positions : int array of shape (n_positions,)
        Which rows, ascending.
    """

    def __init__(self, rows: RowSource, positions: np.ndarray) -> None:
        self.rows = rows
        self.positions = positions
        self.shape = (len(positions), rows.shape[1])

    def __len__(self) -> int:
        """Return the number of these rows."""
        return len(self.positions)

    def __getitem__(self, part: slice, /) -> np.ndarray:
        """Return some of them; reads the run of rows that they lie in."""
        positions = self.positions[part]
        if len(positions) == 0:
            return np.empty((0, self.shape[1]), np.float32)
        run = self.rows[int(positions[0]) : int(positions[-1]) + 1]
        return np.asarray(run, dtype=np.float32)[positions - positions[0]]


def at_random(rows: np.ndarray | RowSource, n_rows: int, generator: torch.Generator) -> np.ndarray | RowSource:
    """Return about this many rows in order, in runs that the generator picks; all of them if there are no more."""
    if len(rows) <= n_rows:
        return rows
    run = min(DISK_ROWS, n_rows)
    starts = run * torch.randperm(len(rows) // run, generator=generator)[: n_rows // run].sort().values.numpy()
    return np.concatenate([np.asarray(rows[start : start + run], dtype=np.float32) for start in starts.tolist()])
