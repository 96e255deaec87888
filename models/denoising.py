"""The dense denoising autoencoder."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from models.base import Autoencoder, Dense, Network
from models.training import OnEpoch


class DenoisingAutoencoder(Autoencoder):
    """Learns to restore normal rows from noisy copies of them, and scores what it cannot restore.

    Vincent, Larochelle, Bengio and Manzagol, "Extracting and composing robust features with denoising
    autoencoders" (2008), section 2.3: minimise the loss of reconstructing a row from a corrupted copy of it.
    The decoder mirrors the encoder. Nothing is corrupted when rows are scored.

    Departs from the paper: the corruption adds Gaussian noise instead of setting cells to zero, and the loss
    is squared with a linear last layer, since the columns are scaled numbers rather than bits; other layers
    are hard swish, weights are not tied, and all layers are trained together.

    Parameters
    ----------
    hidden : sequence of int
        Nodes of each encoder layer between the columns and the code; may be empty.
    code_size : int
        Nodes of the code.
    noise : float
        Standard deviation of the noise, in units of the matrix; 0 makes a plain autoencoder.
    residual_score : {"mahalanobis", "mean_squared"}
        How residuals become a score, see ``models.scores``.
    batch_size : int
        Rows of a training step.
    learning_rate : float
        Peak learning rate of AdamW.
    max_epochs : int
        Passes over the rows at the latest.
    patience : int
        Passes without a lower loss on held-out rows before training stops.
    contamination : float
        Share of the fit rows, above 0 and at most 0.5, that ``predict`` calls outliers.
    random_state : int, RandomState or None
        Same int, same rows, same scores.
    on_epoch : callable, optional
        ``on_epoch(epoch, max_epochs, losses)`` is called after each epoch.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(200, 3))
    >>> model = DenoisingAutoencoder(max_epochs=5).fit(rows)
    >>> normal, odd = model.anomaly_score([[0.0, 0.0, 0.0], [9.0, -9.0, 9.0]])
    >>> bool(odd > normal)
    True
    """

    def __init__(
        self,
        *,
        hidden: Sequence[int] = (128,),
        code_size: int = 64,
        noise: float = 0.1,
        residual_score: str = "mahalanobis",
        batch_size: int = 512,
        learning_rate: float = 1e-3,
        max_epochs: int = 30,
        patience: int = 5,
        contamination: float = 0.1,
        random_state: int | np.random.RandomState | None = 0,
        on_epoch: OnEpoch | None = None,
    ) -> None:
        self.hidden = hidden
        self.code_size = code_size
        self.noise = noise
        self.residual_score = residual_score
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_epochs = max_epochs
        self.patience = patience
        self.contamination = contamination
        self.random_state = random_state
        self.on_epoch = on_epoch

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if min(*self.hidden, self.code_size, 1) < 1:
            raise ValueError(f"hidden={self.hidden!r} and code_size={self.code_size!r} must be 1 or more")
        if not self.noise >= 0:
            raise ValueError(f"noise={self.noise!r} must be 0 or more")

    def _build(self, n_columns: int, generator: torch.Generator) -> Network:
        sizes = [n_columns, *self.hidden, self.code_size]
        return Network(_dense(sizes, generator), _dense(sizes[::-1], generator))

    def _loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        noisy = batch
        if self.noise > 0:
            noisy = torch.randn(batch.shape, generator=generator).mul_(self.noise).add_(batch)
        return (self.network_(noisy) - batch).square()


def _dense(sizes: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    """Return dense layers of these sizes with hard swish between them, drawn as torch draws a Linear.

    ``skip_init`` leaves torch's global generator alone, which the caller may depend on.
    """
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layer = nn.utils.skip_init(Dense, n_in, n_out)
        bound = n_in**-0.5
        nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        layers += [layer, nn.Hardswish()]
    return nn.Sequential(*layers[:-1])
