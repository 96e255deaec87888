"""What behavioural features cost: window by window, against the bare query, with a long history, and at a large size.

    python benchmarks/features.py --data FILE_OR_FOLDER --rows 50000000 --json out.json

Four tables, all on the rows of --data, which has the columns of the Fraud Detection Handbook's simulator; --only names
those of the first three that are wanted:

- The same 24 windowed features of rows in memory, four ways and by turns: running totals, DuckDB's range frames,
  pandas' rolling and, where it is installed, Polars' (benchmarks/windows.py says what each gives up). `different` is
  how many values are not equal to the last bit, `furthest` how far off the worst is, of its size.
- 24 windowed features and more (count, sum, mean and highest amount over 1, 7 and 30 days, of customer and terminal)
  against a bare DuckDB query of the same windows that reads the same file and writes its result, by turns.
- The features of one day as `assay init` sets them up, which look back 60 days, from a history of 30, 60 and 3,000 days
  of the same size.
- With --rows, a table of that many rows: copies of the data, each with customers and terminals of its own; time and
  peak memory of a process of its own.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
from handbook import accept, configuration
from windows import events_of, side_by_side

from pipeline.features import compute, list_features
from pipeline.settings.config import Config
from pipeline.workspace.history import History

WINDOWS = (1, 7, 30)
FUNCTIONS = {"count": "count(*)", "sum": "sum(TX_AMOUNT)", "mean": "avg(TX_AMOUNT)", "max": "max(TX_AMOUNT)"}
HISTORIES = (30, 60, 3_000)
TABLES = ("windows", "cost", "day")
DAY = timedelta(days=1)


def windowed(config: Config) -> Config:
    """Return the configuration with the windowed features alone."""
    changed = {"families": ("activity",), "aggregates": tuple(FUNCTIONS), "windows_days": WINDOWS}
    return config.model_copy(update={"features": config.features.model_copy(update=changed)})


def bare(rows: Path, config: Config, out: Path) -> None:
    """Run the same windows as one plain query."""
    columns = ", ".join(
        f"{function} OVER (PARTITION BY {entity} ORDER BY TX_DATETIME RANGE BETWEEN INTERVAL {days} DAY PRECEDING AND "
        "INTERVAL 1 MICROSECOND PRECEDING)"
        for entity in config.contract.entities
        for days in WINDOWS
        for function in FUNCTIONS.values()
    )
    with duckdb.connect(config={"memory_limit": config.features.memory_limit}) as connection:
        connection.execute("SET temp_directory = ?", [str(out.parent)])
        connection.execute(f"COPY (SELECT *, {columns} FROM read_parquet('{rows}')) TO '{out}' (FORMAT parquet)")


def seconds(function: Any, *arguments: Any) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def cost(rows: Path, config: Config, folder: Path, repeats: int) -> list[dict[str, Any]]:
    """Time the features and the bare query by turns."""
    config = windowed(config)
    ours, theirs = [], []
    for _ in range(repeats):
        theirs.append(seconds(bare, rows, config, folder / "bare.parquet"))
        ours.append(seconds(compute, rows, [], config, folder / "features.parquet"))
    count = len(list_features(config))
    return [
        {"table": "cost", "what": "bare DuckDB query", "features": 24, "seconds": statistics.median(theirs)},
        {
            "table": "cost",
            "what": "assay features",
            "features": count,
            "seconds": statistics.median(ours),
            "ratio": statistics.median(one / other for one, other in zip(ours, theirs, strict=True)),
        },
    ]


def one_day(rows: Path, config: Config, folder: Path, repeats: int) -> list[dict[str, Any]]:
    """Time the features of a day after a short and a long history, whose days are all copies of one day."""
    at, key = config.contract.timestamp, config.contract.id
    first = pq.read_table(rows, columns=[at])[at][0].as_py()
    start = datetime(first.year, first.month, first.day)
    day = pq.read_table(rows, filters=[(at, ">=", start), (at, "<", start + DAY)])
    records: list[dict[str, Any]] = []
    for days in HISTORIES:
        history = History(folder / f"history-{days}", config)
        with duckdb.connect() as connection:
            connection.register("day", day)
            for number in range(days + 1):
                target = folder / "today.parquet"
                if number < days:
                    target = history.folder / f"date={(start + number * DAY).date()}" / "copy.parquet"
                    target.parent.mkdir(parents=True)
                shifted = f"{key} + CAST({number} AS BIGINT) * 100000000 AS {key}, {at} + INTERVAL {number} DAY AS {at}"
                connection.execute(f"COPY (SELECT * REPLACE ({shifted}) FROM day) TO '{target}' (FORMAT parquet)")
        today = start + days * DAY

        def score_day(history: History = history, today: datetime = today) -> None:
            files = history.files(today - config.features.max_window_days * DAY, today + DAY)
            compute(folder / "today.parquet", files, config, folder / "features.parquet")

        took = statistics.median(seconds(score_day) for _ in range(repeats))
        record = {"table": "one day", "what": f"history of {days:,} days", "rows": len(day), "seconds": took}
        records.append(record | ({"ratio": took / records[0]["seconds"]} if records else {}))
    return records


def copies(rows: Path, wanted: int, config: Config, out: Path) -> None:
    """Write a table of so many rows: copies of some, with ids and entities of their own."""
    number = -(-wanted // pq.ParquetFile(rows).metadata.num_rows)
    keys = (config.contract.id, *config.contract.entities)
    changed = ", ".join(f"CAST(copy AS BIGINT) * 1000000000 + {key} AS {key}" for key in keys)
    with duckdb.connect(config={"memory_limit": "1GB"}) as connection:
        connection.execute("SET temp_directory = ?", [str(out.parent)])
        connection.execute("SET preserve_insertion_order = false")
        connection.execute(
            f"COPY (SELECT data.* REPLACE ({changed}) FROM range({number}) AS t(copy), read_parquet('{rows}') AS data "
            f"LIMIT {wanted}) TO '{out}' (FORMAT parquet)"
        )


def large(rows: Path, wanted: int, config: Config, folder: Path) -> list[dict[str, Any]]:
    """Compute the features of a table of many rows in a process of its own, and say what it took."""
    copies(rows, wanted, config, folder / "large.parquet")
    records = []
    for what, chosen in (("as assay init writes it", config), ("24 windows and more", windowed(config))):
        (folder / "config.json").write_text(chosen.model_dump_json(), encoding="utf-8")
        command = [sys.executable, __file__, "--child", str(folder)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        records.append({"table": f"{wanted:,} rows", "what": what, "features": len(list_features(chosen)), **found})
    return records


def child(folder: Path) -> None:
    """Compute the features of the large table and print time and peak memory of this process."""
    config = Config.model_validate_json((folder / "config.json").read_text(encoding="utf-8"))
    took = seconds(compute, folder / "large.parquet", [], config, folder / "features.parquet")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps({"seconds": took, "peak_gb": peak, "memory_limit": config.features.memory_limit}))


def show(records: list[dict[str, Any]]) -> None:
    """Print the tables."""
    for record in records:
        rest = {name: value for name, value in record.items() if name not in ("table", "what")}
        words = ", ".join(
            f"{name} {value:,.2f}"
            if isinstance(value, float)
            else f"{name} {value:,}"
            if isinstance(value, int)
            else f"{name} {value}"
            for name, value in rest.items()
        )
        print(f"{record['table']:16}{record['what']:28}{words}")
    print(f"load of the machine in the last minute: {os.getloadavg()[0]:.1f}, of {os.cpu_count()} cores")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, help="file or folder with the handbook's columns")
    parser.add_argument("--only", choices=TABLES, action="append", help="a table to print; several may be named")
    parser.add_argument("--rows", type=int, help="also compute the features of a table of this many rows")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, of which the median counts")
    parser.add_argument("--scratch", type=Path, help="folder for temporary files; 50 million rows need some 30 GB")
    parser.add_argument("--json", type=Path, help="write the tables as a list of records")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return
    config = configuration(arguments.data)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        rows = accept(arguments.data, config, folder / "rows.parquet")
        wanted, records = arguments.only or TABLES, []
        if "windows" in wanted:
            records += side_by_side(events_of(rows, config), arguments.repeats)
        if "cost" in wanted:
            records += cost(rows, config, folder, arguments.repeats)
        if "day" in wanted:
            records += one_day(rows, config, folder, arguments.repeats)
        if arguments.rows:
            records += large(rows, arguments.rows, config, folder)
    show(records)
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
