"""The denoising autoencoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.dense import DenseAutoencoder
from models.losses import Reconstruction

CORRUPTIONS = ("gaussian", "masking", "swap")


@dataclass(kw_only=True, eq=False, repr=False)
class DenoisingAutoencoder(DenseAutoencoder):
    """Learns to restore normal rows from noisy copies of them, and scores what it cannot restore.

    Vincent, Larochelle, Bengio and Manzagol, "Extracting and composing robust features with denoising
    autoencoders" (2008), section 2.3: minimise the loss of reconstructing a row from a corrupted copy of it.
    The decoder mirrors the encoder. Nothing is corrupted when rows are scored.

    Departs from the paper: the corruption is Gaussian by default, since the columns are scaled numbers rather than
    bits; "masking" is the paper's. Layers are hard swish, weights are not tied, and all layers are trained
    together.

    Parameters
    ----------
    hidden : sequence of int
        Nodes of each encoder layer between the columns and the code; may be empty.
    code_size : int
        Nodes of the code.
    decoder : sequence of int, optional
        Nodes of each decoder layer between the code and the columns; by default those of the encoder, mirrored.
    corruption : {"gaussian", "masking", "swap"}
        "gaussian" adds noise to every cell. "masking" sets a cell to 0, which is the mean of a standardised
        column. "swap" gives a cell the value of another row in the same column, so that each value is a usual
        one and only their combination is not.
    noise : float
        Standard deviation of the Gaussian noise, in units of the matrix, or else the share of cells that are
        masked or swapped; 0 makes a plain autoencoder.

    The other parameters are those of every autoencoder, see ``models.networks.NetworkAutoencoder``.

    Examples
    --------
    >>> import numpy as np
    >>> at = np.random.default_rng(0).normal(size=1000)
    >>> rows = np.column_stack([at, at, -at])
    >>> model = DenoisingAutoencoder(hidden=(32,), code_size=2, max_epochs=20).fit(rows)
    >>> usual, unusual = model.anomaly_score([[1.0, 1.0, -1.0], [1.0, 1.0, 1.0]])
    >>> bool(unusual > 10 * usual)
    True
    """

    hidden: Sequence[int] = (128,)
    code_size: int = 64
    corruption: str = "gaussian"
    noise: float = 0.1

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.corruption not in CORRUPTIONS:
            choices = ", ".join(map(repr, CORRUPTIONS))
            raise ValueError(f"corruption={self.corruption!r} must be one of {choices}")
        if not self.noise >= 0:
            raise ValueError(f"noise={self.noise!r} must be 0 or more")
        if self.corruption != "gaussian" and self.noise > 1:
            raise ValueError(f"noise={self.noise!r} is a share of cells with corruption={self.corruption!r}: at most 1")

    def _objective(self) -> Reconstruction:
        return Reconstruction(self.network_, corrupt=self._corrupt if self.noise > 0 else None)

    def _corrupt(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        if self.corruption == "gaussian":
            noise = torch.randn(batch.shape, generator=generator, device=batch.device)
            return noise.mul_(self.noise).add_(batch)
        hit = torch.rand(batch.shape, generator=generator, device=batch.device) < self.noise
        if self.corruption == "masking":
            return batch.masked_fill(hit, 0)
        others = torch.randint(len(batch), batch.shape, generator=generator, device=batch.device)
        return torch.where(hit, batch.gather(0, others), batch)
