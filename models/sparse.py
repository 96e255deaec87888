"""The sparse autoencoder."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from models.dense import DenseAutoencoder
from models.layers import Dense, Network, dense_layers
from models.losses import Reconstruction

PENALTIES = ("kl", "l1")


@dataclass(kw_only=True, eq=False, repr=False)
class SparseAutoencoder(DenseAutoencoder):
    """Few of the code's nodes may be active at a time, so that the code can be wider than the row.

    "kl": Ng, "Sparse autoencoder" (CS294A lecture notes, 2011), section 3: logistic nodes, and a penalty of
    ``weight * sum_j KL(target || a_j)`` where ``a_j`` is node j's mean activation and KL is the Kullback-Leibler
    divergence between two coin tosses. "l1": rectified nodes and ``weight * sum_j |h_j|`` a row, after Glorot, Bordes
    and Bengio, "Deep sparse rectifier neural networks" (2011), section 3.2; nodes are then exactly 0 when inactive.

    Departs from the notes: the mean activation is that of the batch, so take no small one; and the code's biases
    start where every node has its target activation, which would take training a long way.

    Parameters
    ----------
    hidden : sequence of int
        Nodes of each encoder layer between the columns and the code; may be empty.
    code_size : int
        Nodes of the code; may be more than columns.
    penalty : {"kl", "l1"}
        What keeps the code sparse.
    weight : float
        What the penalty counts against the reconstruction error summed over the columns, 0 or more.
    target : float
        For "kl": mean activation of each node, above 0 and below 1.

    The other parameters are those of every autoencoder, see ``models.networks.NetworkAutoencoder``.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(2000, 6))
    >>> model = SparseAutoencoder(code_size=32, target=0.1, max_epochs=20).fit(rows)
    >>> bool(np.abs(model.encode(rows).mean(axis=0) - 0.1).max() < 0.05)
    True
    """

    hidden: Sequence[int] = ()
    code_size: int = 128
    penalty: str = "kl"
    weight: float = 10.0
    target: float = 0.05

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.penalty not in PENALTIES:
            raise ValueError(f"penalty={self.penalty!r} must be one of {', '.join(map(repr, PENALTIES))}")
        if not self.weight >= 0:
            raise ValueError(f"weight={self.weight!r} must be 0 or more")
        if not 0 < self.target < 1:
            raise ValueError(f"target={self.target!r} must lie above 0 and below 1")

    def _build(self, n_columns: int, generator: torch.Generator) -> Network:
        sizes, back = self._sizes(n_columns)
        encoder = dense_layers(sizes, generator=generator, last=nn.Sigmoid if self.penalty == "kl" else nn.ReLU)
        if self.penalty == "kl":
            code = cast("Dense", encoder[-2])
            nn.init.constant_(code.bias, math.log(self.target / (1 - self.target)))
        return Network(encoder, dense_layers(back, generator=generator))

    def _objective(self) -> Reconstruction:
        return Reconstruction(self.network_, penalty=self._price)

    def _price(self, code: Tensor) -> Tensor:
        """Return what each row pays for its code, shape (n_rows,)."""
        if self.penalty == "l1":
            return self.weight * code.abs().sum(dim=1)
        active = code.mean(dim=0).clamp(1e-6, 1 - 1e-6)
        divergence = self.target * (self.target / active).log()
        divergence = divergence + (1 - self.target) * ((1 - self.target) / (1 - active)).log()
        return (self.weight * divergence.sum()).expand(len(code))
