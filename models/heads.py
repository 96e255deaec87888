"""What a decoder's outputs mean for each kind of column, and what is read off the fit rows for it."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

COLUMN_KINDS = ("number", "binary", "category")
"""Kinds of column: a scaled number, a 0/1 column, a group of one-hot columns."""
LOSSES = ("squared", "huber", "gaussian", "mixed")
"""Losses a model can be asked for; "mixed" uses for each column the one that fits its kind."""
MIN_LOG_VARIANCE = math.log(1e-4)
"""A Gaussian's variance stays above this, in squared units of the matrix; else a constant column has none."""

Groups = Sequence[tuple[str, int]]
"""Kind and width of each run of columns, in order; a category's width is its number of values."""


class Head(nn.Module):
    """Turns a decoder's outputs into what the model expects, and into a loss for each cell.

    ========  =========================  ====================================================================
    kind      expected                   loss of a cell
    ========  =========================  ====================================================================
    number    the output                 squared error; or twice Huber's loss with its corner at 1 (Huber,
                                         "Robust estimation of a location parameter", 1964); or Gaussian
    binary    sigmoid of the output      twice the binary cross-entropy
    category  softmax over the group     twice the categorical cross-entropy: the group's cells sum to it
    ========  =========================  ====================================================================

    All are deviances, twice a negative log-likelihood up to a constant, so that they add up in a mixed table. The
    Gaussian one has a variance a column, learnt together with the weights: ``log v + (x - m)^2 / v``, which is the
    squared error where ``v`` is 1. Departs from Kingma and Welling, "Auto-encoding variational
    Bayes" (2014), appendix C.2, whose decoder gives each row a variance of its own; Rybkin, Daniilidis and
    Levine, "Simple and effective VAE training with calibrated decoders" (2021), section 4, share it.

    Parameters
    ----------
    groups : sequence of (kind, width)
        Empty means that all columns are numbers under squared error.
    number : {"squared", "huber", "gaussian"}
        Loss of the numbers.
    weight : tensor of shape (n_columns,), optional
        What each column's loss is multiplied by.
    """

    log_variance: nn.Parameter | None
    weight: Tensor | None

    def __init__(self, *, groups: Groups = (), number: str = "squared", weight: Tensor | None = None) -> None:
        super().__init__()
        ends = list(accumulate(width for _, width in groups))
        self.spans = [(kind, slice(end - width, end)) for (kind, width), end in zip(groups, ends, strict=True)]
        self.number = number
        self.is_plain = number == "squared" and weight is None and all(kind == "number" for kind, _ in groups)
        self.has_numbers_only = all(kind == "number" for kind, _ in groups)
        self.register_buffer("weight", weight)
        free = nn.Parameter(torch.zeros(ends[-1])) if number == "gaussian" else None
        self.register_parameter("log_variance", free)

    def forward(self, outputs: Tensor) -> Tensor:
        """Return what the model expects, in the matrix's unit: for 0/1 columns probabilities."""
        if self.has_numbers_only:
            return outputs
        expected = {"number": lambda values: values, "binary": torch.sigmoid, "category": _softmax}
        return torch.cat([expected[kind](outputs[:, span]) for kind, span in self.spans], dim=1)

    def cells(self, outputs: Tensor, batch: Tensor) -> Tensor:
        """Return the loss of each cell, shape (n_rows, n_columns)."""
        if self.is_plain:
            return (outputs - batch).square()
        parts = [self._cells(kind, span, outputs[:, span], batch[:, span]) for kind, span in self.spans]
        cells = torch.cat(parts, dim=1)
        return cells if self.weight is None else cells * self.weight

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a row from each row of outputs, shape (n_rows, n_columns); numbers vary only under "gaussian"."""
        rows = self(outputs).clone()
        for kind, span in self.spans:
            part = rows[:, span]
            if kind == "binary":
                part.copy_(torch.bernoulli(part, generator=generator))
            elif kind == "category":
                values = torch.multinomial(part, 1, generator=generator)
                part.zero_().scatter_(1, values, 1)
            elif self.log_variance is not None:
                spread = (0.5 * self.log_variance[span].clamp(min=MIN_LOG_VARIANCE)).exp()
                part += spread * torch.randn(part.shape, generator=generator)
        return rows

    def _cells(self, kind: str, span: slice, outputs: Tensor, batch: Tensor) -> Tensor:
        if kind == "binary":
            return 2 * functional.binary_cross_entropy_with_logits(outputs, batch, reduction="none")
        if kind == "category":
            return -2 * batch * functional.log_softmax(outputs, dim=1)
        if self.number == "huber":
            return 2 * functional.huber_loss(outputs, batch, reduction="none")
        if self.log_variance is not None:
            log_variance = self.log_variance[span].clamp(min=MIN_LOG_VARIANCE)
            return log_variance + (outputs - batch).square() * (-log_variance).exp()
        return (outputs - batch).square()


def column_groups(loss: str, groups: Groups | None, *, n_columns: int, is_binary: np.ndarray) -> list[tuple[str, int]]:
    """Return the kind and width of each run of columns under a loss.

    Parameters
    ----------
    loss : str
        One of ``LOSSES``.
    groups : sequence of (kind, width), optional
        For "mixed"; without it a column is binary where ``is_binary`` says so, else a number.
    n_columns : int
    is_binary : bool array of shape (n_columns,)

    Raises
    ------
    ValueError
        For a kind that is none of ``COLUMN_KINDS``, a category of one column, or widths that do not add up to
        ``n_columns``.

    Examples
    --------
    >>> column_groups("mixed", None, n_columns=4, is_binary=np.array([False, True, True, False]))
    [('number', 1), ('binary', 2), ('number', 1)]
    """
    if loss != "mixed":
        if groups is not None:
            raise ValueError(f"column_groups={groups!r} is read only with loss='mixed', and loss={loss!r}")
        return [("number", n_columns)]
    if groups is None:
        return [("binary" if is_so else "number", len(list(run))) for is_so, run in groupby(is_binary.tolist())]
    runs = [(str(kind), int(width)) for kind, width in groups]
    for kind, width in runs:
        if kind not in COLUMN_KINDS or width < (2 if kind == "category" else 1):
            raise ValueError(f"column_groups has {(kind, width)!r}: a kind is one of {COLUMN_KINDS}, and wide enough")
    if sum(width for _, width in runs) != n_columns:
        raise ValueError(f"column_groups={runs!r} covers {sum(w for _, w in runs)} columns of {n_columns}")
    return runs


def column_statistics(blocks: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return each column's variance, float64, and whether it holds both 0 and 1 and nothing else.

    Parameters
    ----------
    blocks : iterable of arrays of shape (n_rows, n_columns)
    """
    count = 0
    for block in blocks:
        if count == 0:
            first = block[0].astype(np.float64)
            total, squares, only = np.zeros_like(first), np.zeros_like(first), np.ones(len(first), dtype=bool)
        count += len(block)
        centred = block - first  # near the mean, so that little cancels below
        total += centred.sum(axis=0)
        squares += (centred**2).sum(axis=0)
        only &= ((block == 0) | (block == 1)).all(axis=0)
    variance = np.maximum(squares / count - (total / count) ** 2, 0)
    return variance, only & (variance > 0)


def column_weight(variance: np.ndarray) -> Tensor:
    """Return one over each column's variance, so that the columns count alike; a constant column counts 1."""
    varies = variance > np.finfo(np.float32).eps
    return torch.tensor(np.where(varies, 1 / np.where(varies, variance, 1), 1), dtype=torch.float32)


def _softmax(outputs: Tensor) -> Tensor:
    return torch.softmax(outputs, dim=1)
