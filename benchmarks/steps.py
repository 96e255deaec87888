"""Rows a second of a training step written out by hand, against torch's own autograd and optimisers.

    python benchmarks/steps.py --repeats 15 --json out.json

Every contender trains the same dense autoencoder on the same batches: squared error, its gradient clipped to norm 1,
AdamW with a learning rate that changes at each step. One thread, as `models.training` has it. Seconds are those that
the process has on a core, and the contenders take turns, so that other work on the machine changes little; ratios are
those of one turn.
"""

import argparse
import json
import logging
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.layers import Network, dense_layers
from models.losses import Reconstruction
from models.steps import AutogradStep, DenseStep, Step, Weights
from models.training import one_thread

NETWORKS = {"narrow": (30, 64, 16), "default": (30, 128, 64), "wide": (60, 512, 128)}
"""Columns, nodes of the hidden layer, nodes of the code; "default" as `DenoisingAutoencoder` has them."""
BATCHES = (32, 512)
RATE, MAX_NORM = 1e-3, 1.0
REFERENCE = "by hand"

Epoch = Callable[[Sequence[Tensor]], Tensor]
"""Takes a step on each batch, and returns the losses."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One contender's speed.

    Parameters
    ----------
    network, batch : str, int
    contender : str
    rows_a_second : sequence of float
        One a turn: rows times epochs over seconds.
    ratios : sequence of float
        Speed of the reference over the contender's in the same turn: above 1 the reference is faster.
    """

    network: str
    batch: int
    contender: str
    rows_a_second: list[float]
    ratios: list[float]


def autoencoder(sizes: Sequence[int]) -> Network:
    """Return a dense autoencoder of these columns, hidden and code nodes, always with the same first weights."""
    generator = torch.Generator().manual_seed(0)
    return Network(dense_layers(sizes, generator=generator), dense_layers(sizes[::-1], generator=generator))


def vectorised(network: Network, *, written_out: bool) -> Epoch:
    """Return an epoch with all parameters in one vector, as `models.training` takes it."""
    weights, loss = Weights(network), Reconstruction(network)
    step: Step | None = DenseStep.of(network, loss) if written_out else AutogradStep(loss, weights)
    if step is None:
        raise ValueError("the step is not for this network")

    def epoch(batches: Sequence[Tensor]) -> Tensor:
        means, norms = torch.empty(2, len(batches))
        with torch.no_grad():
            step.start(torch.cat(list(batches)), len(batches[0]), torch.Generator())
            for number in range(len(batches)):
                step.backward(number, means[number])
                weights.update(RATE / (number + 1), MAX_NORM, norms[number])
        return means

    return epoch


def library(network: Network, *, is_compiled: bool = False, **optimiser: Any) -> Epoch:
    """Return an epoch by autograd and `torch.optim.AdamW`; compiled: loss and gradient, clipping and AdamW."""
    rate = torch.tensor(RATE)
    # Compiled, a number would be compiled anew whenever it changes.
    adamw = torch.optim.AdamW(network.parameters(), lr=rate if is_compiled else RATE, **optimiser)

    def loss(batch: Tensor) -> Tensor:
        return (network(batch) - batch).square().mean()

    def update() -> None:
        nn.utils.clip_grad_norm_(network.parameters(), MAX_NORM)
        adamw.step()

    if is_compiled:
        loss, update = torch.compile(loss), torch.compile(update)

    def epoch(batches: Sequence[Tensor]) -> Tensor:
        means = torch.empty(len(batches))
        for number, batch in enumerate(batches):
            rate.fill_(RATE / (number + 1))
            if not is_compiled:
                adamw.param_groups[0]["lr"] = RATE / (number + 1)
            value = loss(batch)
            value.backward()
            update()
            adamw.zero_grad(set_to_none=not is_compiled)
            means[number] = value.detach()
        return means

    return epoch


COMPILED = "torch.compile of the step"
CONTENDERS: dict[str, Callable[[Network], Epoch]] = {
    REFERENCE: partial(vectorised, written_out=True),
    "autograd, AdamW by hand": partial(vectorised, written_out=False),
    "autograd, AdamW(fused=True)": partial(library, fused=True),
    "autograd, AdamW(foreach=True)": partial(library, foreach=True),
    COMPILED: partial(library, is_compiled=True),
}


def measure(
    name: str, contenders: dict[str, Callable[[Network], Epoch]], *, batch: int, rows: int, repeats: int
) -> list[Measurement]:
    """Return each contender's speed on one network and batch size; one that does not work here is left out."""
    sizes = NETWORKS[name]
    matrix = torch.from_numpy(np.random.default_rng(0).standard_normal((rows, sizes[0])).astype(np.float32))
    batches = matrix[: max(1, rows // batch) * batch].split(batch)
    epochs: dict[str, Epoch] = {}
    losses: dict[str, Tensor] = {}
    for contender, build in contenders.items():
        epoch = build(autoencoder(sizes).train())
        try:
            losses[contender] = epoch(batches)  # warms up, and compiles
        except Exception as error:  # noqa: BLE001  whatever a compiler fails with
            print(f"{contender} does not work here: {str(error).strip().splitlines()[0]}")
            continue
        torch.testing.assert_close(losses[contender], losses[REFERENCE], rtol=1e-3, atol=1e-5)
        epochs[contender] = epoch
    seconds: dict[str, list[float]] = {contender: [] for contender in epochs}
    for _ in range(repeats):
        for contender, epoch in epochs.items():
            start = time.process_time()
            epoch(batches)
            seconds[contender].append(time.process_time() - start)
    return [
        Measurement(
            network=name,
            batch=batch,
            contender=contender,
            rows_a_second=[sum(map(len, batches)) / value for value in values],
            ratios=[value / reference for value, reference in zip(values, seconds[REFERENCE], strict=True)],
        )
        for contender, values in seconds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16_384, help="rows of an epoch")
    parser.add_argument("--repeats", type=int, default=15, help="epochs of each contender")
    parser.add_argument("--json", type=Path, help="file for the single numbers")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes minutes")
    words = parser.parse_args()
    contenders = {name: build for name, build in CONTENDERS.items() if not (words.no_compile and name == COMPILED)}
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
    print(f"torch {torch.__version__}, {platform.machine()}; medians of {words.repeats} turns (least .. most)\n")
    print(f"{'network':<22}{'batch':>6}  {'contender':<34}{'rows a second':>32}   {'seconds over those by hand':>26}")
    measurements = []
    with one_thread():
        for name, sizes in NETWORKS.items():
            layers = "-".join(map(str, [*sizes, *sizes[-2::-1]]))
            for batch in BATCHES:
                for item in measure(name, contenders, batch=batch, rows=words.rows, repeats=words.repeats):
                    speed = _range(item.rows_a_second, ",.0f")
                    print(f"{layers:<22}{batch:>6}  {item.contender:<34}{speed:>32}   {_range(item.ratios, '.2f'):>26}")
                    measurements.append(item)
    if words.json is not None:
        words.json.write_text(json.dumps([asdict(item) for item in measurements], indent=2) + "\n", encoding="utf-8")


def _range(values: Sequence[float], form: str) -> str:
    """Return the median of some numbers with the least and the most."""
    return f"{np.median(values):{form}} ({min(values):{form}} .. {max(values):{form}})"


if __name__ == "__main__":
    main()
