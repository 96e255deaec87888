"""Dense autoencoders: deep ones, and the linear one."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models.layers import Network, dense_layers
from models.networks import NetworkAutoencoder


@dataclass(kw_only=True, eq=False, repr=False)
class DenseAutoencoder(NetworkAutoencoder):
    """A deep autoencoder with a bottleneck: rows go through a code that is smaller than they are.

    Rumelhart, Hinton and Williams, "Learning internal representations by error propagation" (1986), "the encoding
    problem"; Goodfellow, Bengio and Courville, "Deep learning" (2016), section 14.1, for undercomplete ones. The
    code keeps what normal rows have in common, and a row that lacks it comes back changed.

    Departs from them: layers are hard swish, except the code and the output, which are linear.

    Parameters
    ----------
    hidden : sequence of int
        Nodes of each encoder layer between the columns and the code; may be empty.
    code_size : int
        Nodes of the code; take fewer than columns.
    decoder : sequence of int, optional
        Nodes of each decoder layer between the code and the columns; by default those of the encoder, mirrored.

    The other parameters are those of every autoencoder, see ``models.networks.NetworkAutoencoder``.

    Examples
    --------
    >>> import numpy as np
    >>> at = np.random.default_rng(0).uniform(-2, 2, size=2000)
    >>> curve = np.column_stack([at, np.sin(2 * at)])
    >>> model = DenseAutoencoder(hidden=(32,), code_size=1, batch_size=64, learning_rate=0.01).fit(curve)
    >>> on, off = model.anomaly_score([[1.0, np.sin(2)], [1.0, -1.0]])
    >>> bool(off > 10 * on)
    True
    """

    hidden: Sequence[int] = (64,)
    code_size: int = 8
    decoder: Sequence[int] | None = None

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if min(*self.hidden, *(self.decoder or ()), self.code_size, 1) < 1:
            sizes = f"hidden={self.hidden!r}, code_size={self.code_size!r} and decoder={self.decoder!r}"
            raise ValueError(f"{sizes} must be 1 or more")

    def _sizes(self, n_columns: int) -> tuple[list[int], list[int]]:
        """Return the nodes of encoder and decoder, each with its input and its output."""
        after = tuple(self.hidden)[::-1] if self.decoder is None else tuple(self.decoder)
        return [n_columns, *self.hidden, self.code_size], [self.code_size, *after, n_columns]

    def _build(self, n_columns: int, generator: torch.Generator) -> Network:
        encoder, decoder = self._sizes(n_columns)
        return Network(dense_layers(encoder, generator=generator), dense_layers(decoder, generator=generator))


@dataclass(kw_only=True, eq=False, repr=False)
class LinearAutoencoder(NetworkAutoencoder):
    """Linear units and squared error: it learns the subspace of the principal components, not their axes.

    Baldi and Hornik, "Neural networks and principal component analysis: learning from examples without local
    minima" (1989), sections 3 and 4; Bourlard and Kamp, "Auto-association by multilayer perceptrons and singular
    value decomposition" (1988).

    Parameters
    ----------
    code_size : int
        Nodes of the code, the dimension of the subspace.

    The other parameters are those of every autoencoder, see ``models.networks.NetworkAutoencoder``; under another
    ``loss`` than the squared one the subspace is another.

    Examples
    --------
    >>> import numpy as np
    >>> at = np.random.default_rng(0).normal(size=(1000, 1))
    >>> model = LinearAutoencoder(code_size=1, learning_rate=0.02).fit(at * [3.0, 4.0])
    >>> direction = np.diff(model.reconstruct([[-3.0, -4.0], [3.0, 4.0]]), axis=0)[0]
    >>> bool(abs(direction[1] / direction[0] - 4 / 3) < 0.05)
    True
    """

    code_size: int = 8

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.code_size < 1:
            raise ValueError(f"code_size={self.code_size!r} must be 1 or more")

    def _build(self, n_columns: int, generator: torch.Generator) -> Network:
        encoder = dense_layers([n_columns, self.code_size], generator=generator)
        return Network(encoder, dense_layers([self.code_size, n_columns], generator=generator))
