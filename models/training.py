"""The one training loop: fit, epoch, step."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from models import checkpoints
from models.steps import AutogradStep, DenseStep, Step, Weights

Loss = Callable[[Tensor, torch.Generator], Tensor]
"""``loss(batch, generator)``: the loss of each cell, shape (n_rows, n_columns) like the batch."""
OnEpoch = Callable[[int, int, dict[str, float]], None]
"""``on_epoch(epoch, max_epochs, losses)``: called after each epoch; epochs count from 1."""

HELD_OUT_ROWS = 4096
"""Held-out rows are evaluated in pieces of this size."""
CHUNK_CELLS = 2**19
"""Rows are gathered, corrupted and looked at for NaN about this many cells at a time."""
DISK_ROWS = 1024
"""Rows on disk are read in runs of this many."""
WINDOW_CELLS = 2**25
"""Of rows on disk, about this many cells (of 4 bytes) are held in memory at a time."""


class Rows(Protocol):
    """A table that need not lie in memory: it gives slices of its rows, as arrays."""

    shape: tuple[int, int]

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, rows: slice, /) -> ArrayLike:
        """Return consecutive rows, shape (n_rows, n_columns)."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train.

    Parameters
    ----------
    batch_size : int
        Rows of a step at most.
    learning_rate : float
        Peak learning rate.
    max_epochs : int
        Passes over the rows at the latest.
    patience : int
        Passes without a lower loss on the held-out rows before training stops.
    seed : int
        Seeds the order of the rows and the corruption.
    column_names : sequence of str
        What an error calls the columns.
    warm_up : float
        Share of all steps in which the learning rate rises.
    max_norm : float
        Gradients with a larger norm are scaled down to it.
    device : str, optional
        Where to train; by default the GPU if there is one. The network comes back to the CPU.
    checkpoint : path, optional
        Folder that a killed training goes on from, see ``models.checkpoints``.
    identity : str
        What tells this training from others, beside rows, first weights and settings: a checkpoint is used only
        where all of them are the same.
    """

    batch_size: int
    learning_rate: float
    max_epochs: int
    patience: int
    seed: int
    column_names: Sequence[str]
    warm_up: float = 0.05
    max_norm: float = 1.0
    device: str | None = None
    checkpoint: Path | None = None
    identity: str = ""


@contextmanager
def one_thread() -> Iterator[int]:
    """Let each torch operation run on one thread for a while; yields how many it had.

    Products as small as these gain little from a second thread, and lose tenfold where the cores are busy, since
    threads wait for each other after every operation. It also makes training come out the same whatever the
    number of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def learning_rate(step: int, n_steps: int, settings: Settings) -> float:
    """Return the learning rate of a step: a linear rise to the peak, then a cosine fall towards zero.

    Loshchilov and Hutter, "SGDR" (2017), equation 5, with one cycle and a warm-up.

    Examples
    --------
    >>> settings = Settings(
    ...     batch_size=1, learning_rate=1.0, max_epochs=1, patience=1, seed=0, column_names=()
    ... )
    >>> [round(learning_rate(step, 100, settings), 3) for step in (0, 4, 52, 99)]
    [0.2, 1.0, 0.5, 0.0]
    """
    rising = max(1, round(settings.warm_up * n_steps))
    if step < rising:
        return settings.learning_rate * (step + 1) / rising
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rising + 1) / (n_steps - rising + 1)))


@one_thread()
@torch.no_grad()
def fit(
    network: nn.Module,
    loss: Loss,
    rows: Tensor | Rows,
    held_out: Tensor | Rows | None,
    settings: Settings,
    on_epoch: OnEpoch | None = None,
) -> list[dict[str, float]]:
    """Train a network in place with AdamW and return the losses of each epoch.

    With held-out rows, training stops after ``settings.patience`` epochs without a lower loss on them, and
    the weights of the best epoch are kept; they take no other part. The order of the rows and the corruption
    come from the seed, and torch's global generator is left alone.

    Rows that are no tensor are read from where they lie: in each epoch the runs of ``DISK_ROWS`` rows come in
    random order, and as many as fit into ``WINDOW_CELLS`` are shuffled together. A table ordered in time is thus
    well mixed, and never in memory as a whole.

    Parameters
    ----------
    network : Module
    loss : callable
        Loss of each cell of a batch; it holds the network. A ``losses.Reconstruction`` of dense layers trains
        several times faster than any other, see ``steps.DenseStep``. Batch and generator lie on one device.
    rows : float32 tensor of shape (n_rows, n_columns), or Rows
    held_out : the same with n_held_out_rows, optional
    settings : Settings
    on_epoch : callable, optional

    Returns
    -------
    list of dict
        ``epoch`` (from 1), ``train_loss`` and, with held-out rows, ``held_out_loss``: means over all cells.

    Raises
    ------
    ValueError
        When the loss or its gradient is no longer finite; names the epoch, the batch and the column.
    """
    device = torch.device(settings.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    weights = Weights(network.to(device))
    order, noise = torch.Generator().manual_seed(settings.seed), torch.Generator(device).manual_seed(settings.seed)
    step = DenseStep.of(network, loss) or AutogradStep(loss, weights)
    kept = None if settings.checkpoint is None else checkpoints.Checkpoint.of(weights, rows, held_out, settings)
    state = checkpoints.State(weights=weights, order=order, noise=noise)
    if kept is not None:
        kept.load(state)
    patience = settings.max_epochs if held_out is None else settings.patience
    try:
        while len(state.epochs) < min(settings.max_epochs, state.best_epoch + patience):
            epoch = len(state.epochs) + 1
            network.train()
            losses = {"train_loss": _epoch(step, weights, rows, order, noise, epoch, settings)}
            network.eval()
            if held_out is not None:
                losses["held_out_loss"] = _held_out_loss(loss, held_out, device, epoch, settings)
                if losses["held_out_loss"] < state.best_loss:
                    state.best_loss, state.best_epoch = losses["held_out_loss"], epoch
                    state.best = weights.values.clone()
            state.epochs.append({"epoch": epoch, **losses})
            if kept is not None:
                kept.save(state)
            if on_epoch is not None:
                on_epoch(epoch, settings.max_epochs, losses)
        if state.best is not None:
            weights.values.copy_(state.best)
    finally:
        weights.release()
        network.eval().to("cpu")
    return state.epochs


def _epoch(
    step: Step,
    weights: Weights,
    rows: Tensor | Rows,
    order: torch.Generator,
    noise: torch.Generator,
    epoch: int,
    settings: Settings,
) -> float:
    """Take one pass over the rows in random order and return their mean loss."""
    n_batches = -(-len(rows) // settings.batch_size)
    n_steps = settings.max_epochs * n_batches
    number, total = 0, 0.0
    for chunk in chunks(rows, settings.batch_size, order):
        chunk = chunk.to(weights.values.device)
        before = weights.values.clone()
        sizes = [len(batch) for batch in chunk.split(settings.batch_size)]
        found = weights.values.new_empty(2, len(sizes))  # loss and norm of each step, looked at once a chunk
        step.start(chunk, settings.batch_size, noise)
        for at, (mean, norm) in enumerate(zip(*(row.unbind() for row in found), strict=True)):
            step.backward(at, mean)
            rate = learning_rate((epoch - 1) * n_batches + number + at, n_steps, settings)
            weights.update(rate, settings.max_norm, norm)
        found = found.cpu()
        spoilt = (~found.isfinite()).any(dim=0).nonzero()
        if len(spoilt):
            weights.values.copy_(before)
            at = int(spoilt[0])
            raise _not_finite(chunk.split(settings.batch_size)[at], f"epoch {epoch}, batch {number + at + 1}", settings)
        total += float(found[0].double() @ torch.tensor(sizes, dtype=torch.float64))
        number += len(sizes)
    return total / len(rows)


def chunks(rows: Tensor | Rows, batch_size: int, order: torch.Generator) -> Iterator[Tensor]:
    """Yield all rows once, in random order, in whole batches but for the last."""
    n_rows = max(1, CHUNK_CELLS // rows.shape[1] // batch_size) * batch_size
    left: Tensor | None = None
    for window in _windows(rows, order):
        if left is not None and len(left):
            window = torch.cat([left, window])
        chosen = torch.randperm(len(window), generator=order)
        whole = len(window) // batch_size * batch_size
        for part in chosen[:whole].split(n_rows):
            if len(part):
                yield window.index_select(0, part)
        left = window.index_select(0, chosen[whole:])
    if left is not None and len(left):
        yield left


def _windows(rows: Tensor | Rows, order: torch.Generator) -> Iterator[Tensor]:
    """Yield the rows themselves if they lie in memory, else as many runs of them as fit there, at random."""
    if isinstance(rows, Tensor):
        yield rows
        return
    starts = DISK_ROWS * torch.randperm(-(-len(rows) // DISK_ROWS), generator=order)
    for chosen in starts.split(max(1, WINDOW_CELLS // (DISK_ROWS * rows.shape[1]))):
        runs = [rows[start : start + DISK_ROWS] for start in chosen.sort().values.tolist()]
        yield torch.from_numpy(np.concatenate([np.asarray(run, dtype=np.float32) for run in runs]))


def _held_out_loss(loss: Loss, held_out: Tensor | Rows, device: torch.device, epoch: int, settings: Settings) -> float:
    """Return the mean loss on the held-out rows, under the same corruption in every epoch."""
    generator = torch.Generator(device).manual_seed(settings.seed)
    total = 0.0
    for start in range(0, len(held_out), HELD_OUT_ROWS):
        piece = torch.tensor(np.asarray(held_out[start : start + HELD_OUT_ROWS], dtype=np.float32), device=device)
        value = loss(piece, generator).mean().item()
        if not math.isfinite(value):
            raise _not_finite(piece, f"epoch {epoch}, held-out rows", settings)
        total += value * len(piece)
    return total / len(held_out)


def _not_finite(batch: Tensor, where: str, settings: Settings) -> ValueError:
    """Return the error; it names the column with the largest value, which spoils the loss of every column."""
    sizes = batch.abs().amax(dim=0)
    column = int(sizes.argmax())
    value = batch[batch[:, column].abs().argmax(), column].item()
    return ValueError(
        f"the loss is no longer finite ({where}); the largest value there is {value:g} in column "
        f"{settings.column_names[column]!r}: scale or bound that column, or lower "
        f"learning_rate={settings.learning_rate:g}"
    )
