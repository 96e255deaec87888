"""The variational autoencoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from models.dense import DenseAutoencoder
from models.heads import Head
from models.layers import Network, dense_layers
from models.scores import RESIDUAL_SCORES
from models.settings import Loss

LOG_VARIANCE = (-10.0, 10.0)
"""Bounds of the code's log variance: outside them a row far from all others would overflow."""


class GaussianEncoder(nn.Module):
    """Gives a Gaussian over the code for each row.

    Parameters
    ----------
    sizes : sequence of int
        Nodes of the input, of each hidden layer, and of the code.
    generator : Generator
        Draws the weights.
    """

    def __init__(self, sizes: Sequence[int], *, generator: torch.Generator) -> None:
        super().__init__()
        self.trunk = dense_layers(sizes[:-1], generator=generator, last=nn.Hardswish)
        self.mean = dense_layers(sizes[-2:], generator=generator)
        self.log_variance = dense_layers(sizes[-2:], generator=generator)

    def moments(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of each row's code, each of shape (n_rows, code_size)."""
        hidden = self.trunk(rows)
        return self.mean(hidden), self.log_variance(hidden).clamp(*LOG_VARIANCE)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the mean code of each row, shape (n_rows, code_size)."""
        return self.mean(self.trunk(rows))


class VariationalNetwork(Network):
    """An encoder to a Gaussian, a decoder, and the draws of the code that scoring uses for every row.

    Parameters
    ----------
    encoder : GaussianEncoder
    decoder : Module
    draws : tensor of shape (n_draws, code_size)
    """

    encoder: GaussianEncoder
    draws: Tensor

    def __init__(self, encoder: GaussianEncoder, decoder: nn.Module, *, draws: Tensor) -> None:
        super().__init__(encoder, decoder)
        self.register_buffer("draws", draws)


@dataclass(kw_only=True, eq=False, repr=False)
class VariationalAutoencoder(DenseAutoencoder):
    """Learns a distribution that normal rows could come from, and scores how unlikely a row is under it.

    Kingma and Welling, "Auto-encoding variational Bayes" (2014), equations 3 and 10 and appendix B: a row's code is
    drawn from a Gaussian that the encoder gives, and what is maximised is the mean log-likelihood of the row given
    the code, less the Kullback-Leibler divergence of that Gaussian from the standard one.

    Scores, in units of twice a log-likelihood and up to a constant, as the losses have it:

    - "elbo": the negative of what is maximised, the mean over ``n_draws`` codes.
    - "reconstruction_probability": without the divergence. An and Cho, "Variational autoencoder based anomaly
      detection using reconstruction probability" (2015), algorithm 4; the sign is changed, so that higher is more
      anomalous.
    - any of ``models.scores``, of the residuals of the reconstruction from the mean code.

    The draws are the same for every row and at every call. The divergence is no column's own: contributions spread
    it evenly.

    Departs from both papers: one variance a column, shared by all rows, see ``models.heads.Head``.

    Parameters
    ----------
    hidden : sequence of int
        Nodes of each encoder layer between the columns and the code; may be empty.
    code_size : int
        Nodes of the code.
    decoder : sequence of int, optional
        Nodes of each decoder layer between the code and the columns; by default those of the encoder, mirrored.
    beta : float
        What the divergence counts in training, 0 or more (Higgins et al., "beta-VAE", 2017); 1 in the papers.
    n_draws : int
        Codes that a row's score is the mean over.
    residual_score : {"elbo", "reconstruction_probability"} or one of ``models.scores``
    loss : {"gaussian", "squared", "huber", "mixed"}
        "mixed" has Gaussians for numbers.

    The other parameters are those of every autoencoder, see ``models.networks.NetworkAutoencoder``.

    Examples
    --------
    >>> import numpy as np
    >>> at = np.random.default_rng(0).normal(size=(2000, 1))
    >>> rows = at * [1.0, -1.0] + 0.1 * np.random.default_rng(1).normal(size=(2000, 2))
    >>> model = VariationalAutoencoder(code_size=1, learning_rate=0.01, batch_size=64).fit(rows)
    >>> bool(np.corrcoef(model.sample(1000), rowvar=False)[0, 1] < -0.8)
    True
    """

    score_names: ClassVar[tuple[str, ...]] = ("elbo", "reconstruction_probability", *RESIDUAL_SCORES)

    beta: float = 1.0
    n_draws: int = 8
    residual_score: str = "elbo"
    loss: str = "gaussian"

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not self.beta >= 0:
            raise ValueError(f"beta={self.beta!r} must be 0 or more")
        if self.n_draws < 1:
            raise ValueError(f"n_draws={self.n_draws!r} must be 1 or more")

    def _build(self, n_columns: int, generator: torch.Generator) -> VariationalNetwork:
        sizes, back = self._sizes(n_columns)
        encoder = GaussianEncoder(sizes, generator=generator)
        decoder = dense_layers(back, generator=generator)
        return VariationalNetwork(
            encoder, decoder, draws=torch.randn(self.n_draws, self.code_size, generator=generator)
        )

    def _head(self, weight: Tensor | None) -> Head:
        return Head(groups=self.column_groups_, number="gaussian" if self.loss == "mixed" else self.loss, weight=weight)

    def _objective(self) -> Loss:
        network = cast("VariationalNetwork", self.network_)

        def loss(batch: Tensor, generator: torch.Generator) -> Tensor:
            mean, log_variance = network.encoder.moments(batch)
            draw = torch.randn(mean.shape, generator=generator, device=mean.device)
            outputs = network.decoder(mean + (0.5 * log_variance).exp() * draw)
            price = 2 * self.beta * divergence(mean, log_variance)
            return network.head.cells(outputs, batch) + price[:, None] / batch.shape[1]

        return loss

    def _contributions(self, block: Tensor) -> Tensor:
        if self.residual_score in RESIDUAL_SCORES:
            return super()._contributions(block)
        network = cast("VariationalNetwork", self.network_)
        mean, log_variance = network.encoder.moments(block)
        spread = (0.5 * log_variance).exp()
        cells = torch.zeros(block.shape, dtype=torch.float64)
        for draw in network.draws:
            cells += network.head.cells(network.decoder(mean + spread * draw), block)
        cells /= len(network.draws)
        if self.residual_score == "elbo":
            cells += 2 * divergence(mean, log_variance).double()[:, None] / block.shape[1]
        return cells

    def sample(self, n: int, random_state: int | np.random.RandomState | None = 0) -> np.ndarray:
        """Draw synthetic normal rows: codes from the standard Gaussian, and rows from what they decode to.

        Numbers scatter about their mean with the learnt variance (with the "gaussian" and "mixed" losses), 0/1
        columns are tossed, and each one-hot group has a single 1.

        Parameters
        ----------
        n : int
        random_state : int, RandomState or None

        Returns
        -------
        ndarray of shape (n, n_columns), float32
        """
        check_is_fitted(self, "n_features_in_")
        generator = torch.Generator().manual_seed(int(check_random_state(random_state).randint(2**31)))
        with torch.inference_mode():
            outputs = self.network_.decoder(torch.randn(n, self.code_size, generator=generator))
            return self.network_.head.sample(outputs, generator).numpy()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return each row's Kullback-Leibler divergence from the standard Gaussian, shape (n_rows,).

    Kingma and Welling (2014), appendix B.

    Examples
    --------
    >>> divergence(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2))
    tensor([2.5000])
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
