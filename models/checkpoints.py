"""What a killed training goes on from."""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.settings import Settings
from models.steps import Weights

HASHED_ROWS = 65_536
"""Rows are hashed in pieces of this size."""
NAME = re.compile(r"[0-9a-f]{32}\.safetensors")
"""What a checkpoint's file is called."""


@dataclass
class State:
    """How far a training has come.

    Parameters
    ----------
    weights : Weights
    order, noise : Generator
        Draw the order of the rows, and all else.
    epochs : list of dict
        Losses of the epochs so far.
    best : tensor, optional
        Weights of the epoch with the lowest held-out loss, ``best_epoch`` and ``best_loss``.
    """

    weights: Weights
    order: torch.Generator
    noise: torch.Generator
    epochs: list[dict[str, float]] = field(default_factory=list)
    best: Tensor | None = None
    best_epoch: int = 0
    best_loss: float = math.inf


@dataclass(frozen=True)
class Checkpoint:
    """The state of one training after its last whole epoch, as one safetensors file with JSON in its header.

    Its name is a hash of all that the training comes from: first weights, rows, held-out rows and settings. A
    checkpoint of other data or settings is thus never found. Going on from it ends with the same weights, to the
    last bit, as never having stopped, on the same device.

    Parameters
    ----------
    path : Path
    """

    path: Path

    @classmethod
    def of(cls, weights: Weights, *, rows: Any, held_out: Any, settings: Settings) -> Self:
        """Return the checkpoint of a training that is about to start; hashes the rows."""
        if settings.checkpoint is None:
            raise ValueError("checkpoint=None names no folder")
        content = {name: value for name, value in asdict(settings).items() if name != "checkpoint"}
        digest = hashlib.blake2b(json.dumps(content, sort_keys=True, default=str).encode(), digest_size=16)
        for array in (weights.values.cpu(), rows, held_out):
            for piece in _pieces(array):
                digest.update(piece)
        return cls(Path(settings.checkpoint) / f"{digest.hexdigest()}.safetensors")

    def save(self, state: State) -> None:
        """Write the state; whoever is killed meanwhile leaves the one before."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {f"weights.{name}": value.cpu() for name, value in state.weights.state().items()}
        tensors |= {"order": state.order.get_state(), "noise": state.noise.get_state()}
        if state.best is not None:
            tensors["best"] = state.best.cpu()
        content = {"epochs": state.epochs, "best_epoch": state.best_epoch}
        partial = self.path.with_suffix(f".{os.getpid()}.partial")
        save_file(tensors, partial, metadata={"json": json.dumps(content)})
        partial.replace(self.path)

    def load(self, state: State) -> None:
        """Take up what was saved, if anything was."""
        if not self.path.is_file():
            return
        with safe_open(self.path, framework="pt") as file:
            content = json.loads(file.metadata()["json"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state.weights.restore(
            {name.removeprefix("weights."): value for name, value in tensors.items() if name.startswith("weights.")}
        )
        state.order.set_state(tensors["order"])
        state.noise.set_state(tensors["noise"])
        state.epochs = content["epochs"]
        if content["best_epoch"]:
            state.best = tensors["best"].to(state.weights.values.device)
            state.best_epoch = content["best_epoch"]
            state.best_loss = state.epochs[state.best_epoch - 1]["held_out_loss"]


def clear(folder: str | Path) -> None:
    """Remove the checkpoints in a folder, and the folder if it is then empty; nothing if there is none."""
    folder = Path(folder)
    for path in folder.glob("*.safetensors"):
        if NAME.fullmatch(path.name):
            path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _pieces(array: Any) -> Iterator[bytes]:
    """Yield a table's shape and its bytes, in pieces."""
    if array is None:
        yield b"none"
        return
    yield repr(tuple(array.shape)).encode()
    for start in range(0, len(array), HASHED_ROWS):
        yield np.asarray(array[start : start + HASHED_ROWS], dtype=np.float32).tobytes()
