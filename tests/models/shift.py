"""A network that learns the mean of each column, and the rows and settings that it is trained with."""

import numpy as np
import torch
from torch import nn

from models.settings import Settings


def settings(**changes):
    """Return the settings of a short training, some of them changed."""
    usual = {
        "batch_size": 32,
        "learning_rate": 0.01,
        "max_epochs": 5,
        "patience": 3,
        "seed": 0,
        "column_names": ["a", "b", "c"],
    }
    return Settings(**usual | changes)


class Shift(nn.Module):
    """One free number a column: the loss is the squared distance of the rows from it."""

    def __init__(self, n_columns=3):
        super().__init__()
        self.at = nn.Parameter(torch.zeros(n_columns))

    def loss(self, batch, generator):
        return (batch - self.at).square()


def rows(n_rows=200, seed=0):
    """Return normal rows of three columns."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n_rows, 3)).astype(np.float32))
