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

With --limit only the commands run, each in a control group that may use so much memory, pages of files included: the
system kills a command that needs more. That takes root. Linux only, for it reads /proc.
"""

import argparse
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.labels.known import Labels

ROOT = Path(__file__).resolve().parents[1]
EPOCHS = 2
EVERY = 0.02  # seconds between two looks at a process
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def make_table(folder: Path, rows: int, numbers: int, memory_limit: str) -> int:
    """Simulate the table, write the configuration that `assay init` would, and return the table's bytes as Arrow."""
    from pipeline.inference.roles import infer
    from pipeline.settings.config import TableConfig
    from pipeline.settings.file import write_config
    from pipeline.simulation import simulate
    from pipeline.tables.parquet import read_batches
    from pipeline.tables.reading import open_table
    from pipeline.tables.writing import ParquetWriter

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
    from pipeline.settings.file import read_config

    return read_config(folder / "assay.toml")


def validate(folder: Path) -> None:
    from pipeline.tables.reading import open_table
    from pipeline.validation.validate import validate

    config = _config(folder)
    table = open_table(config.table.path, config.table)
    validate(table, config, folder=folder / "validated", batch_id="memory")


def features(folder: Path) -> None:
    from pipeline.features import compute

    compute(folder / "validated" / "accepted.parquet", [], _config(folder), folder / "features.parquet")


def fit(folder: Path) -> None:
    from pipeline.detector.artefact import Detector

    as_of = datetime.max - timedelta(days=1)
    Detector.fit(folder / "features.parquet", _config(folder), Labels(_config(folder)), as_of).save(folder / "detector")


def score(folder: Path) -> None:
    from pipeline.detector.artefact import Detector
    from pipeline.scoring.score import score_table

    detector = Detector.load(folder / "detector")
    marks: dict[str, Any] = {"batch_id": "memory", "model_version": "1", "scored_at": datetime(2026, 1, 1)}
    score_table(folder / "features.parquet", detector, folder / "scored", **marks)


@contextmanager
def control_group(limit: int | None) -> Iterator[Path | None]:
    """Make a control group whose processes together may use so much memory; None without a limit."""
    if limit is None:
        yield None
        return
    root = Path("/sys/fs/cgroup")
    is_first = (root / "memory").is_dir()  # version 1 has a tree for each resource
    group = (root / "memory" if is_first else root) / f"assay-memory-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.limit_in_bytes" if is_first else "memory.max")).write_text(str(limit))
        yield group
    finally:
        # A command that was killed leaves Prefect's temporary server behind.
        while left := (group / "cgroup.procs").read_text().split():
            for pid in left:
                os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.1)
        group.rmdir()


def command(name: str, group: Path | None, folder: Path) -> None:
    """Become the command; what it prints goes into a file."""
    if group is not None:
        (group / "cgroup.procs").write_text(str(os.getpid()))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "flows.cli", name, "--config", str(folder / "assay.toml")]
    with (folder / f"{name}.txt").open("w") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
        os.execve(sys.executable, words, environment)  # noqa: S606 (a list of our own words)


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
    parser.add_argument("--limit", type=bytes_of, help="memory that a command may use, such as 2GB")
    parser.add_argument("--only", nargs="+", help="what to measure, such as: validate features 'assay train'")
    parser.add_argument("--folder", type=Path, help="where the tables go while it runs; needs room for them")
    parser.add_argument("--json", type=Path, help="write the table as a list of records")
    arguments = parser.parse_args()
    records: list[dict[str, Any]] = []
    print(f"{'sizes in MB':<14}{'rows':>12}{'table':>10}{'resident':>10}{'anonymous':>11}{'seconds':>9}")
    with control_group(arguments.limit) as group:
        works = {} if group else dict(STAGES)
        works |= {f"assay {name}": partial(command, name, group) for name in COMMANDS}
        works = {what: work for what, work in works.items() if not arguments.only or what in arguments.only}
        for rows in sorted(arguments.rows):
            with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
                folder = Path(name)
                size = make_table(folder, rows, arguments.numbers, arguments.memory_limit)
                settings = {"limit": arguments.limit, "memory_limit": arguments.memory_limit}
                for what, work in works.items():
                    record = {"what": what, "rows": rows, "numbers": arguments.numbers, "table": size, **settings}
                    records.append(record | measure(work, folder))
                    show(records[-1], folder)
    for what in works if len(arguments.rows) > 1 else ():
        for small, large in pairwise(record for record in records if record["what"] == what):
            added = (large["anonymous"] - small["anonymous"]) / (large["rows"] - small["rows"])
            large["bytes_per_row"] = added
            print(f"{what:<14}{small['rows']:>12,} to {large['rows']:,} rows: {added:,.0f} bytes a row")
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1))
    if any(record["status"] for record in records):
        sys.exit(1)


def show(record: dict[str, Any], folder: Path) -> None:
    """Print a measurement; of one that failed, what a command said last."""
    widths = {"table": 10, "resident": 10, "anonymous": 11}
    sizes = "".join(f"{record[key] / 1e6:>{width},.0f}" for key, width in widths.items())
    line = f"{record['what']:<14}{record['rows']:>12,}{sizes}{record['seconds']:>9.1f}"
    print(line + (f"  ended with {record['status']}" if record["status"] else ""), flush=True)
    said = folder / f"{record['what'].removeprefix('assay ')}.txt"
    if record["status"] and said.is_file():
        print(said.read_text()[-2000:], flush=True)


if __name__ == "__main__":
    main()
