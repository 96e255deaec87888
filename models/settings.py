"""What a training takes: the rows, the loss, how to train, and who is told of each epoch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from numpy.typing import ArrayLike
from torch import Tensor

Loss = Callable[[Tensor, torch.Generator], Tensor]
"""``loss(batch, generator)``: the loss of each cell, shape (n_rows, n_columns) like the batch."""
OnEpoch = Callable[[int, int, dict[str, float]], None]
"""``on_epoch(epoch, max_epochs, losses)``: called after each epoch; epochs count from 1."""


@runtime_checkable
class RowSource(Protocol):
    """A table that need not lie in memory: it gives slices of its rows, as arrays."""

    shape: tuple[int, int]

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, rows: slice, /) -> ArrayLike:
        """Return consecutive rows, shape (n_rows, n_columns)."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train.

    Parameters
    ----------
    batch_size : int
        Rows of a step at most.
    learning_rate : float
        Peak learning rate.
    max_epochs : int
        Passes over the rows at the latest.
    patience : int
        Passes without a lower loss on the held-out rows before training stops.
    seed : int
        Seeds the order of the rows and the corruption.
    column_names : sequence of str
        What an error calls the columns.
    warm_up : float
        Share of all steps in which the learning rate rises.
    max_norm : float
        Gradients with a larger norm are scaled down to it.
    device : str, optional
        Where to train; by default the GPU if there is one. The network comes back to the CPU.
    checkpoint : path, optional
        Folder that a killed training goes on from, see ``models.checkpoints``.
    identity : str
        What tells this training from others, beside rows, first weights and settings: a checkpoint is used only
        where all of them are the same.
    """

    batch_size: int
    learning_rate: float
    max_epochs: int
    patience: int
    seed: int
    column_names: Sequence[str]
    warm_up: float = 0.05
    max_norm: float = 1.0
    device: str | None = None
    checkpoint: Path | None = None
    identity: str = ""
