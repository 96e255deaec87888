"""The contractive autoencoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.dense import DenseAutoencoder
from models.layers import Dense, Network, dense_layers
from models.settings import Loss


@dataclass(kw_only=True, eq=False, repr=False)
class ContractiveAutoencoder(DenseAutoencoder):
    """The code may move only where the reconstruction needs it to: its slope is penalised.

    Rifai, Vincent, Muller, Glorot and Bengio, "Contractive auto-encoders: explicit invariance during feature
    extraction" (2011), equations 2 and 7: the reconstruction error plus ``contraction * |J|^2``, the squared Frobenius
    norm of the Jacobian of the code in the row. All layers but the output are logistic.

    With one encoder layer the norm is exact: ``sum_j (h_j (1 - h_j))^2 sum_i W_ji^2``. With more it is estimated:
    Hutchinson, "A stochastic estimator of the trace of the influence matrix" (1990): ``|v' J|^2`` for one vector
    ``v`` of random signs a row has ``|J|^2`` as its mean.

    Departs from the paper: the weights are not tied, and rows are scaled numbers under squared error.

    Parameters
    ----------
    hidden : sequence of int
        Nodes of each encoder layer between the columns and the code; empty for the paper's model.
    code_size : int
        Nodes of the code; may be more than columns.
    contraction : float
        What the norm counts against the reconstruction error summed over the columns, 0 or more.

    The other parameters are those of every autoencoder, see ``models.networks.NetworkAutoencoder``.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(500, 4))
    >>> free, bound = (ContractiveAutoencoder(contraction=c).fit(rows).encode(rows) for c in (0, 1))
    >>> bool(bound.std() < free.std())
    True
    """

    hidden: Sequence[int] = ()
    code_size: int = 64
    contraction: float = 0.1

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not self.contraction >= 0:
            raise ValueError(f"contraction={self.contraction!r} must be 0 or more")

    def _build(self, n_columns: int, generator: torch.Generator) -> Network:
        sizes, back = self._sizes(n_columns)
        return Network(
            dense_layers(sizes, generator=generator, activation=nn.Sigmoid, last=nn.Sigmoid),
            dense_layers(back, generator=generator, activation=nn.Sigmoid),
        )

    def _objective(self) -> Loss:
        def loss(batch: Tensor, generator: torch.Generator) -> Tensor:
            layers = [module for module in self.network_.encoder.modules() if isinstance(module, Dense)]
            outputs = [batch]
            for layer in layers:
                outputs.append(torch.sigmoid(layer(outputs[-1])))
            cells = self.network_.head.cells(self.network_.decoder(outputs[-1]), batch)
            norm = squared_norm(layers, outputs[1:], generator)
            return cells + self.contraction * norm[:, None] / batch.shape[1]

        return loss


def squared_norm(layers: Sequence[Dense], outputs: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """Return each row's squared Frobenius norm of the Jacobian of logistic layers, shape (n_rows,).

    Parameters
    ----------
    layers : sequence of Dense
    outputs : sequence of tensors of shape (n_rows, n_nodes)
        Of each layer, after the logistic function.
    generator : Generator
        Draws the signs that more than one layer needs.
    """
    slopes = [values * (1 - values) for values in outputs]
    if len(layers) == 1:
        return slopes[0].square() @ layers[0].weight.square().sum(dim=1)
    code = outputs[-1]
    along = torch.randint(2, code.shape, generator=generator, device=code.device).to(code.dtype).mul_(2).sub_(1)
    for layer, slope in zip(reversed(layers), reversed(slopes), strict=True):
        along = (along * slope) @ layer.weight
    return along.square().sum(dim=1)
