"""What networks are made of: dense layers, and an encoder with its decoder."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.heads import Head


class Undrawn:
    """A layer of torch that leaves its weights undrawn when it is made, and torch's global generator as it is.

    The caller of a model may depend on that generator. ``torch.nn.utils.skip_init`` does the same, but imports half a
    second's worth of symbolic shapes.
    """

    def reset_parameters(self) -> None:
        """Leave the weights as they lie in memory."""


LayerT = TypeVar("LayerT", nn.Linear, nn.Conv1d)


def drawn(layer: LayerT, generator: torch.Generator) -> LayerT:
    """Return a layer with its weights drawn as torch draws them, uniformly within the inverse root of its inputs."""
    bound = layer.weight[0].numel() ** -0.5
    for part in layer.parameters():
        nn.init.uniform_(part, -bound, bound, generator=generator)
    return layer


class Dense(Undrawn, nn.Linear):
    """A linear layer that, once trained, gives a row the same output wherever in a batch the row stands.

    Matrix products take another path, which rounds differently, for a row that does not start on a boundary of
    64 bytes. So outside training rows and weights are padded with zeros to a multiple of 16 numbers.
    """

    _padded: tuple[Tensor, Tensor] | None = None

    def freeze(self) -> None:
        """Pad the weights once and for all; they must not change afterwards."""
        self._padded = self._pad()

    def forward(self, rows: Tensor) -> Tensor:
        """Return ``rows @ weight.T + bias``, shape (n_rows, out_features)."""
        if self.training or self.in_features % 16 == self.out_features % 16 == 0:
            return super().forward(rows)
        weight, bias = self._padded or self._pad()
        if self.in_features % 16:
            rows = functional.pad(rows, (0, -self.in_features % 16))
        return functional.linear(rows, weight, bias)[:, : self.out_features]

    def _pad(self) -> tuple[Tensor, Tensor]:
        more_in, more_out = -self.in_features % 16, -self.out_features % 16
        return functional.pad(self.weight, (0, more_in, 0, more_out)), functional.pad(self.bias, (0, more_out))


class Network(nn.Module):
    """An encoder and a decoder, each a module that maps rows to rows, and the head that reads the decoder.

    Parameters
    ----------
    encoder : Module
        From (n_rows, n_columns) to (n_rows, code_size).
    decoder : Module
        From (n_rows, code_size) to (n_rows, n_columns).
    head : Head, optional
        What the decoder's outputs mean. Without it they are the expected row itself.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, *, head: Head | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = head or Head()

    def forward(self, batch: Tensor) -> Tensor:
        """Return the reconstruction of a batch, in its unit, shape (n_rows, n_columns)."""
        return self.head(self.decoder(self.encoder(batch)))

    def freeze(self) -> None:
        """Fix the weights: training is over."""
        self.requires_grad_(requires_grad=False).eval()
        for module in self.modules():
            if isinstance(module, Dense):
                module.freeze()


def dense_layers(
    sizes: Sequence[int],
    *,
    generator: torch.Generator,
    activation: type[nn.Module] | None = nn.Hardswish,
    last: type[nn.Module] | None = None,
) -> nn.Sequential:
    """Return dense layers of these sizes, their weights drawn as torch draws those of a Linear.

    Parameters
    ----------
    sizes : sequence of int
        Nodes of the input and of each layer.
    generator : Generator
    activation : type of Module, optional
        Between the layers; None for linear units.
    last : type of Module, optional
        After the last layer.
    """
    layers: list[nn.Module] = []
    for number, (n_in, n_out) in enumerate(pairwise(sizes)):
        layers.append(drawn(Dense(n_in, n_out), generator))
        after = last if number == len(sizes) - 2 else activation
        if after is not None:
            layers.append(after())
    return nn.Sequential(*layers)
