"""What `assay score` of a small file costs before and beside its rows, against an empty Prefect flow.

    python benchmarks/start_up.py --rows 10000 --json out.json

The empty flow is a script of four lines. Both run in processes of their own, by turns, the least of several turns
counting: first where no Prefect server is configured, so that each starts one for itself, then where one runs. In the
first case a command has the seconds of that start for what it imports, in the second it has not. Processor seconds are
those of the command and of all that it starts. The version is one network with few features, so that rows and the
reasons of alerts cost little; `--committee` takes what `assay init` writes, of which reasons are most.
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
def empty():
    """Do nothing."""


empty()
'''


def prepare(folder: Path, rows: int, *, few_features: bool) -> Path:
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
    config = infer(earlier, settings=TableConfig(), label="TX_FRAUD", few_features=few_features)[0]
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


def compare(folder: Path, table: Path, turns: int) -> dict[str, list[float]]:
    """Return the least seconds of both commands, on the wall and of processors, and how much more the second takes."""
    config = str(folder / "assay.toml")
    commands = {
        "empty flow": [sys.executable, str(folder / "empty.py")],
        "assay score": [sys.executable, "-m", "flows.cli", "score", str(table), "--config", config, "--force"],
    }
    pairs = {what: list[tuple[float, float]]() for what in commands}
    for _ in range(turns):
        for what, words in commands.items():
            pairs[what].append(seconds_of(words, folder))
    least = {what: [min(part) for part in zip(*those, strict=True)] for what, those in pairs.items()}
    beyond = [one - other for one, other in zip(least["assay score"], least["empty flow"], strict=True)]
    return {**least, "beyond": beyond}


def main() -> None:
    from flows.environment import settle
    from flows.server import start_server

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000, help="rows of the file that is scored")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--committee", action="store_true", help="the default model and features, not one network")
    parser.add_argument("--json", type=Path, help="write the figures as a record")
    arguments = parser.parse_args()
    records = dict[str, dict[str, list[float]]]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = prepare(folder, arguments.rows, few_features=not arguments.committee)
        settle(folder / "work")
        for case in ("each starts a server", "a server runs"):
            server = start_server() if records else None
            if server:
                server.wait()
            records[case] = compare(folder, table, arguments.turns)
            print(case)
            for what, (wall, processor) in records[case].items():
                print(f"  {what:<14}{wall:>8.2f} s{processor:>10.2f} processor seconds", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
