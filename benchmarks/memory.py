"""Peak memory of every stage and of the whole commands, on tables of several sizes, and what a row adds.

    python benchmarks/memory.py --rows 500000 2000000 6000000 --json out.json
    python benchmarks/memory.py --rows 12000000 --numbers 28 --limit 2GB

Every measurement runs in a process of its own. The stages are validate, features, fit and score; the commands
`assay train` and `assay score`, on the same simulated Parquet table, with the default model. They train for two
epochs, for more take time and no memory.

- *table* is the size of the table in memory, as Arrow; with --numbers it has so many numeric columns besides.
- *resident* is all memory that the process and those that it starts (Prefect's temporary server) hold at once,
  pages of files among it, which the system takes back when it needs them. *anonymous* is what it cannot take back.
- *bytes a row* is what a further row adds to the anonymous peak, against the size before.

With --limit only the commands run, each with so much memory for its data at the most (RLIMIT_DATA): a command that
asks for more fails. Linux only, for it reads /proc.
"""

import argparse
import json
import multiprocessing
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
EPOCHS = 2
EVERY = 0.02  # seconds between two looks at a process
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def make_table(folder: Path, rows: int, numbers: int, memory_limit: str) -> int:
    """Simulate the table, write the configuration that `assay init` would, and return the table's bytes as Arrow."""
    from pipeline.config import TableConfig
    from pipeline.config_file import write_config
    from pipeline.inference import infer
    from pipeline.simulation import simulate
    from pipeline.tables import ParquetWriter, open_table, read_batches

    path, plain = folder / "transactions.parquet", folder / "simulated.parquet"
    simulate(plain, rows=rows, days=60)
    random, size = np.random.default_rng(0), 0
    names = [f"V{number}" for number in range(1, numbers + 1)]
    schema = pa.schema([*pq.read_schema(plain), *((name, pa.float64()) for name in names)])
    with ParquetWriter(path, schema) as writer:
        for batch in read_batches(plain):
            for name in names:
                batch = batch.append_column(name, pa.array(random.standard_normal(batch.num_rows)))
            size += batch.nbytes
            writer.write(batch)
    plain.unlink()
    table = open_table(path, TableConfig())
    config = infer(table, settings=TableConfig(path=str(path)), label="TX_FRAUD")[0]
    model = config.model.model_copy(update={"max_epochs": EPOCHS})
    features = config.features.model_copy(update={"memory_limit": memory_limit})
    config = config.model_copy(update={"model": model, "features": features, "work_dir": str(folder / "work")})
    (folder / "assay.toml").write_text(write_config(config), encoding="utf-8")
    return size


def _config(folder: Path) -> Any:
    from pipeline.config_file import read_config

    return read_config(folder / "assay.toml")


def validate(folder: Path) -> None:
    from pipeline.tables import open_table
    from pipeline.validation import validate

    config = _config(folder)
    table = open_table(config.table.path, config.table)
    validate(table, config, folder=folder / "validated", batch_id="memory")


def features(folder: Path) -> None:
    from pipeline.features import compute

    compute(folder / "validated" / "accepted.parquet", [], _config(folder), folder / "features.parquet")


def fit(folder: Path) -> None:
    from pipeline.detector import Detector

    as_of = datetime.max - timedelta(days=1)
    Detector.fit(folder / "features.parquet", _config(folder), as_of).save(folder / "detector")


def score(folder: Path) -> None:
    from pipeline.detector import Detector
    from pipeline.scoring import score_table

    detector = Detector.load(folder / "detector")
    marks: dict[str, Any] = {"batch_id": "memory", "model_version": "1", "scored_at": datetime(2026, 1, 1)}
    score_table(folder / "features.parquet", detector, folder / "scored", **marks)


def command(name: str, limit: int | None, folder: Path) -> None:
    """Become the command; what it prints goes into a file."""
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "flows.cli", name, "--config", str(folder / "assay.toml")]
    with (folder / f"{name}.txt").open("w") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
        os.execve(sys.executable, words, environment)


STAGES: dict[str, Callable[[Path], None]] = {
    "validate": validate,
    "features": features,
    "fit": fit,
    "score": score,
}
COMMANDS = ("train", "score")


def held(pid: int) -> tuple[int, int]:
    """Return the resident and the anonymous bytes of a process and of all that it started."""
    total = np.zeros(2, dtype=np.int64)
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        found = dict(re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB$", status, re.MULTILINE))
        total += [1024 * int(found.get(name, 0)) for name in ("VmRSS", "RssAnon")]
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                total += held(int(child))
    except (FileNotFoundError, ProcessLookupError):  # it ended while it was looked at
        pass
    return int(total[0]), int(total[1])


def measure(work: Callable[[Path], None], folder: Path) -> dict[str, Any]:
    """Run some work in a fresh process and return its seconds, and its peak memory in bytes."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=(folder,))
    start, resident, anonymous = time.perf_counter(), 0, 0
    process.start()
    while process.is_alive():
        now = held(process.pid or 0)
        resident, anonymous = max(resident, now[0]), max(anonymous, now[1])
        process.join(EVERY)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "resident": resident, "anonymous": anonymous, "status": process.exitcode}


def bytes_of(text: str) -> int:
    """Read a size such as 2GB, with powers of 1,000.

    Examples
    --------
    >>> bytes_of("1.5GB"), bytes_of("800 MB")
    (1500000000, 800000000)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s?([KMG]?)B", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give one such as 2GB")
    return round(float(found[1]) * UNITS[found[2]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[500_000, 2_000_000], help="sizes of the tables")
    parser.add_argument("--numbers", type=int, default=0, help="further numeric columns")
    parser.add_argument("--memory-limit", default="2GB", help="features.memory_limit, DuckDB's own")
    parser.add_argument("--limit", type=bytes_of, help="memory for the data of a command, such as 2GB")
    parser.add_argument("--only", nargs="+", help="names of stages, or 'assay train' and the like")
    parser.add_argument("--folder", type=Path, help="where the tables go while it runs; needs room for them")
    parser.add_argument("--json", type=Path, help="write the table as a list of records")
    arguments = parser.parse_args()
    works = {} if arguments.limit else dict(STAGES)
    works |= {f"assay {name}": partial(command, name, arguments.limit) for name in COMMANDS}
    if arguments.only:
        works = {name: work for name, work in works.items() if name in arguments.only}
    records: list[dict[str, Any]] = []
    print(f"{'':<14}{'rows':>12}{'table':>10}{'resident':>10}{'anonymous':>11}{'seconds':>9}")
    for rows in sorted(arguments.rows):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            folder = Path(name)
            size = make_table(folder, rows, arguments.numbers, arguments.memory_limit)
            for what, work in works.items():
                found = measure(work, folder)
                record = {"what": what, "rows": rows, "numbers": arguments.numbers, "table": size, **found}
                records.append(record | {"limit": arguments.limit, "memory_limit": arguments.memory_limit})
                sizes = "".join(
                    f"{found[key] / 1e6:>{width},.0f}" for key, width in (("resident", 10), ("anonymous", 11))
                )
                line = f"{what:<14}{rows:>12,}{size / 1e6:>10,.0f}{sizes}{found['seconds']:>9.1f}"
                print(line + (f"  ended with {found['status']}" if found["status"] else ""), flush=True)
                if found["status"] and what.startswith("assay"):
                    print((folder / f"{what.removeprefix('assay ')}.txt").read_text()[-2000:], flush=True)
    for what in works if len(arguments.rows) > 1 else ():
        ours = [record for record in records if record["what"] == what]
        for small, large in pairwise(ours):
            added = (large["anonymous"] - small["anonymous"]) / (large["rows"] - small["rows"])
            large["bytes_per_row"] = added
            print(f"{what:<14}{small['rows']:>12,} to {large['rows']:,} rows: {added:,.0f} bytes a row")
    print("Sizes are in MB.")
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1))


if __name__ == "__main__":
    main()
