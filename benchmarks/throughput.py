"""Rows a second of every stage, and as ratios against peers on the same rows in the same run.

    python benchmarks/throughput.py --rows 1000000 --json out.json

Every measurement runs in a process of its own, so that its peak memory is its own. The peers are scikit-learn's
IsolationForest, PyOD's AutoEncoder with the same widths, batch size and number of epochs (`pip install pyod tqdm`;
left out where it is not installed), and the floor: read the Parquet file, one bare torch forward pass, write.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.labels.known import Labels

COLUMNS, HIDDEN, CODE = 30, 64, 16
PEER_ROWS = 200_000  # PyOD and the forest are fitted and scored on this many rows at the most
BLOCK = 16_384


def configuration(folder: Path) -> Any:
    """Return the configuration that `assay init` would write for the simulated table."""
    from pipeline.inference.roles import infer
    from pipeline.settings.config import TableConfig
    from pipeline.tables.reading import open_table

    table = open_table(folder / "transactions.parquet", TableConfig())
    return infer(table, settings=TableConfig(), label="TX_FRAUD")[0]


def simulate(folder: Path, rows: int) -> None:
    from pipeline.simulation import simulate

    simulate(folder / "transactions.parquet", rows=rows, days=60)
    matrix = np.random.default_rng(0).standard_normal((rows, COLUMNS)).astype(np.float32)
    pq.write_table(pa.table({f"c{i}": matrix[:, i] for i in range(COLUMNS)}), folder / "matrix.parquet")


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what some work returns, and the seconds that it took; what it imports was imported before."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def validate(folder: Path) -> tuple[int, float]:
    import great_expectations  # noqa: F401

    from pipeline.tables.reading import open_table
    from pipeline.validation.validate import validate

    config = configuration(folder)
    table = open_table(folder / "transactions.parquet", config.table)
    found, seconds = timed(lambda: validate(table, config, folder=folder / "validated", batch_id="throughput"))
    return found.counts.read, seconds


def features(folder: Path) -> tuple[int, float]:
    import duckdb  # noqa: F401

    from pipeline.features import compute

    rows, config = folder / "validated" / "accepted.parquet", configuration(folder)
    _, seconds = timed(lambda: compute(rows, [], config, folder / "features.parquet"))
    return pq.read_metadata(rows).num_rows, seconds


def fit(folder: Path) -> tuple[int, float]:
    import models.denoising  # noqa: F401
    from pipeline.detector.artefact import Detector

    config, as_of = configuration(folder), datetime.max - timedelta(days=1)
    detector, seconds = timed(lambda: Detector.fit(folder / "features.parquet", config, Labels(config), as_of))
    detector.save(folder / "detector")
    return int(detector.summary["fit_rows"]) * len(detector.epochs), seconds


def score(folder: Path) -> tuple[int, float]:
    from pipeline.detector.artefact import Detector
    from pipeline.scoring.score import score_table

    detector = Detector.load(folder / "detector")
    start = time.perf_counter()
    scored = score_table(
        folder / "features.parquet",
        detector,
        folder / "scored",
        batch_id="throughput",
        model_version="1",
        scored_at=datetime(2026, 1, 1),
    )
    return scored.scored, time.perf_counter() - start


def _matrix(folder: Path, rows: int | None = None) -> np.ndarray:
    table = pq.read_table(folder / "matrix.parquet")
    return np.column_stack([column.to_numpy() for column in table.slice(0, rows).columns])


def floor(folder: Path) -> tuple[int, float]:
    """Read, one bare forward pass of the same widths in blocks, write: what nothing can beat."""
    import torch

    start = time.perf_counter()
    matrix = torch.from_numpy(_matrix(folder))
    widths = [COLUMNS, HIDDEN, CODE, HIDDEN, COLUMNS]
    layers: list[torch.nn.Module] = []
    for a, b in pairwise(widths):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1])
    with torch.inference_mode():
        scores = torch.cat([(network(x) - x).square().mean(1) for x in matrix.split(BLOCK)])
    pq.write_table(pa.table({"score": scores.numpy()}), folder / "floor.parquet")
    return len(matrix), time.perf_counter() - start


def _ours(**settings: Any) -> Any:
    from models.denoising import DenoisingAutoencoder

    return DenoisingAutoencoder(hidden=(HIDDEN,), code_size=CODE, residual_score="mean_squared", **settings)


def model_fit(folder: Path) -> tuple[int, float]:
    matrix, model = _matrix(folder, PEER_ROWS), _ours(max_epochs=1, batch_size=32)
    return len(matrix), timed(lambda: model.fit(matrix))[1]


def model_score(folder: Path) -> tuple[int, float]:
    model, matrix = _ours(max_epochs=1, batch_size=4096).fit(_matrix(folder, 20_000)), _matrix(folder)
    return len(matrix), timed(lambda: model.anomaly_score(matrix))[1]


def bare_torch(folder: Path) -> tuple[int, float]:
    import torch

    matrix = torch.from_numpy(_matrix(folder))
    network = torch.nn.Sequential(
        *(torch.nn.Linear(COLUMNS, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, CODE), torch.nn.ReLU()),
        *(torch.nn.Linear(CODE, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, COLUMNS)),
    )
    start = time.perf_counter()
    with torch.inference_mode():
        for block in matrix.split(BLOCK):
            network(block)
    return len(matrix), time.perf_counter() - start


def _default(folder: Path) -> Any:
    from models.ensemble import EnsembleAutoencoder

    return EnsembleAutoencoder(n_steps=100).fit(_matrix(folder, 20_000))


def default_score(folder: Path) -> tuple[int, float]:
    model, matrix = _default(folder), _matrix(folder, PEER_ROWS)
    return len(matrix), timed(lambda: model.anomaly_score(matrix))[1]


def default_products(folder: Path) -> tuple[int, float]:
    """The matrix products of the default model's networks and prototypes, in the same blocks, and nothing else."""
    import torch

    from models.blocks import in_blocks
    from models.memory import ATTENTION_ROWS

    model, matrix = _default(folder), _matrix(folder, PEER_ROWS)
    memories = [
        (memory.prototypes_, np.column_stack([memory.prototypes_, memory.local_variances_]))
        for memory in (model.memory_, model.rank_memory_)
    ]
    products = [(torch.from_numpy(keys.T.copy()), torch.from_numpy(values)) for keys, values in memories]

    def multiply(block: torch.Tensor) -> torch.Tensor:
        values = block.expand(model.n_networks, -1, -1)
        for weight in model.networks_.weights:
            values = torch.bmm(values, weight)
        for keys, read in products:
            closeness = torch.empty(ATTENTION_ROWS, keys.shape[1])
            for rows in block.split(ATTENTION_ROWS):
                torch.mm(rows, keys, out=closeness)
                torch.mm(closeness, read)
        return block[:, :1].clone()

    return len(matrix), timed(lambda: in_blocks(matrix, multiply))[1]


def forest_score(folder: Path) -> tuple[int, float]:
    from sklearn.ensemble import IsolationForest

    matrix = _matrix(folder, PEER_ROWS)
    forest = IsolationForest(n_estimators=100, random_state=0).fit(matrix[:20_000])
    return len(matrix), timed(lambda: forest.score_samples(matrix))[1]


def _pyod(epochs: int) -> Any:
    from pyod.models.auto_encoder import AutoEncoder

    return AutoEncoder(
        hidden_neuron_list=[HIDDEN, CODE], epoch_num=epochs, batch_size=32, batch_norm=False, dropout_rate=0, verbose=0
    )


def pyod_fit(folder: Path) -> tuple[int, float]:
    matrix, model = _matrix(folder, PEER_ROWS), _pyod(1)
    return len(matrix), timed(lambda: model.fit(matrix))[1]


def pyod_score(folder: Path) -> tuple[int, float]:
    matrix = _matrix(folder, PEER_ROWS)
    model = _pyod(1).fit(matrix[:20_000])
    return len(matrix), timed(lambda: model.decision_function(matrix))[1]


def _child(work: Callable[[Path], tuple[int, float]], folder: Path, answers: Any) -> None:
    rows, seconds = work(folder)
    unit = 1024 if sys.platform != "darwin" else 1024 * 1024
    answers.put((rows, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit))


def measure(name: str, work: Callable[[Path], tuple[int, float]], folder: Path) -> dict[str, Any]:
    """Run one piece of work in a fresh process; return its rows a second and peak memory."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_child, args=(work, folder, answers))
    process.start()
    rows, seconds, megabytes = answers.get(timeout=3600)
    process.join()
    record = {"what": name, "rows": rows, "seconds": seconds, "rows_per_second": rows / seconds, "peak_mb": megabytes}
    speed = f"{rows:>12,} rows{seconds:>9.2f} s{rows / seconds:>14,.0f} rows/s"
    print(f"{name:<48}{speed}{megabytes:>8,.0f} MB", flush=True)
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="simulated transactions")
    parser.add_argument("--json", type=Path, help="write the table as a list of records")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder, arguments.rows)
        stages = {
            "validate (Great Expectations)": validate,
            "features (DuckDB)": features,
            "fit (rows x epochs)": fit,
            "score (read, encode, score, write, explain)": score,
            "floor (read, bare torch forward, write)": floor,
            "model alone: fit one epoch, batches of 32": model_fit,
            "model alone: score": model_score,
            "bare torch forward": bare_torch,
            "default model of the tables (ensemble): score": default_score,
            "bare products of its networks and prototypes": default_products,
            "isolation forest: score": forest_score,
        }
        if find_spec("pyod"):
            stages["PyOD AutoEncoder: fit one epoch, batches of 32"] = pyod_fit
            stages["PyOD AutoEncoder: score"] = pyod_score
        else:
            print("PyOD is not installed: its rows are left out (pip install pyod tqdm)")
        records = [measure(title, work, folder) for title, work in stages.items()]
    speed = {record["what"]: record["rows_per_second"] for record in records}
    ours = speed["model alone: score"]
    ratios = {
        "score, model alone / bare torch": ours / speed["bare torch forward"],
        "score, ensemble / bare products of its own": speed["default model of the tables (ensemble): score"]
        / speed["bare products of its networks and prototypes"],
        "score, model alone / isolation forest": ours / speed["isolation forest: score"],
        "score, whole stage / floor": speed["score (read, encode, score, write, explain)"]
        / speed["floor (read, bare torch forward, write)"],
    }
    if find_spec("pyod"):
        ratios["score, model alone / PyOD"] = ours / speed["PyOD AutoEncoder: score"]
        ratios["fit, model alone / PyOD"] = (
            speed["model alone: fit one epoch, batches of 32"] / speed["PyOD AutoEncoder: fit one epoch, batches of 32"]
        )
    for title, ratio in ratios.items():
        print(f"{title:<44}{ratio:>8.2f} x")
        records.append({"what": title, "ratio": ratio})
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1))


if __name__ == "__main__":
    main()
