"""The loss that an autoencoder is trained with."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.layers import Network


@dataclass(frozen=True)
class Reconstruction:
    """The loss of an autoencoder: of each cell, how badly it comes back from a corrupted copy of its row.

    Parameters
    ----------
    network : Network
    corrupt : callable, optional
        ``corrupt(batch, generator)`` returns the copy that the encoder sees.
    penalty : callable, optional
        ``penalty(code)`` returns what each row pays for its code, shape (n_rows,). Spread evenly over the
        row's cells: the loss summed over the columns is reconstruction plus penalty.
    """

    network: Network
    corrupt: Callable[[Tensor, torch.Generator], Tensor] | None = None
    penalty: Callable[[Tensor], Tensor] | None = None

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of each cell of a batch, shape (n_rows, n_columns)."""
        inputs = batch if self.corrupt is None else self.corrupt(batch, generator)
        code = self.network.encoder(inputs)
        return self.cells(self.network.decoder(code), code, batch)

    def cells(self, outputs: Tensor, code: Tensor, batch: Tensor) -> Tensor:
        """Return the loss of each cell, given the decoder's outputs and the code."""
        cells = self.network.head.cells(outputs, batch)
        return cells if self.penalty is None else cells + self.penalty(code)[:, None] / batch.shape[1]
