"""The one training loop: fit, epoch, step."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from models import checkpoints
from models.settings import Loss, OnEpoch, RowSource, Settings
from models.steps import AutogradStep, DenseStep, Step, Weights

HELD_OUT_ROWS = 4096
"""Held-out rows are evaluated in pieces of this size."""
CHUNK_CELLS = 2**19
"""Rows are gathered, corrupted and looked at for NaN about this many cells at a time."""
DISK_ROWS = 1024
"""Rows on disk are read in runs of this many."""
WINDOW_CELLS = 2**25
"""Of rows on disk, about this many cells (of 4 bytes) are held in memory at a time."""


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
    rows: Tensor | RowSource,
    *,
    settings: Settings,
    held_out: Tensor | RowSource | None = None,
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
        faster than any other, see ``models.steps``. Batch and generator lie on one device.
    rows : float32 tensor of shape (n_rows, n_columns), or RowSource
    settings : Settings
    held_out : the same with n_held_out_rows, optional
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
    state = checkpoints.State(
        weights=weights,
        order=torch.Generator().manual_seed(settings.seed),
        noise=torch.Generator(device).manual_seed(settings.seed),
    )
    step = DenseStep.of(network, loss) or AutogradStep(loss, weights)
    checkpoint = None
    if settings.checkpoint is not None:
        checkpoint = checkpoints.Checkpoint.of(weights, rows=rows, held_out=held_out, settings=settings)
        checkpoint.load(state)
    patience = settings.max_epochs if held_out is None else settings.patience
    try:
        while len(state.epochs) < min(settings.max_epochs, state.best_epoch + patience):
            epoch = len(state.epochs) + 1
            network.train()
            losses = {"train_loss": _epoch(step, rows, state, settings)}
            network.eval()
            if held_out is not None:
                losses["held_out_loss"] = _held_out_loss(loss, held_out, state, settings)
                if losses["held_out_loss"] < state.best_loss:
                    state.best_loss, state.best_epoch = losses["held_out_loss"], epoch
                    state.best = weights.values.clone()
            state.epochs.append({"epoch": epoch, **losses})
            if checkpoint is not None:
                checkpoint.save(state)
            if on_epoch is not None:
                on_epoch(epoch, settings.max_epochs, losses)
        if state.best is not None:
            weights.values.copy_(state.best)
    finally:
        weights.release()
        network.eval().to("cpu")
    return state.epochs


def _epoch(step: Step, rows: Tensor | RowSource, state: checkpoints.State, settings: Settings) -> float:
    """Take one pass over the rows in random order and return their mean loss."""
    weights, epoch = state.weights, len(state.epochs) + 1
    n_batches = -(-len(rows) // settings.batch_size)
    n_steps = settings.max_epochs * n_batches
    number, total = 0, 0.0
    for chunk in chunks(rows, settings.batch_size, state.order):
        chunk = chunk.to(weights.values.device)
        before = weights.values.clone()
        sizes = [len(batch) for batch in chunk.split(settings.batch_size)]
        outcomes = weights.values.new_empty(2, len(sizes))  # loss and norm of each step, looked at once a chunk
        step.start(chunk, settings.batch_size, state.noise)
        for at, (mean, norm) in enumerate(zip(*(row.unbind() for row in outcomes), strict=True)):
            step.backward(at, mean)
            rate = learning_rate((epoch - 1) * n_batches + number + at, n_steps, settings)
            weights.update(rate, settings.max_norm, norm)
        outcomes = outcomes.cpu()
        failures = (~outcomes.isfinite()).any(dim=0).nonzero()
        if len(failures):
            weights.values.copy_(before)
            at = int(failures[0])
            raise _not_finite(chunk.split(settings.batch_size)[at], f"epoch {epoch}, batch {number + at + 1}", settings)
        total += float(outcomes[0].double() @ torch.tensor(sizes, dtype=torch.float64))
        number += len(sizes)
    return total / len(rows)


def chunks(rows: Tensor | RowSource, batch_size: int, order: torch.Generator) -> Iterator[Tensor]:
    """Yield all rows once, in random order, in whole batches but for the last."""
    n_rows = max(1, CHUNK_CELLS // rows.shape[1] // batch_size) * batch_size
    rest: Tensor | None = None
    for window in _windows(rows, order):
        if rest is not None and len(rest):
            window = torch.cat([rest, window])
        places = torch.randperm(len(window), generator=order)
        whole = len(window) // batch_size * batch_size
        for part in places[:whole].split(n_rows):
            if len(part):
                yield window.index_select(0, part)
        rest = window.index_select(0, places[whole:])
    if rest is not None and len(rest):
        yield rest


def _windows(rows: Tensor | RowSource, order: torch.Generator) -> Iterator[Tensor]:
    """Yield the rows themselves if they lie in memory, else as many runs of them as fit there, at random."""
    if isinstance(rows, Tensor):
        yield rows
        return
    starts = DISK_ROWS * torch.randperm(-(-len(rows) // DISK_ROWS), generator=order)
    for window in starts.split(max(1, WINDOW_CELLS // (DISK_ROWS * rows.shape[1]))):
        runs = [rows[start : start + DISK_ROWS] for start in window.sort().values.tolist()]
        yield torch.from_numpy(np.concatenate([np.asarray(run, dtype=np.float32) for run in runs]))


def _held_out_loss(loss: Loss, held_out: Tensor | RowSource, state: checkpoints.State, settings: Settings) -> float:
    """Return the mean loss on the held-out rows, under the same corruption in every epoch."""
    device, epoch = state.weights.values.device, len(state.epochs) + 1
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
