"""The deep belief autoencoder: pretrained layer by layer, then unrolled and fine-tuned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from models.dense import DenseAutoencoder
from models.layers import Dense, Network, dense_layers
from models.settings import RowSource
from models.training import chunks, one_thread

MOMENTUM = (0.5, 0.9)
"""Of the first ``SLOW_EPOCHS``, and after them."""
SLOW_EPOCHS = 5
WEIGHT_COST = 2e-4


@dataclass(kw_only=True, eq=False, repr=False)
class DeepBeliefAutoencoder(DenseAutoencoder):
    """Each pair of layers first learns alone, as a restricted Boltzmann machine; then all are fine-tuned together.

    Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks" (2006), with its supporting
    material: machines are trained from the rows upwards by one step of contrastive divergence (Hinton, "Training
    products of experts by minimizing contrastive divergence", 2002), each on the hidden probabilities of the one
    below. Unrolled, they are encoder and, transposed, decoder. Visible units of the first machine are Gaussian for
    numbers, Bernoulli for 0/1 columns and softmax for one-hot groups (``loss="mixed"``); hidden units are logistic,
    and the code's are Gaussian. Momentum and weight decay are the paper's.

    Departs from the paper: fine-tuning is by AdamW, not conjugate gradients, and stops early; the weights are
    drawn as those of every dense layer here.

    Parameters
    ----------
    hidden : sequence of int
        Nodes of each encoder layer between the columns and the code; may be empty. The decoder mirrors them.
    code_size : int
        Nodes of the code.
    pretrain_epochs : int
        Passes over the rows for each machine; 0 leaves pretraining out.
    pretrain_learning_rate : float
        Learning rate of the machines; a tenth of it where visible or hidden units are Gaussian, which the paper
        trains slower too.

    The other parameters are those of every autoencoder, see ``models.networks.NetworkAutoencoder``.

    Examples
    --------
    >>> import numpy as np
    >>> at = np.random.default_rng(0).normal(size=(1000, 1))
    >>> rows = at * [1.0, -1.0, 1.0]
    >>> model = DeepBeliefAutoencoder(hidden=(16,), code_size=1, learning_rate=0.01).fit(rows)
    >>> usual, unusual = model.anomaly_score([[1.0, -1.0, 1.0], [1.0, 1.0, 1.0]])
    >>> bool(unusual > 10 * usual)
    True
    """

    decoder: Sequence[int] | None = field(default=None, init=False)
    hidden: Sequence[int] = (64, 32)
    pretrain_epochs: int = 10
    pretrain_learning_rate: float = 0.1

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.pretrain_epochs < 0:
            raise ValueError(f"pretrain_epochs={self.pretrain_epochs!r} must be 0 or more")
        if not self.pretrain_learning_rate > 0:
            raise ValueError(f"pretrain_learning_rate={self.pretrain_learning_rate!r} must be above 0")

    def _build(self, n_columns: int, generator: torch.Generator) -> Network:
        sizes, back = self._sizes(n_columns)
        return Network(
            dense_layers(sizes, generator=generator, activation=nn.Sigmoid),
            dense_layers(back, generator=generator, activation=nn.Sigmoid),
        )

    def _pretrain(self, rows: Tensor | RowSource, generator: torch.Generator) -> None:
        if self.pretrain_epochs == 0:
            return
        network = self.network_
        encoder = [layer for layer in network.encoder.modules() if isinstance(layer, Dense)]
        decoder = [layer for layer in network.decoder.modules() if isinstance(layer, Dense)]
        with one_thread(), torch.no_grad():
            for number, (up, down) in enumerate(zip(encoder, decoder[::-1], strict=True)):
                is_code = number == len(encoder) - 1
                machine = Machine(
                    up,
                    down,
                    visible=network.head if number == 0 else torch.sigmoid,
                    hidden_is_gaussian=is_code,
                )
                rate = self.pretrain_learning_rate * (0.1 if is_code or number == 0 else 1)
                for epoch in range(self.pretrain_epochs):
                    momentum = MOMENTUM[epoch >= SLOW_EPOCHS]
                    for chunk in chunks(rows, self.batch_size, generator):
                        for below in encoder[:number]:
                            chunk = torch.sigmoid(below(chunk))
                        for batch in chunk.split(self.batch_size):
                            machine.step(batch, rate=rate, momentum=momentum, generator=generator)
                down.weight.copy_(up.weight.t())


class Machine:
    """A restricted Boltzmann machine between two layers.

    Parameters
    ----------
    up : Dense
        Its weights, shape (n_hidden, n_visible), and the hidden units' biases; trained in place.
    down : Dense
        Its bias is that of the visible units; trained in place.
    visible : callable
        Maps the visible units' inputs to their means.
    hidden_is_gaussian : bool
        Whether hidden units are linear with unit variance, else they are 0 or 1.
    """

    def __init__(
        self, up: Dense, down: Dense, *, visible: Callable[[Tensor], Tensor], hidden_is_gaussian: bool
    ) -> None:
        self._up, self._down = up, down
        self._visible = visible
        self._hidden_is_gaussian = hidden_is_gaussian
        self._speed = [torch.zeros_like(part) for part in (up.weight, up.bias, down.bias)]

    def step(self, batch: Tensor, *, rate: float, momentum: float, generator: torch.Generator) -> None:
        """Take one step of contrastive divergence, Hinton (2002), section 8, on a batch (n_rows, n_visible)."""
        hidden = self.hidden(batch)
        if self._hidden_is_gaussian:
            states = hidden + torch.randn(hidden.shape, generator=generator)
        else:
            states = torch.bernoulli(hidden, generator=generator)
        again = self._visible(states @ self._up.weight + self._down.bias)
        hidden_again = self.hidden(again)
        n_rows = len(batch)
        gradients = (
            (hidden.t() @ batch - hidden_again.t() @ again) / n_rows - WEIGHT_COST * self._up.weight,
            (hidden - hidden_again).mean(dim=0),
            (batch - again).mean(dim=0),
        )
        parts = (self._up.weight, self._up.bias, self._down.bias)
        for part, speed, gradient in zip(parts, self._speed, gradients, strict=True):
            speed.mul_(momentum).add_(gradient, alpha=rate)
            part.add_(speed)

    def hidden(self, visible: Tensor) -> Tensor:
        """Return the hidden units' means, shape (n_rows, n_hidden)."""
        inputs = nn.functional.linear(visible, self._up.weight, self._up.bias)
        return inputs if self._hidden_is_gaussian else torch.sigmoid(inputs)
