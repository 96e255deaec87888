"""What `assay score` of a small file costs before and beside its rows, against an empty Prefect flow.

    python benchmarks/start_up.py --rows 10000 --json out.json

Both run in processes of their own, through the same private Prefect server, one after the other, and the least of
several turns counts: the first makes Prefect's database. Processor seconds are those of the command and of all that it
starts.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EMPTY = '''
from prefect import flow


@flow
def empty(config_path):
    """Do nothing."""
'''
RUN_EMPTY = """
import sys
from pathlib import Path
from flows.run import run_flow

run_flow(Path(sys.argv[1]), "empty:empty")
"""


def prepare(folder: Path, rows: int) -> Path:
    """Simulate a table, train a version on earlier rows, and return the table's path."""
    from datetime import date

    from flows.run import run_flow
    from pipeline.inference.roles import infer
    from pipeline.settings.config import TableConfig
    from pipeline.settings.file import write_config
    from pipeline.simulation import simulate

    earlier, table = folder / "earlier.parquet", folder / "new.parquet"
    simulate(earlier, rows=20_000, days=60, first_day=date(2024, 11, 1))
    simulate(table, rows=rows, days=5)
    config = infer(earlier, settings=TableConfig(), label="TX_FRAUD", few_features=True)[0]
    config = config.model_copy(update={"work_dir": str(folder / "work"), "prefect": False})
    (folder / "train.toml").write_text(write_config(config), encoding="utf-8")
    run_flow(folder / "train.toml", "flows.train:train", table=str(earlier))
    (folder / "assay.toml").write_text(write_config(config.model_copy(update={"prefect": True})), encoding="utf-8")
    (folder / "empty.py").write_text(EMPTY, encoding="utf-8")
    return table


def seconds_of(words: list[str], folder: Path) -> tuple[float, float]:
    """Run a command; return the seconds on the wall, and those of processors."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        sys.exit(f"{' '.join(words)} ended with {process.returncode}: {process.stderr[-2000:]}")
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000, help="rows of the file that is scored")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures as a record")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table, config = prepare(folder, arguments.rows), str(folder / "assay.toml")
        commands = {
            "empty flow": [sys.executable, "-c", RUN_EMPTY, config],
            "assay score": [sys.executable, "-m", "flows.cli", "score", str(table), "--config", config, "--force"],
        }
        turns = {what: list[tuple[float, float]]() for what in commands}
        for _ in range(arguments.turns):
            for what, words in commands.items():
                turns[what].append(seconds_of(words, folder))
    record = {what: [min(part) for part in zip(*pairs, strict=True)] for what, pairs in turns.items()}
    record["beyond"] = [one - other for one, other in zip(record["assay score"], record["empty flow"], strict=True)]
    for what, (wall, processor) in record.items():
        print(f"{what:<14}{wall:>8.2f} s{processor:>10.2f} processor seconds")
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
