"""Rules about rows a second: plain ones on Arrow columns beside Great Expectations on the same rows, in the same run.

    python benchmarks/rules.py --checks 38 --rows 20000000 --json out.json

The table is a million simulated transactions, again and again, with further numeric columns, as one Parquet file. Each
evaluation reads it from there in batches of --batch-rows, in a process of its own, so that its peak memory is its own,
and its time begins once everything is imported. What the two say of every rule is compared, and a difference ends the
benchmark with status 1. Of the checks some break on a few rows in ten thousand, as in a real table.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SIMULATED = 1_000_000
NUMBERS = [f"V{number}" for number in range(1, 6)]
CONTACTLESS = {"type": "comparison", "column": {"name": "CHANNEL"}, "operator": "==", "parameter": "contactless"}


def make_table(path: Path, rows: int) -> None:
    from pipeline.simulation import simulate
    from pipeline.tables.writing import ParquetWriter

    source = path.with_name("simulated.parquet")
    simulate(source, rows=min(rows, SIMULATED), days=60)
    block, random = pq.read_table(source), np.random.default_rng(0)
    for name in NUMBERS:
        block = block.append_column(name, pa.array(random.standard_normal(block.num_rows)))
    with ParquetWriter(path, block.schema) as writer:
        for start in range(0, rows, block.num_rows):
            for batch in block.slice(0, rows - start).to_batches():
                writer.write(batch)


def checks(number: int) -> list[dict[str, Any]]:
    """Return so many rules as a suite would have them, of every kind that is about a row."""

    def check(kind: str, column: str, **kwargs: Any) -> dict[str, Any]:
        return {"type": f"expect_column_{kind}", "kwargs": {"column": column, **kwargs}}

    columns = ["TX_DATETIME", "TX_AMOUNT", "CHANNEL", "COUNTRY", "TRANSACTION_ID", "CUSTOMER_ID", "TERMINAL_ID"]
    suite = [
        *(check("values_to_not_be_null", name) for name in columns),
        check("values_to_be_finite", "TX_AMOUNT"),
        check("values_to_be_between", "TX_AMOUNT", min_value=-1e6, max_value=1e6),
        check("values_to_be_between", "TX_AMOUNT", max_value=500, mostly=0.9, row_condition=CONTACTLESS),
        check("values_to_be_between", "TX_DATETIME", min_value="2000-01-01", max_value="2030-01-01"),
        check("values_to_be_between", "TX_DATETIME", min_value="2020-01-01"),
        check("values_to_be_in_set", "TX_FRAUD", value_set=[0, 1]),
        check("values_to_be_in_set", "CHANNEL", value_set=["chip", "contactless", "online", "atm"]),
        check("values_to_not_be_in_set", "CHANNEL", value_set=["unknown", "test"]),
        check("value_lengths_to_be_between", "CHANNEL", min_value=3, max_value=11),
        check("values_to_match_regex", "COUNTRY", regex="^[A-Z]{2}$"),
        check("values_to_not_match_regex", "COUNTRY", regex="^X"),
        check("value_lengths_to_equal", "COUNTRY", value=2),
        *(
            check("values_to_be_between", name, min_value=0)
            for name in ("TRANSACTION_ID", "CUSTOMER_ID", "TERMINAL_ID")
        ),
        check("values_to_match_regex", "CHANNEL", regex="^[a-z]+$"),
        *(check("values_to_not_be_null", name) for name in NUMBERS),
        *(check("values_to_be_finite", name) for name in NUMBERS),
        *(check("values_to_be_between", name, min_value=-4, max_value=4) for name in NUMBERS),
    ]
    return suite[:number]


def judge(suite: list[dict[str, Any]], batch_rows: int, path: Path, *, plainly: bool) -> dict[str, Any]:
    """Return the seconds that judging a table takes, those of them on a core, and what came of each rule."""
    import great_expectations  # noqa: F401

    from expectations.frames import to_frame
    from expectations.runs import Engine, Outcome
    from expectations.suites import list_rules
    from pipeline.tables.parquet import read_batches

    schema = pq.read_schema(path)
    rules = list_rules(suite, origin="the benchmark", columns=schema.names, zones={"TX_DATETIME": "UTC"})
    columns = list(dict.fromkeys(name for rule in rules for name in rule.columns))
    engine, outcomes = Engine(), {rule.name: Outcome.of(rule) for rule in rules}
    engine.frame(rules, to_frame(pa.table({name: pa.nulls(0, schema.field(name).type) for name in columns})))
    start, start_on_core = time.perf_counter(), time.process_time()
    for batch in read_batches(path, columns, batch_rows):
        results = engine.rows(rules, batch) if plainly else engine.frame(rules, to_frame(batch))
        for name, result in results.items():
            outcomes[name].add(result.rows, result.missing, len(result.positions), result.values)
    return {
        "seconds": time.perf_counter() - start,
        "core_seconds": time.process_time() - start_on_core,
        "outcomes": {
            name: [outcome.success, outcome.rows, outcome.missing, outcome.broken, list(map(str, outcome.values))]
            for name, outcome in outcomes.items()
        },
    }


def _child(work: Callable[[], dict[str, Any]], answers: Any) -> None:
    answer = work()
    unit = 1024 if sys.platform != "darwin" else 1024 * 1024
    answers.put(answer | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit})


def measure(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run an evaluation in a fresh process; return what it returns, and its peak memory."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_child, args=(work, answers))
    process.start()
    answer: dict[str, Any] = answers.get(timeout=7200)
    process.join()
    return answer


def compare(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Return the rules of which two evaluations say different things."""
    return [name for name in ours | theirs if ours.get(name) != theirs.get(name)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the table")
    parser.add_argument("--checks", type=int, default=38, help="rules to judge them by, up to 38")
    parser.add_argument("--batch-rows", type=int, default=500_000, help="rows in memory at a time")
    parser.add_argument("--folder", type=Path, help="where the table goes while it runs; needs room for it")
    parser.add_argument("--json", type=Path, help="write the table as a list of records")
    arguments = parser.parse_args()
    suite, records, outcomes = checks(arguments.checks), [], []
    sizes = {"rows": arguments.rows, "checks": len(suite)}
    print(f"{'evaluation':<24}{'rows':>12}{'checks':>8}{'seconds':>9}{'on a core':>11}{'rows/s':>12}{'peak MB':>9}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "transactions.parquet"
        make_table(path, arguments.rows)
        for name, plainly in (("plain, on Arrow columns", True), ("Great Expectations", False)):
            record = {
                "what": name,
                **sizes,
                **measure(partial(judge, suite, arguments.batch_rows, path, plainly=plainly)),
            }
            outcomes.append(record.pop("outcomes"))
            records.append(record)
            speed = (
                f"{record['seconds']:>9.2f}{record['core_seconds']:>11.2f}{arguments.rows / record['seconds']:>12,.0f}"
            )
            print(f"{name:<24}{arguments.rows:>12,}{len(suite):>8}{speed}{record['peak_mb']:>9,.0f}", flush=True)
    differences, broken = compare(*outcomes), sum(row[3] for row in outcomes[0].values())
    ratio, on_core = (records[1][unit] / records[0][unit] for unit in ("seconds", "core_seconds"))
    print(f"plain is {ratio:.1f} times as fast, {on_core:.1f} times by the seconds on a core")
    print(f"{broken:,} breaches; rules with different answers: {', '.join(differences) or 'none'}")
    records.append({"what": "ratio", "ratio": ratio, "on_core": on_core, "broken": broken, "differences": differences})
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1))
    if differences:
        sys.exit(1)


if __name__ == "__main__":
    main()
