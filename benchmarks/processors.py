"""What scores cost by the number of processors, and whether a GPU would pay.

    python benchmarks/processors.py --processors 1 2 4 8 16 --rows 200000

A network, an isolation forest, boosted trees and the committee of them score the same random rows (65 columns, as many
as a transaction has by default), each number of processors in a process of its own, and the least of three turns
counts. Printed are rows a second, and how much that is of N times what one processor does.

Where torch finds a GPU, the network's forward pass is timed there, too, with the rows on their way to it and back, and
what it does to the scores: every step of a pass rounds, and in another order on each kind of machine.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

COLUMNS, FIT_ROWS, TURNS = 65, 20_000, 3


def child(rows: int, processors: int) -> None:
    """Print rows a second of each model on so many processors."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:processors])
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # here, models are fitted and score on the processors
    import numpy as np
    import torch

    from models.committee import Committee
    from models.trees import BoostedTrees

    torch.set_num_threads(processors)
    fit_rows, table = made(FIT_ROWS, 1), made(rows, 2)
    committee = Committee(core=tuple(range(30)), max_epochs=2).fit(fit_rows, X_held_out=made(2000, 3))
    trees = BoostedTrees.fit(fit_rows, np.arange(FIT_ROWS) % 7 == 0)
    work: dict[str, Callable[[], Any]] = {
        "network": lambda: committee.members_["upper"].anomaly_score(table),
        "isolation forest": lambda: committee.members_["forest"].anomaly_score(table),
        "boosted trees": lambda: trees.margin(table),
        "committee": lambda: committee.anomaly_score(table),
    }
    print(json.dumps({name: rows / least(each) for name, each in work.items()}))


def made(rows: int, seed: int) -> Any:
    """Return random rows that lie near a plane of eight directions."""
    import numpy as np

    generator = np.random.default_rng(seed)
    directions = np.random.default_rng(0).normal(size=(8, COLUMNS)) * 0.3
    noise = generator.normal(size=(rows, COLUMNS))
    return (generator.normal(size=(rows, 8)) @ directions + noise).astype(np.float32)


def least(work: Callable[[], Any]) -> float:
    """Return the seconds of the fastest of some turns."""
    seconds = []
    for _ in range(TURNS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def on_gpu(rows: int) -> None:
    """Print what a forward pass takes on the processors and on the GPU, and by how much the errors differ."""
    import numpy as np
    import torch
    from torch import nn

    from models.blocks import in_blocks

    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(COLUMNS, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, COLUMNS))
    table, device = made(rows, 2), torch.device("cuda")

    def errors(network: nn.Module, block: torch.Tensor) -> torch.Tensor:
        return (network(block) - block).square().mean(dim=1)

    here = in_blocks(table, lambda block: errors(layers, block))
    seconds = least(lambda: in_blocks(table, lambda block: errors(layers, block)))
    there = nn.Sequential(*layers).to(device)

    def pass_there() -> np.ndarray:
        with torch.inference_mode():
            parts = torch.from_numpy(table).split(1 << 18)
            return torch.cat([errors(there, part.to(device)).cpu() for part in parts]).numpy()

    found = pass_there()
    gpu_seconds = least(pass_there)
    apart = np.abs(found - here) / here
    speeds = f"{rows / seconds:,.0f} rows a second on the processors, {rows / gpu_seconds:,.0f} on the GPU"
    differences = f"{np.mean(apart > 0):.0%} of the errors are others there, by {apart.max():.0e} of themselves at most"
    print(f"forward pass: {speeds} ({torch.cuda.get_device_name(0)}); {differences}")


def main() -> None:
    """Print a line a number of processors, and the GPU's where there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processors", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.rows, arguments.child)
        return
    found: dict[int, dict[str, float]] = {}
    for number in arguments.processors:
        command = [sys.executable, __file__, "--child", str(number), "--rows", str(arguments.rows)]
        found[number] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    alone = found[arguments.processors[0]]
    print(f"| processors | {' | '.join(alone)} |")
    print(f"|---{'|---' * len(alone)}|")
    for number, speeds in found.items():
        times = number / arguments.processors[0]
        cells = [f"{speed:,.0f} ({speed / alone[name] / times:.0%})" for name, speed in speeds.items()]
        print(f"| {number} | {' | '.join(cells)} |")
    import torch

    if torch.cuda.is_available():
        on_gpu(arguments.rows)


if __name__ == "__main__":
    main()
