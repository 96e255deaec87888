"""The one training loop: fit, epoch, step."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, torch.Generator], Tensor]
"""``loss(batch, generator)``: the loss of each cell, shape (n_rows, n_columns) like the batch."""
OnEpoch = Callable[[int, int, dict[str, float]], None]
"""``on_epoch(epoch, max_epochs, losses)``: called after each epoch; epochs count from 1."""

HELD_OUT_ROWS = 4096
"""Held-out rows are evaluated in pieces of this size."""


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
    """

    batch_size: int
    learning_rate: float
    max_epochs: int
    patience: int
    seed: int
    column_names: Sequence[str]
    warm_up: float = 0.05
    max_norm: float = 1.0


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
def fit(
    network: nn.Module,
    loss: Loss,
    rows: Tensor,
    held_out: Tensor | None,
    settings: Settings,
    on_epoch: OnEpoch | None = None,
) -> list[dict[str, float]]:
    """Train a network in place with AdamW and return the losses of each epoch.

    With held-out rows, training stops after ``settings.patience`` epochs without a lower loss on them, and
    the weights of the best epoch are kept; they take no other part. The order of the rows and the corruption
    come from the seed, and torch's global generator is left alone.

    Parameters
    ----------
    network : Module
    loss : callable
        Loss of each cell of a batch; it holds the network.
    rows : float32 tensor of shape (n_rows, n_columns)
    held_out : float32 tensor of shape (n_held_out_rows, n_columns), optional
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
    generator = torch.Generator().manual_seed(settings.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, fused=True)
    epochs: list[dict[str, float]] = []
    best_loss, best_epoch, best_weights = math.inf, 0, {}
    for epoch in range(1, settings.max_epochs + 1):
        network.train()
        losses = {"train_loss": _epoch(network, loss, rows, optimizer, generator, epoch, settings)}
        network.eval()
        if held_out is not None:
            losses["held_out_loss"] = _held_out_loss(loss, held_out, epoch, settings)
            if losses["held_out_loss"] < best_loss:
                best_loss, best_epoch = losses["held_out_loss"], epoch
                best_weights = {name: value.clone() for name, value in network.state_dict().items()}
        epochs.append({"epoch": epoch, **losses})
        if on_epoch is not None:
            on_epoch(epoch, settings.max_epochs, losses)
        if held_out is not None and epoch - best_epoch >= settings.patience:
            break
    if best_weights:
        network.load_state_dict(best_weights)
    return epochs


def _epoch(
    network: nn.Module,
    loss: Loss,
    rows: Tensor,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    epoch: int,
    settings: Settings,
) -> float:
    """Take one pass over the rows in random order and return their mean loss."""
    batches = torch.randperm(len(rows), generator=generator).split(settings.batch_size)
    n_steps = settings.max_epochs * len(batches)
    total = 0.0
    for number, chosen in enumerate(batches):
        rate = learning_rate((epoch - 1) * len(batches) + number, n_steps, settings)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = rows[chosen]
        value = _step(network, loss, batch, optimizer, generator, settings.max_norm)
        if not math.isfinite(value):
            raise _not_finite(batch, f"epoch {epoch}, batch {number + 1}", settings)
        total += value * len(batch)
    return total / len(rows)


def _step(
    network: nn.Module,
    loss: Loss,
    batch: Tensor,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    max_norm: float,
) -> float:
    """Fit one batch and return its mean loss, or NaN without a step where loss or gradient is not finite."""
    optimizer.zero_grad()
    mean = loss(batch, generator).mean()
    mean.backward()
    norm = nn.utils.clip_grad_norm_(network.parameters(), max_norm)
    if not math.isfinite(norm.item()):
        return math.nan
    optimizer.step()
    return mean.item()


@torch.no_grad()
def _held_out_loss(loss: Loss, held_out: Tensor, epoch: int, settings: Settings) -> float:
    """Return the mean loss on the held-out rows, under the same corruption in every epoch."""
    generator = torch.Generator().manual_seed(settings.seed)
    total = 0.0
    for piece in held_out.split(HELD_OUT_ROWS):
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
