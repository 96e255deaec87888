"""The convolutional autoencoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.layers import Network, Undrawn, dense_layers, drawn
from models.networks import NetworkAutoencoder


@dataclass(kw_only=True, eq=False, repr=False)
class ConvolutionalAutoencoder(NetworkAutoencoder):
    """Looks along a row with the same weights everywhere: along its columns, or along an entity's last rows.

    Masci, Meier, Ciresan and Schmidhuber, "Stacked convolutional auto-encoders for hierarchical feature extraction"
    (2011), section 3. With ``lags=1`` the sequence is the columns in their order (a spectrum, the hours of a day).
    With ``lags=k`` the matrix holds k groups of the same columns, one group a row of the entity, oldest or newest
    first: the sequence is those k rows, and each of the group's columns is a channel.

    Departs from the paper: sequences instead of images; strides instead of max-pooling; a dense layer between the
    last convolution and the code; hard swish; the decoder's weights are not the encoder's.

    Parameters
    ----------
    filters : sequence of int
        Channels of each convolution of the encoder; the decoder mirrors them. Each halves the sequence.
    kernel_size : int
        Positions that a filter sees; odd.
    code_size : int
        Nodes of the code.
    lags : int
        Groups of columns; the number of columns is a multiple of it.

    The other parameters are those of every autoencoder, see ``models.networks.NetworkAutoencoder``.

    Examples
    --------
    >>> import numpy as np
    >>> start = np.random.default_rng(0).uniform(0, 6, size=(1000, 1))
    >>> waves = np.sin(start + np.arange(16))
    >>> model = ConvolutionalAutoencoder(code_size=2, batch_size=64, learning_rate=0.01).fit(waves)
    >>> broken = waves[:1].copy()
    >>> broken[0, 8:] *= -1
    >>> bool(model.anomaly_score(broken)[0] > model.anomaly_score(waves).max())
    True
    """

    filters: Sequence[int] = (16, 16)
    kernel_size: int = 3
    code_size: int = 8
    lags: int = 1

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if min(*self.filters, self.code_size, 1) < 1 or len(self.filters) == 0:
            raise ValueError(f"filters={self.filters!r} and code_size={self.code_size!r} must be 1 or more")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={self.kernel_size!r} must be odd")
        if self.lags < 1 or self.n_features_in_ % self.lags:
            raise ValueError(f"lags={self.lags!r} does not divide the {self.n_features_in_} columns into equal groups")

    def _build(self, n_columns: int, generator: torch.Generator) -> Network:
        n_channels = 1 if self.lags == 1 else n_columns // self.lags
        lengths = [n_columns // n_channels]
        for _ in self.filters:
            lengths.append(-(-lengths[-1] // 2))
        channels = [n_channels, *self.filters]
        n_flat = channels[-1] * lengths[-1]
        down: list[nn.Module] = [Unfold(n_channels)]
        up: list[nn.Module] = [
            dense_layers([self.code_size, n_flat], generator=generator, last=nn.Hardswish),
            nn.Unflatten(1, (channels[-1], lengths[-1])),
        ]
        for at, (n_in, n_out) in enumerate(pairwise(channels)):
            down += [_convolution(n_in, n_out, self.kernel_size, generator=generator, stride=2), nn.Hardswish()]
            back = len(self.filters) - 1 - at
            up.append(Upsample(lengths[back]))
            up.append(_convolution(channels[back + 1], channels[back], self.kernel_size, generator=generator))
            if back:
                up.append(nn.Hardswish())
        down += [nn.Flatten(), dense_layers([n_flat, self.code_size], generator=generator)]
        return Network(nn.Sequential(*down), nn.Sequential(*up, Fold()))


class Unfold(nn.Module):
    """From rows, shape (n_rows, length * n_channels), to sequences, shape (n_rows, n_channels, length)."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.n_channels = n_channels

    def forward(self, rows: Tensor) -> Tensor:
        """Return the sequences; a row holds all channels of one position before the next."""
        return rows.unflatten(1, (-1, self.n_channels)).transpose(1, 2).contiguous()


class Fold(nn.Module):
    """From sequences, shape (n_rows, n_channels, length), back to rows, shape (n_rows, length * n_channels)."""

    def forward(self, sequences: Tensor) -> Tensor:
        """Return the rows."""
        return sequences.transpose(1, 2).flatten(1)


class Upsample(nn.Module):
    """Repeats each position of a sequence, up to a length at most twice its own."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, sequences: Tensor) -> Tensor:
        """Return sequences of shape (n_rows, n_channels, length)."""
        return functional.interpolate(sequences, scale_factor=2.0, mode="nearest")[:, :, : self.length].contiguous()


class _Convolution(Undrawn, nn.Conv1d):
    """A convolution."""


def _convolution(n_in: int, n_out: int, kernel_size: int, *, generator: torch.Generator, stride: int = 1) -> nn.Conv1d:
    """Return a convolution that keeps the length, but for its stride, drawn as torch draws one."""
    return drawn(_Convolution(n_in, n_out, kernel_size, padding=kernel_size // 2, stride=stride), generator)
