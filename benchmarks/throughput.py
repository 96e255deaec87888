"""Rows a second of every stage and of the whole of `assay score`, and as ratios against peers on the same rows.

    python benchmarks/throughput.py --rows 1000000 --json out.json
    python benchmarks/throughput.py --rows 100000 --only numbers

Every measurement runs in a process of its own, so that its peak memory is its own. The peers are scikit-learn's
IsolationForest, PyOD's AutoEncoder with the same widths, batch size and number of epochs (`pip install pyod tqdm`;
left out where it is not installed), and the floor: read the Parquet file, one bare torch forward pass of the same
widths on all cores, write the scores; warm, with buffers that are there before, the best of five.

The whole command is that of a night: two tables of so many rows, *numbers*, a day of rows with 30 numeric columns and
neither entities nor a label, and *transactions*, simulated ones with the default features. A version is trained on
earlier rows. Its time begins when everything is imported; "load the model" is MLflow's, and is left out of the ratios.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from functools import partial, wraps
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.labels.known import Labels

COLUMNS, HIDDEN, CODE = 30, 64, 16
PEER_ROWS = 200_000  # PyOD and the forest are fitted and scored on this many rows at the most
TRAINED_ON = 60_000  # rows that the version of the whole command is trained on, at the most
BLOCK = 4_096
REPEATS = 5
QUEUE = {"strategy": "capacity", "alerts_per_day": 10}  # reasons cost by the alert, and not by the row
NUMBERS = [f"c{number}" for number in range(COLUMNS)]
UNIT = 1024 if sys.platform != "darwin" else 1024 * 1024  # of ru_maxrss, for a MB


def configuration(folder: Path) -> Any:
    """Return the configuration that `assay init` would write for the simulated table."""
    from pipeline.inference.roles import infer
    from pipeline.settings.config import TableConfig
    from pipeline.tables.reading import open_table

    table = open_table(folder / "transactions.parquet", TableConfig())
    return infer(table, settings=TableConfig(), label="TX_FRAUD")[0]


def simulate(folder: Path, rows: int, *, transactions: bool) -> None:
    """Write one table or both, and of each the earlier rows that its version is trained on."""
    from pipeline.simulation import simulate

    earlier = min(rows // 2, TRAINED_ON)
    if transactions:
        simulate(folder / "transactions.parquet", rows=rows, days=60)
        simulate(folder / "transactions-earlier.parquet", rows=earlier, days=60, first_day=date(2024, 11, 1))
    write_numbers(folder / "numbers-earlier.parquet", earlier, first=datetime(2025, 1, 1), days=3, seed=1)
    write_numbers(folder / "numbers.parquet", rows, first=datetime(2025, 1, 4), days=1, seed=0)


def write_numbers(path: Path, rows: int, *, first: datetime, days: int, seed: int) -> None:
    """Write a table of an id, a moment, an amount and 30 numbers, in the order of time."""
    random = np.random.default_rng(seed)
    moments = np.datetime64(first, "us") + np.arange(rows) * (days * 86_400_000_000 // rows)
    ids = pa.array(np.arange(rows) + 1_000_000_000 * (seed + 1))
    columns = {"id": ids, "at": pa.array(moments), "eur": random.exponential(50, rows).round(2)}
    pq.write_table(pa.table(columns | {name: random.standard_normal(rows) for name in NUMBERS}), path)


class Seconds(NamedTuple):
    """What some work took: on the wall, and of all processors together, which other work disturbs less."""

    wall: float
    processor: float

    def __sub__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.wall - other.wall, self.processor - other.processor)

    @classmethod
    def now(cls) -> "Seconds":
        """Return what has passed by now, of which only differences say something."""
        return cls(time.perf_counter(), time.process_time())


def timed(work: Callable[[], Any]) -> tuple[Any, Seconds]:
    """Return what some work returns, and the seconds that it took; what it imports was imported before."""
    start = Seconds.now()
    return work(), Seconds.now() - start


def best(work: Callable[[], Any], repeats: int = REPEATS) -> Seconds:
    """Return the least seconds that some work took, after once to warm up."""
    work()
    walls, processors = zip(*(timed(work)[1] for _ in range(repeats)), strict=True)
    return Seconds(min(walls), min(processors))


def validate(folder: Path) -> tuple[int, Seconds]:
    import great_expectations  # noqa: F401

    from pipeline.tables.reading import open_table
    from pipeline.validation.validate import validate

    config = configuration(folder)
    table = open_table(folder / "transactions.parquet", config.table)
    found, seconds = timed(lambda: validate(table, config, folder=folder / "validated", batch_id="throughput"))
    return found.counts.read, seconds


def features(folder: Path) -> tuple[int, Seconds]:
    import duckdb  # noqa: F401

    from pipeline.features import compute

    rows, config = folder / "validated" / "accepted.parquet", configuration(folder)
    _, seconds = timed(lambda: compute(rows, [], config, folder / "features.parquet"))
    return pq.read_metadata(rows).num_rows, seconds


def features_alone(folder: Path) -> tuple[int, Seconds]:
    """The query of the default features by itself, over accepted rows in one file."""
    import duckdb  # noqa: F401

    from pipeline.features import compute
    from pipeline.settings.file import read_config
    from pipeline.tables.reading import open_table
    from pipeline.validation.validate import validate

    config, scratch = read_config(folder / "transactions" / "assay.toml"), folder / "alone"
    table = open_table(folder / "transactions.parquet", config.table)
    validated = validate(table, config, folder=scratch, batch_id="throughput")
    _, seconds = timed(lambda: compute(validated.accepted, [], config, scratch / "features.parquet"))
    return validated.counts.accepted, seconds


def fit(folder: Path) -> tuple[int, Seconds]:
    import models.denoising  # noqa: F401
    from pipeline.detector.artefact import Detector

    config, as_of = configuration(folder), datetime.max - timedelta(days=1)
    detector, seconds = timed(lambda: Detector.fit(folder / "features.parquet", config, Labels(config), as_of))
    detector.save(folder / "detector")
    return int(detector.summary["fit_rows"]) * len(detector.epochs), seconds


def score(folder: Path) -> tuple[int, Seconds]:
    from pipeline.detector.artefact import Detector

    detector = Detector.load(folder / "detector")
    scored, seconds = timed(lambda: _scored(folder / "features.parquet", detector, folder / "scored"))
    return scored.scored, seconds


def score_numbers(folder: Path) -> tuple[int, Seconds]:
    """The scoring stage of the whole command, warm: the floor reads the same file."""
    from pipeline.settings.file import read_config
    from pipeline.tracking.store import load_detector

    detector, _ = load_detector(read_config(folder / "numbers" / "assay.toml"))
    table = folder / "numbers.parquet"
    seconds = best(lambda: _scored(table, detector, folder / "scored-numbers"), 3)
    return pq.read_metadata(table).num_rows, seconds


def _scored(features: Path, detector: Any, folder: Path) -> Any:
    from pipeline.scoring.score import score_table

    marks: dict[str, Any] = {"batch_id": "throughput", "model_version": "1", "scored_at": datetime(2026, 1, 1)}
    return score_table(features, detector, folder, **marks)


def _matrix(folder: Path, rows: int | None = None) -> np.ndarray:
    table = pq.read_table(folder / "numbers.parquet", columns=NUMBERS)
    return np.column_stack([column.to_numpy().astype(np.float32) for column in table.slice(0, rows).columns])


class BareForward:
    """A forward pass of a dense autoencoder and the mean squared error, in blocks, on all cores; nothing is checked.

    Every core has a thread, and every thread has buffers that are there before.
    """

    def __init__(self, rows: int) -> None:
        import torch

        self.cores = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count() or 1
        torch.set_num_threads(1)
        sizes = [COLUMNS, HIDDEN, CODE, HIDDEN, COLUMNS]
        generator = torch.Generator().manual_seed(0)
        self.layers = [(torch.randn(a, b, generator=generator) / a**0.5, torch.zeros(b)) for a, b in pairwise(sizes)]
        self.buffers = [[torch.empty(BLOCK, size) for size in sizes[1:]] for _ in range(self.cores)]
        self.scores = torch.empty(rows)

    def __call__(self, matrix: Any) -> None:
        """Write the scores of a matrix of shape (n_rows, 30)."""
        with ThreadPoolExecutor(self.cores) as pool:
            for _ in pool.map(partial(self._share, matrix), range(self.cores)):
                pass

    def _share(self, matrix: Any, core: int) -> None:
        import torch
        from torch.nn import functional

        with torch.inference_mode():
            for start in range(core * BLOCK, len(matrix), self.cores * BLOCK):
                rows = values = matrix[start : start + BLOCK]
                for number, ((weight, bias), buffer) in enumerate(zip(self.layers, self.buffers[core], strict=True)):
                    values = torch.addmm(bias, values, weight, out=buffer[: len(rows)])
                    if number < len(self.layers) - 1:
                        functional.hardswish(values, inplace=True)
                torch.mean(values.sub_(rows).square_(), dim=1, out=self.scores[start : start + BLOCK])


def floor(folder: Path) -> tuple[int, Seconds]:
    """Read, one bare forward pass of the same widths in blocks, write: what nothing can beat."""
    import torch

    rows = pq.read_metadata(folder / "numbers.parquet").num_rows
    matrix, forward = torch.empty(rows, COLUMNS), BareForward(rows)

    def work() -> None:
        for place, column in enumerate(pq.read_table(folder / "numbers.parquet", columns=NUMBERS).columns):
            matrix.numpy()[:, place] = column.to_numpy()
        forward(matrix)
        pq.write_table(pa.table({"score": forward.scores.numpy()}), folder / "floor.parquet")

    return rows, best(work)


def _ours(**settings: Any) -> Any:
    from models.denoising import DenoisingAutoencoder

    return DenoisingAutoencoder(hidden=(HIDDEN,), code_size=CODE, residual_score="mean_squared", **settings)


def model_fit(folder: Path) -> tuple[int, Seconds]:
    matrix, model = _matrix(folder, PEER_ROWS), _ours(max_epochs=1, batch_size=32)
    return len(matrix), timed(lambda: model.fit(matrix))[1]


def model_score(folder: Path) -> tuple[int, Seconds]:
    model, matrix = _ours(max_epochs=1, batch_size=4096).fit(_matrix(folder, 20_000)), _matrix(folder)
    return len(matrix), best(lambda: model.anomaly_score(matrix))


def bare_torch(folder: Path) -> tuple[int, Seconds]:
    import torch

    matrix = torch.from_numpy(_matrix(folder))
    forward = BareForward(len(matrix))
    return len(matrix), best(lambda: forward(matrix))


def _default(folder: Path) -> Any:
    from models.ensemble import EnsembleAutoencoder

    return EnsembleAutoencoder(n_steps=100).fit(_matrix(folder, 20_000))


def default_score(folder: Path) -> tuple[int, Seconds]:
    model, matrix = _default(folder), _matrix(folder, PEER_ROWS)
    return len(matrix), timed(lambda: model.anomaly_score(matrix))[1]


def default_products(folder: Path) -> tuple[int, Seconds]:
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


def forest_score(folder: Path) -> tuple[int, Seconds]:
    from sklearn.ensemble import IsolationForest

    matrix = _matrix(folder, PEER_ROWS)
    forest = IsolationForest(n_estimators=100, random_state=0).fit(matrix[:20_000])
    return len(matrix), timed(lambda: forest.score_samples(matrix))[1]


def _pyod(epochs: int) -> Any:
    from pyod.models.auto_encoder import AutoEncoder

    return AutoEncoder(
        hidden_neuron_list=[HIDDEN, CODE], epoch_num=epochs, batch_size=32, batch_norm=False, dropout_rate=0, verbose=0
    )


def pyod_fit(folder: Path) -> tuple[int, Seconds]:
    matrix, model = _matrix(folder, PEER_ROWS), _pyod(1)
    return len(matrix), timed(lambda: model.fit(matrix))[1]


def pyod_score(folder: Path) -> tuple[int, Seconds]:
    matrix = _matrix(folder, PEER_ROWS)
    model = _pyod(1).fit(matrix[:20_000])
    return len(matrix), timed(lambda: model.decision_function(matrix))[1]


STAGES = {
    "read": ("flows.score", "Batch.of"),
    "validate": ("pipeline.intake", "accept"),
    "hold against the training": ("pipeline.detector.reference", "Reference.check"),
    "remember": ("pipeline.intake", "_remember"),
    "features": ("pipeline.intake", "features_of"),
    "score": ("flows.score", "score_table"),
    "maps": ("flows.score", "make_maps"),
    "measures": ("flows.score", "measure_batch"),
    "audit slice": ("flows.score", "write_audit"),
    "promise": ("flows.score", "held_against"),
    "watch": ("flows.score", "watch"),
    "report": ("flows.score", "_write_page"),
    "publish": ("pipeline.workspace.draft", "Draft.publish"),
}
"""What the whole command calls for each stage, by module and name."""


def note_stages() -> dict[str, Seconds]:
    """Let every stage note its seconds from here on, and return where; of several calls, all together."""
    seconds = dict.fromkeys(STAGES, Seconds(0.0, 0.0))

    def noting(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            start = Seconds.now()
            try:
                return function(*args, **kwargs)
            finally:
                seconds[stage] = Seconds.now() - (start - seconds[stage])

        return call

    for stage, (module, path) in STAGES.items():
        *owners, name = path.split(".")
        owner: Any = importlib.import_module(module)
        for part in owners:
            owner = getattr(owner, part)
        setattr(owner, name, noting(stage, getattr(owner, name)))
    return seconds


def train_version(folder: Path, name: str) -> tuple[int, Seconds]:
    """Train the version that the whole command scores with."""
    from flows.run import run_flow
    from pipeline.settings.file import write_config

    home = folder / name
    home.mkdir()
    config = _settings(folder, name)
    (home / "assay.toml").write_text(write_config(config), encoding="utf-8")
    _, seconds = timed(
        lambda: run_flow(home / "assay.toml", "flows.train:train", table=str(folder / f"{name}-earlier.parquet"))
    )
    return pq.read_metadata(folder / f"{name}-earlier.parquet").num_rows, seconds


def _settings(folder: Path, name: str) -> Any:
    """Return the settings of one of the two tables: without Prefect's engine, and with few passes over the rows."""
    from pipeline.settings.config import Config

    if name == "transactions":
        raw = configuration(folder).model_dump(mode="json")
        raw |= {"features": {}, "model": {"max_epochs": 2}, "threshold": QUEUE}
    else:
        model = {"hidden": [HIDDEN], "code_size": CODE, "score": "mean_squared", "max_epochs": 2}
        raw = {
            "contract": {"id": "id", "timestamp": "at", "amount": "eur", "numeric": NUMBERS},
            "features": {"families": ["columns"]},
            "model": model,
            "threshold": QUEUE,
        }
    return Config.model_validate({**raw, "name": name, "work_dir": str(folder / name / "work"), "prefect": False})


def whole_command(folder: Path, name: str) -> tuple[int, Seconds]:
    """Score a table as `assay score` does, from the file to published alerts; notes the seconds of each stage."""
    from flows.run import HEAVY, run_flow

    for package in ("flows.score", "mlflow", *HEAVY):
        importlib.import_module(package)
    home, table, seconds = folder / name, folder / f"{name}.parquet", note_stages()
    flow: Any = importlib.import_module("flows.score")
    champion, load = flow.load_champion, Seconds(0.0, 0.0)

    def load_champion(*args: Any, **kwargs: Any) -> Any:
        nonlocal load
        value, load = timed(lambda: champion(*args, **kwargs))
        return value

    flow.load_champion = load_champion
    _, whole = timed(lambda: run_flow(home / "assay.toml", "flows.score:score", table=str(table)))
    total = whole - load
    seconds["other"] = total
    for part in [part for stage, part in seconds.items() if stage != "other"]:
        seconds["other"] -= part
    (home / "stages.json").write_text(json.dumps({"load the model": load, "stages": seconds}))
    return pq.read_metadata(table).num_rows, total


def _child(work: Callable[[Path], tuple[int, Seconds]], folder: Path, answers: Any) -> None:
    try:
        rows, seconds = work(folder)
    except BaseException:
        answers.put(None)
        raise
    answers.put((rows, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / UNIT))


def apart(work: Callable[[], object]) -> None:
    """Do some work in a process of its own: a later one that this one starts has its peak memory counted in."""
    process = multiprocessing.get_context("spawn").Process(target=work)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit("the tables were not made")


def measure(name: str, work: Callable[[Path], tuple[int, Seconds]], folder: Path) -> dict[str, Any]:
    """Run one piece of work in a fresh process; return its rows a second and peak memory."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_child, args=(work, folder, answers))
    process.start()
    answer = answers.get(timeout=3600)
    process.join()
    if answer is None:
        sys.exit(f"{name} failed")
    rows, (seconds, processor), megabytes = answer
    record = {"what": name, "rows": rows, "seconds": seconds, "processor": processor, "peak_mb": megabytes}
    record["rows_per_second"] = rows / seconds
    speed = f"{rows:>12,} rows{seconds:>9.2f} s{processor:>9.2f} of processors{rows / seconds:>14,.0f} rows/s"
    print(f"{name:<48}{speed}{megabytes:>8,.0f} MB", flush=True)
    return record


PREPARED = {
    "numbers: train": partial(train_version, name="numbers"),
    "transactions: train": partial(train_version, name="transactions"),
}
WORKS: dict[str, Callable[[Path], tuple[int, Seconds]]] = {
    "validate": validate,
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
    "PyOD AutoEncoder: fit one epoch, batches of 32": pyod_fit,
    "PyOD AutoEncoder: score": pyod_score,
    **PREPARED,
    "numbers: scoring stage": score_numbers,
    "numbers: assay score": partial(whole_command, name="numbers"),
    "transactions: features alone": features_alone,
    "transactions: assay score": partial(whole_command, name="transactions"),
}
OF_TRANSACTIONS = ("validate", "features", "fit", "score", "transactions")
"""How the works begin that take simulated transactions; all others take numbers."""
RATIOS = {
    "score, model alone / bare torch": ("model alone: score", "bare torch forward"),
    "score, ensemble / bare products of its own": (
        "default model of the tables (ensemble): score",
        "bare products of its networks and prototypes",
    ),
    "score, model alone / isolation forest": ("model alone: score", "isolation forest: score"),
    "score, model alone / PyOD": ("model alone: score", "PyOD AutoEncoder: score"),
    "fit, model alone / PyOD": (
        "model alone: fit one epoch, batches of 32",
        "PyOD AutoEncoder: fit one epoch, batches of 32",
    ),
    "numbers, scoring stage / floor": ("numbers: scoring stage", "floor (read, bare torch forward, write)"),
    "numbers, assay score / floor": ("numbers: assay score", "floor (read, bare torch forward, write)"),
    "numbers, assay score / PyOD's scores alone": ("numbers: assay score", "PyOD AutoEncoder: score"),
}
"""Ratios of speeds: above 1 the first is the faster one."""


def show_stages(folder: Path, name: str, whole: dict[str, Any]) -> dict[str, Any]:
    """Print each stage's share of the wall time of a whole command, and its processor seconds."""
    record: dict[str, Any] = json.loads((folder / name / "stages.json").read_text())
    wall, processor = record["load the model"]
    print(f"  {'load the model':<46}{wall:>26.2f} s{processor:>9.2f} of processors, not counted")
    for stage, (wall, processor) in sorted(record["stages"].items(), key=lambda item: -item[1][0]):
        share = wall / whole["seconds"]
        print(f"  {stage:<46}{wall:>26.2f} s{processor:>9.2f} of processors{share:>8.1%}")
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of each of the two tables")
    parser.add_argument("--only", nargs="+", default=[], help="begin of what to measure: numbers floor 'model alone'")
    parser.add_argument("--json", type=Path, help="write the table as a list of records")
    words = parser.parse_args()
    works = {title: work for title, work in WORKS.items() if not words.only or title.startswith(tuple(words.only))}
    if not find_spec("pyod"):
        print("PyOD is not installed: its rows are left out (pip install pyod tqdm)")
        works = {title: work for title, work in works.items() if not title.startswith("PyOD")}
    records = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with_transactions = any(title.startswith(OF_TRANSACTIONS) for title in works)
        apart(partial(simulate, folder, words.rows, transactions=with_transactions))
        for title, work in works.items():
            records.append(measure(title, work, folder))
            if title.endswith(": assay score"):
                records[-1] |= show_stages(folder, title.split(":")[0], records[-1])
    by_title = {record["what"]: record for record in records}
    for title, (first, second) in RATIOS.items():
        if first in by_title and second in by_title:
            times = [
                by_title[first][kind] / by_title[first]["rows"] * by_title[second]["rows"] / by_title[second][kind]
                for kind in ("seconds", "processor")
            ]
            wall, processor = times
            text = f"{1 / wall:>8.2f} x in speed, {wall:.2f} x the seconds, {processor:.2f} x those of processors"
            print(f"{title:<48}{text}")
            records.append({"what": title, "ratio": 1 / wall, "processor": processor})
    show_aim_of_features(by_title)
    if words.json:
        words.json.write_text(json.dumps(records, indent=1))


def show_aim_of_features(records: dict[str, dict[str, Any]]) -> None:
    """Print the seconds of the whole command with features, over their query's alone and those without features."""
    names = ("transactions: assay score", "transactions: features alone", "numbers: assay score")
    if all(name in records for name in names):
        whole, query, without = (records[name]["seconds"] for name in names)
        limit = 1.3 * query + without
        print(f"{'with features / (1.3 x their query + without)':<48}{whole / limit:>8.2f} x the seconds")


if __name__ == "__main__":
    main()
