"""What features and validation cost by engine: this machine, its shards, Spark, and what people would write by hand.

    python benchmarks/engines.py --data FILE --rows 1000000 --json out.json
    python benchmarks/engines.py --data FILE --rows 5000000 50000000 --engine auto --only default --scratch DISK
    python benchmarks/engines.py --data FILE --rows 5000000 --processors 1 2 4 8 16 --only default

--data has the columns of the Fraud Detection Handbook's simulator; a table of --rows rows is made of copies of it, each
with customers and terminals of its own. Every engine runs in a process of its own, once a turn, by turns, and the least
of the turns counts. Two sets of features: those of `assay init` ("default"), and 24 windows (count, sum, mean and
highest amount over 1, 7 and 30 days, of customer and terminal), which the ones by hand compute too:

- Spark by hand: window functions with rangeBetween over the time in microseconds, on local[2]
- Polars by hand: rolling_*_by over each entity, where the package is installed

A third is validation of the same table, by one process and Spark: the reading of every row, and ids that come twice.
A fourth are nights: the features of the table's last day, with the days before it as the history. Spark's first night
puts that into buckets; the next one has to do so with the latest day alone. Rows are those that are looked at.

Seconds are from the Parquet file to the Parquet file; of Spark the session is up before, and its start is told beside.
Memory is the highest resident size of one process, looked at ten times a second. Shuffled bytes are Spark's own.

With --processors, as many shards as the most of them run on so many processors, one after the other; beside the whole
is told what the buckets took by themselves, the part that goes by processors alone, and how much of N times the speed
of one processor it reached.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from features import FUNCTIONS, WINDOWS, copies, windowed
from handbook import accept, configuration

from pipeline.features import compute, shards
from pipeline.settings.config import Config
from pipeline.tables.reading import open_table
from pipeline.validation.validate import validate

DAY_US = 86_400_000_000
SHARDS, AUTO, SPARK = (1, 2, 4), "auto", "Spark local[2]"
BY_HAND = ("Spark by hand", "Polars by hand")
MASTER = "local[2]"
VALIDATION, NIGHTS = "validation", "nights"
OF_A_TABLE = (VALIDATION, NIGHTS)
"""What shards do not make faster, or not by themselves."""
NEXT = f"{SPARK}, next night"


def with_engine(config: Config, engine: str) -> Config:
    """Return a configuration with one of the engines."""
    if engine == AUTO:
        return config
    changed = (
        {"name": "spark", "master": MASTER} if engine in (SPARK, NEXT) else {"shards": int(engine.partition(" ")[0])}
    )
    return config.model_copy(update={"engine": config.engine.model_copy(update=changed)})


def child(folder: Path, engine: str, work: str) -> None:
    """Compute the features of the table by an engine, or validate it, and print how long it took, its start apart."""
    config = Config.model_validate_json((folder / "config.json").read_text(encoding="utf-8"))
    rows, out = folder / "table.parquet", folder / "features.parquet"
    started = time.perf_counter()
    if engine in (SPARK, NEXT):
        from pipeline.tables.spark import session

        session(with_engine(config, engine).engine)
    elif engine == "Spark by hand":
        spark = spark_session()
    start_up, started = time.perf_counter() - started, time.perf_counter()
    of_buckets = bucket_seconds()
    if work == VALIDATION:
        settled = with_engine(config, engine)
        validate(open_table(rows, config.table), settled, folder=folder / "validated", batch_id="benchmark")
    elif engine == "Spark by hand":
        spark_by_hand(spark, rows, config, folder / "by-hand")
    elif engine == "Polars by hand":
        polars_by_hand(rows, config, out)
    else:
        history = sorted((folder / "history").glob("date=*/*.parquet")) if work == NIGHTS else []
        rows = folder / "night.parquet" if work == NIGHTS else rows
        compute(rows, history, with_engine(config, engine), out, buckets=folder / "history" / ".buckets")
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "start_up": start_up, "buckets": sum(of_buckets)}))


def nights(table: Path, folder: Path, config: Config) -> int:
    """Write a table's last day, and the days before it as the history has them; return how many rows that day looks at.

    Days are UTC's.
    """
    import duckdb

    at = f'"{config.contract.timestamp}"'
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW rows AS SELECT *, CAST({at} AS DATE) AS date FROM read_parquet('{table}')")
        last = connection.sql("SELECT max(date) FROM rows").fetchall()[0][0]
        days = config.features.max_window_days
        of_history = f"FROM rows WHERE date < DATE '{last}' AND date >= DATE '{last}' - {days + 1}"
        connection.execute(
            f"COPY (SELECT * EXCLUDE (date) FROM rows WHERE date = DATE '{last}') TO '{folder}/night.parquet'"
        )
        connection.execute(
            f"COPY (SELECT * {of_history}) TO '{folder}/history' "
            "(FORMAT parquet, PARTITION_BY (date), OVERWRITE_OR_IGNORE)"
        )
        return int(connection.sql(f"SELECT count(*) {of_history} OR date = DATE '{last}'").fetchall()[0][0])


def prepare_next(history: Path) -> None:
    """Have what Spark put into buckets of the history's last day be gone, as if the day had come since."""
    last = max(day.name for day in history.glob("date=*"))
    for folder in history.glob(f".buckets/*/{last}"):
        shutil.rmtree(folder)


def bucket_seconds() -> list[float]:
    """Have the shards' own part measured from now on; return what gets its seconds."""
    found: list[float] = []
    run = shards._run  # noqa: SLF001 - nothing else lies between what one process does before it and after it

    def measured_run(*arguments: Any, **settings: Any) -> None:
        started = time.perf_counter()
        run(*arguments, **settings)
        found.append(time.perf_counter() - started)

    shards._run = measured_run  # noqa: SLF001
    return found


def spark_session() -> Any:
    """Return a session of Spark on this machine."""
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.driver.bindAddress": "127.0.0.1",
    }
    builder = SparkSession.builder.master(MASTER)
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def spark_by_hand(spark: Any, rows: Path, config: Config, out: Path) -> None:
    """Compute the 24 windows by Spark's own window functions."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    contract = config.contract
    table = spark.read.parquet(str(rows)).withColumn("us", f.unix_micros(f.col(contract.timestamp).cast("timestamp")))
    for entity in contract.entities:
        for days in WINDOWS:
            window = Window.partitionBy(entity).orderBy("us").rangeBetween(-days * DAY_US, -1)
            for name in FUNCTIONS:
                value = getattr(f, {"mean": "avg"}.get(name, name))(contract.amount).over(window)
                table = table.withColumn(f"{entity} {name} {days}", value)
    table.write.mode("overwrite").parquet(str(out))


def polars_by_hand(rows: Path, config: Config, out: Path) -> None:
    """Compute the 24 windows by Polars' rolling expressions."""
    import polars as pl

    contract, at = config.contract, config.contract.timestamp
    table = pl.scan_parquet(rows).sort(at)
    amount = pl.col(contract.amount)
    columns = []
    for entity in contract.entities:
        for days in WINDOWS:
            frame: dict[str, Any] = {"by": at, "window_size": f"{days}d", "closed": "left"}
            rolled = {
                "count": pl.col("one").rolling_sum_by(**frame),
                "sum": amount.rolling_sum_by(**frame),
                "mean": amount.rolling_mean_by(**frame),
                "max": amount.rolling_max_by(**frame),
            }
            columns += [value.over(entity).alias(f"{entity} {name} {days}") for name, value in rolled.items()]
    table.with_columns(pl.lit(1.0).alias("one")).with_columns(columns).sink_parquet(out)


def processes(first: int) -> Iterator[tuple[str, int]]:
    """Yield the kind and the peak of resident memory, in bytes, of a process and of all that it started."""
    waiting = [first]
    while waiting:
        process = Path("/proc") / str(waiting.pop())
        try:
            waiting += [int(child) for task in (process / "task").iterdir() for child in _children(task)]
            lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
            words = (process / "cmdline").read_bytes()
            name = "shard" if b"pipeline.features" in words else "worker" if b"pyspark.daemon" in words else "python"
            yield "JVM" if b"java" in words[:40] else name, int(lines["VmHWM"].split()[0]) * 1024
        except (OSError, KeyError):  # it has ended
            continue


def _children(task: Path) -> list[str]:
    return (task / "children").read_text().split()


def measured(folder: Path, engine: str, work: str, processors: int | None = None) -> dict[str, Any]:
    """Run an engine in a process of its own, and return seconds, peaks by kind of process, and shuffled bytes.

    With `processors`, it has no more of them than that.
    """
    events = folder / "events"
    events.mkdir(exist_ok=True)
    (folder / "spark-defaults.conf").write_text(
        f"spark.eventLog.enabled true\nspark.eventLog.dir file://{events}\nspark.eventLog.rolling.enabled false\n"
        "spark.eventLog.compress false\n"
    )
    environment = os.environ | {"SPARK_CONF_DIR": str(folder), "PYSPARK_PYTHON": sys.executable}
    if engine == NEXT:
        prepare_next(folder / "history")
    command = [sys.executable, __file__, "--child", str(folder), "--engine", engine, "--only", work]
    if processors:
        command = ["taskset", "--cpu-list", ",".join(map(str, sorted(os.sched_getaffinity(0))[:processors])), *command]
    peaks: dict[str, int] = defaultdict(int)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(0.1):
                for name, peak in processes(process.pid):
                    peaks[name] = max(peaks[name], peak)

        watcher = threading.Thread(target=look)
        watcher.start()
        text, _ = process.communicate()
        ended.set()
        watcher.join()
    if process.returncode:
        raise SystemExit(f"{engine} ended with status {process.returncode}")
    return {**json.loads(text.splitlines()[-1]), "peaks": dict(peaks), "shuffled": shuffled(events)}


def shuffled(events: Path) -> int:
    """Return the bytes that Spark's tasks wrote for one another, by its log of events, and clear the log."""
    total = 0
    for log in events.iterdir():
        for line in log.read_text(encoding="utf-8").splitlines():
            metrics = json.loads(line).get("Task Metrics") or {}
            total += metrics.get("Shuffle Write Metrics", {}).get("Shuffle Bytes Written", 0)
        log.unlink()
    return total


def show(records: list[dict[str, Any]]) -> None:
    """Print a line a run."""
    print(
        "| features | rows | engine | seconds | rows a second | start-up | peak of a process | bytes shuffled a row |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for record in records:
        peaks = ", ".join(f"{name} {peak / 1e9:.2f} GB" for name, peak in sorted(record["peaks"].items()))
        speed, bytes_a_row = record["rows"] / record["seconds"], record["shuffled"] / record["rows"]
        numbers = f"{record['seconds']:.1f} | {speed:,.0f} | {record['start_up']:.1f} | {peaks} | {bytes_a_row:,.0f}"
        print(f"| {record['features']} | {record['rows']:,} | {record['engine']} | {numbers} |")


def show_processors(records: list[dict[str, Any]]) -> None:
    """Print a line a number of processors."""
    print("| features | rows | processors | shards | seconds | of the buckets | of N times one processor |")
    print("|---|---|---|---|---|---|---|")
    alone = {(record["features"], record["rows"]): record for record in reversed(records)}
    for record in records:
        least = alone[record["features"], record["rows"]]
        share = least["buckets"] * least["processors"] / (record["buckets"] * record["processors"])
        what = f"| {record['features']} | {record['rows']:,} | {record['processors']} | {record['engine']} |"
        print(what, f"{record['seconds']:.1f} | {record['buckets']:.1f} | {share:.0%} |")


def engines(arguments: argparse.Namespace, features: str) -> list[str]:
    """Return which engines are to run."""
    has_spark = importlib.util.find_spec("pyspark") is not None
    if features in OF_A_TABLE:
        of_spark = [SPARK] if features == VALIDATION else [SPARK, NEXT]
        return ["1 shard", *(of_spark if has_spark else [])]
    names = [*(f"{number} shard{'s' * (number > 1)}" for number in SHARDS), AUTO]
    has_polars = importlib.util.find_spec("polars") is not None
    names += [SPARK] if has_spark else []
    if features != "default":
        names += [name for name, is_there in zip(BY_HAND, (has_spark, has_polars), strict=True) if is_there]
    return [name for name in names if arguments.engine is None or name in arguments.engine]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="file or folder with the handbook's columns")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000], help="rows of each table")
    parser.add_argument("--engine", action="append", help="name of one, as it is printed; all by default")
    parser.add_argument("--only", choices=("default", "24 windows", VALIDATION, NIGHTS), help="one of them")
    parser.add_argument("--processors", type=int, nargs="+", help="shards on so many processors each, by themselves")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--scratch", type=Path, help="folder for temporary files; 50 million rows need some 40 GB")
    parser.add_argument("--json", type=Path, help="write the table as a list of records")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.engine[0], arguments.only)
        return
    init, records = configuration(arguments.data), []
    for wanted in arguments.rows:
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as name:
            folder = Path(name)
            copies(accept(arguments.data, init, folder / "rows.parquet"), wanted, init, folder / "table.parquet")
            sets = {"default": init, "24 windows": windowed(init), VALIDATION: init, NIGHTS: init}
            for features, config in sets.items():
                if arguments.only in (None, features) and not (arguments.processors and features in OF_A_TABLE):
                    (folder / "config.json").write_text(config.model_dump_json(), encoding="utf-8")
                    rows = nights(folder / "table.parquet", folder, init) if features == NIGHTS else wanted
                    about = {"features": features, "rows": rows}
                    for number in arguments.processors or ():
                        engine = f"{max(arguments.processors)} shards"
                        found = measured(folder, engine, features, number)
                        records.append({**about, "engine": engine, "processors": number, **found})
                        print(number, "processors", features, f"{found['seconds']:.1f} s", file=sys.stderr, flush=True)
                    if arguments.processors:
                        continue
                    chosen = engines(arguments, features)
                    turns = [
                        {engine: measured(folder, engine, features) for engine in chosen}
                        for _ in range(arguments.turns)
                    ]
                    for engine in chosen:
                        least = min((turn[engine] for turn in turns), key=lambda found: found["seconds"])
                        records.append({**about, "engine": engine, **least})
                        print(engine, features, f"{least['seconds']:.1f} s", file=sys.stderr, flush=True)
    (show_processors if arguments.processors else show)(records)
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
