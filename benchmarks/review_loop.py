"""The loop closed on simulated days: does a queue get better by what the desk decides about the ones before it?

    OMP_NUM_THREADS=1 python benchmarks/review_loop.py --seeds 5

Six weeks of transactions are simulated, whose table has no labels. A model of the first three weeks scores the fourth
and the fifth. Their alerts and audited rows are decided at the desk, each by its truth, at the midnight after their
week. Then a model of the second to the fifth week scores the sixth. Commands are run as `assay` runs them, without
Prefect; decisions go through `pipeline.review.desk.Desk`, whose clock is set to the simulated midnights.

The sixth week is scored twice:

- none: no decision is known, neither to its features nor to the training of its model
- all: by a model that was trained on the same days with the decisions, and its features know them, too

Printed are how many rows of that week have another risk (of their terminal) by the decisions than without; the share of
fraud among the alerts, and the frauds among them, as mean of the seeds with an interval that holds the mean in 95 of
100 cases (Student's t), and how far ahead of "none" they are, seed by seed; and what `assay compare` says of the two
models on that week's true labels. Each seed has a table and a model of its own.
"""

import argparse
import contextlib
import io
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy import stats

from flows.commands.compare import compared
from flows.run import run_flow
from pipeline.features import compute, list_features
from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.people import Person
from pipeline.review.work import Action
from pipeline.settings.config import Config
from pipeline.settings.file import read_config, write_config
from pipeline.simulation import SCENARIOS, simulate
from pipeline.workspace.workspace import Workspace

WEEK, FIRST = timedelta(days=7), date(2025, 1, 1)
LEAD = Person("lead", "lead")
RUNS = ("none", "all")
SETTINGS: dict[str, Any] = {
    "contract": {
        "id": "TRANSACTION_ID",
        "timestamp": "TX_DATETIME",
        "amount": "TX_AMOUNT",
        "entities": ("CUSTOMER_ID", "TERMINAL_ID"),
        "categorical": ("CHANNEL", "COUNTRY"),
        "label": "TX_FRAUD",
    },
    "features": {
        "families": ("amount", "columns", "change:CUSTOMER_ID", "hours:CUSTOMER_ID", "risk:TERMINAL_ID"),
    },
    "model": {"name": "denoising", "hidden": (32,), "code_size": 8, "max_epochs": 10},
    "feedback": {"min_frauds": 20},
    "name": "loop",
    "prefect": False,
}


@dataclass(frozen=True)
class Loop:
    """A simulated table on its way through the loop.

    Attributes
    ----------
    settings : Path
        Its assay.toml.
    labelled : Path
        The table with its true labels, which nothing reads but the comparison.
    frauds : frozenset of str
        Ids.
    """

    settings: Path
    labelled: Path
    frauds: frozenset[str]

    @property
    def config(self) -> Config:
        """What the settings say."""
        return read_config(self.settings)


def begin(folder: Path, seed: int, *, rows: int, capacity: int) -> Loop:
    """Simulate a table, and write it without its labels and with its configuration."""
    labelled = folder / "labelled.parquet"
    simulate(labelled, rows=rows, days=42, seed=seed, malformed=False, scenarios=SCENARIOS)
    table = pq.read_table(labelled)
    pq.write_table(table.drop_columns(["TX_FRAUD"]), folder / "transactions.parquet")
    truth = zip(table["TRANSACTION_ID"].to_pylist(), table["TX_FRAUD"].to_pylist(), strict=True)
    threshold = {"strategy": "capacity", "alerts_per_day": capacity}
    model = SETTINGS["model"] | {"seed": seed}
    config = Config.model_validate(
        SETTINGS | {"threshold": threshold, "model": model, "table": {"path": "transactions.parquet"}}
    )
    (folder / "assay.toml").write_text(write_config(config, {}), encoding="utf-8")
    return Loop(folder / "assay.toml", labelled, frozenset(str(row) for row, fraud in truth if fraud == 1))


def day_of(week: int) -> date:
    """Return the first day of a week, 0 to 6."""
    return FIRST + week * WEEK


def train(loop: Loop, weeks: tuple[int, int]) -> str:
    """Train on some weeks, the second not included, as of their end; return the version."""
    first, end = map(day_of, weeks)
    as_of = datetime(end.year, end.month, end.day)
    result = run_flow(
        loop.settings, "flows.train:train", table="", first=first, last=end - timedelta(days=1), as_of=as_of
    )
    return str(result.version)


def score(loop: Loop, week: int, version: str) -> list[str]:
    """Score a week, again where it was scored before, and return the ids of its alerts."""
    first, last = day_of(week), day_of(week + 1) - timedelta(days=1)
    words = {"table": "", "first": first, "last": last, "version": version, "force": True}
    folder = run_flow(loop.settings, "flows.score:score", **words).folder
    return [str(row) for row in pq.read_table(folder / "alerts.parquet")["TRANSACTION_ID"].to_pylist()]


def decide(loop: Loop, week: int) -> int:
    """Decide at the desk whatever is open of a week, at the midnight after it; return how many."""
    end = day_of(week + 1)
    desk = Desk(loop.config, clock=lambda: datetime(end.year, end.month, end.day), chance=lambda: 1.0)
    desk.sync()
    view = View(first_day=day_of(week), last_day=end - timedelta(days=1), limit=10_000)
    lines = desk.page(view, LEAD).lines
    for label in ("fraud", "not_fraud"):
        numbers = {line.key: line.event for line in lines if (line.id in loop.frauds) is (label == "fraud")}
        for part in np.array_split(list(numbers), len(numbers) // 1_000 + 1):
            if len(part):
                desk.act({str(key): numbers[key] for key in part}, Action(kind="decide", label=label), LEAD)
    assert not desk.page(view, LEAD).lines
    desk.close()
    return len(lines)


def risks(loop: Loop, folder: Path) -> int:
    """Return how many rows of the sixth week have another risk by the decisions than without them."""
    workspace = Workspace(loop.config)
    days = [datetime(day.year, day.month, day.day) for day in (day_of(5), day_of(6))]
    at = loop.config.contract.timestamp
    rows = pq.read_table(loop.config.table.path, filters=[(at, ">=", days[0]), (at, "<", days[1])])
    pq.write_table(rows, folder / "rows.parquet")
    families = tuple(name for name in loop.config.features.families if name.startswith("risk:"))
    features = loop.config.features.model_copy(update={"families": families, "core": ()})
    config = loop.config.model_copy(update={"features": features})
    names = list(dict.fromkeys(feature.column for feature in list_features(config)))
    tables = [
        pq.read_table(
            compute(
                folder / "rows.parquet",
                workspace.history.files(None, None),
                config,
                folder / f"{len(files)}.parquet",
                reviewed=files,
            ),
            columns=names,
        )
        for files in ([], workspace.decisions.files())
    ]
    without, knowing = (np.column_stack([table[name].to_numpy() for name in names]) for table in tables)
    return int((~np.isclose(without, knowing, equal_nan=True)).any(axis=1).sum())


def close(folder: Path, seed: int, *, rows: int, capacity: int) -> dict[str, Any]:
    """Run the loop once, and return what it came to."""
    loop = begin(folder, seed, rows=rows, capacity=capacity)
    first, without = train(loop, (0, 3)), train(loop, (1, 5))
    queues = {"none": score(loop, 5, without)}
    decisions = 0
    for week in (3, 4):
        score(loop, week, first)
        decisions += decide(loop, week)
    labels = sum(pq.read_metadata(file).num_rows for file in Workspace(loop.config).decisions.files())
    knowing = train(loop, (1, 5))
    queues["all"] = score(loop, 5, knowing)
    last = day_of(6) - timedelta(days=1)
    with compared(loop.config, [without, knowing], table=str(loop.labelled), first=day_of(5), last=last) as comparison:
        figure = comparison.figure("average_precision")
        lesson = comparison.contenders[1].detector.summary.get("feedback", "")
    assert figure is not None
    record: dict[str, Any] = {"decisions": decisions, "labels": labels, "lesson": lesson, "risks": risks(loop, folder)}
    record["average precision"] = tuple(interval.value for interval in figure.values)
    for name, ids in queues.items():
        caught = len(set(ids) & loop.frauds)
        record[name] = {"alerts": len(ids), "frauds": caught, "precision": caught / max(len(ids), 1)}
    return record


def mean(values: Sequence[float]) -> str:
    """Return a mean with its interval.

    Examples
    --------
    >>> mean([0.1, 0.2, 0.3])
    '0.200 (-0.048 to 0.448)'
    """
    middle = float(np.mean(values))
    if len(values) < 2:
        return f"{middle:.3f}"
    reach = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return f"{middle:.3f} ({middle - reach:.3f} to {middle + reach:.3f})"


def show(records: Sequence[Mapping[str, Any]]) -> None:
    """Print the table: a line a run, a column a measure."""
    print(f"\n{'queue of week six':<20}{'precision':<28}{'ahead of none':<28}{'frauds in it':<28}alerts")
    for name in RUNS:
        precision = [record[name]["precision"] for record in records]
        ahead = [value - record["none"]["precision"] for value, record in zip(precision, records, strict=True)]
        frauds = [record[name]["frauds"] for record in records]
        alerts = np.mean([record[name]["alerts"] for record in records])
        apart = "" if name == "none" else mean(ahead)
        print(f"{name:<20}{mean(precision):<28}{apart:<28}{mean(frauds):<28}{alerts:,.1f}")
    without, knowing = zip(*(record["average precision"] for record in records), strict=True)
    print(f"\nassay compare, average precision: {mean(without)} without decisions, {mean(knowing)} with them,")
    print(f"ahead by {mean([after - before for before, after in zip(without, knowing, strict=True)])}")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="tables and models, 0 and up")
    parser.add_argument("--rows", type=int, default=24_000, help="transactions of six weeks")
    parser.add_argument("--capacity", type=int, default=20, help="alerts a day")
    arguments = parser.parse_args()
    records = []
    for seed in range(arguments.seeds):
        quiet = io.StringIO()
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.redirect_stdout(quiet),
            contextlib.redirect_stderr(quiet),
        ):
            record = close(Path(folder), seed, rows=arguments.rows, capacity=arguments.capacity)
        records.append(record)
        shares = ", ".join(f"{name} {record[name]['frauds']} of {record[name]['alerts']}" for name in RUNS)
        print(
            f"seed {seed}: {record['decisions']:,} decisions, {record['labels']:,} labels, "
            f"another risk in {record['risks']:,} rows; {shares}",
            flush=True,
        )
        print(f"  {record['lesson']}", file=sys.stderr)
    show(records)


if __name__ == "__main__":
    main()
