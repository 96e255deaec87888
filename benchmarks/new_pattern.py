"""A new pattern of fraud at mid-stream, the old one gone: how soon a queue whose labels are its own reviews finds it.

    python benchmarks/new_pattern.py --seeds 5 [--explore 0 0.1 0.2] [--new new_payee collusion] --json out.json

A simulated stream of 46 days (`pipeline.simulation`), 3,000 rows a day: nights and takeovers in the first 29 days,
then only the new scenarios. All labels of the first 20 days are known; from then on those of the rows in the queue, a
day later.
Every three days a version is trained on the last 14 days, and draws the queue of the next three by capacity, 60 alerts
a day. The queue is drawn with no share of it exploring, with some, and, as an upper mark, with all labels known a day
later. So that many trainings are cheap, the one-class model is an isolation forest on all families of features but
`risk`, computed once. Recall is of all frauds of some days, rows that explore included; the spread is over the seeds.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.features import compute
from pipeline.inference.roles import infer
from pipeline.labels.known import Labels
from pipeline.settings.config import Config, TableConfig
from pipeline.simulation import simulate
from pipeline.tables.reading import open_table

FIRST = datetime(2025, 1, 1)
ROWS_A_DAY, DAYS, CAPACITY = 3_000, 46, 60
KNOWN, BREAK, WINDOW, EVERY = 20, 29, 14, 3
OLD = ("night_spending", "account_takeover")
NEW = ("new_payee", "collusion")
PERIODS = {"before": (21, 29), "days 1-3": (29, 32), "days 4-6": (32, 35), "days 7-9": (35, 38), "days 10-": (38, 46)}
"""Days that recall is told of; the queue is drawn anew on days 20, 23, ..., 29, 32, ..."""
ALL = "all labels"


@dataclass(frozen=True)
class Stream:
    """Feature table of a stream, in the order of time, with the labels of the first days; and the truth, a row each."""

    table: pa.Table
    config: Config
    day: np.ndarray
    fraud: np.ndarray

    @property
    def ids(self) -> np.ndarray:
        """The rows' ids."""
        return np.asarray(self.table[self.config.contract.id])


def make_stream(folder: Path, new: Sequence[str], seed: int) -> Stream:
    """Simulate a stream whose frauds change on the day of the break, and compute its features."""
    path = folder / "rows.parquet"
    simulate(
        path,
        rows=ROWS_A_DAY * DAYS,
        days=DAYS,
        seed=seed,
        first_day=FIRST.date(),
        malformed=False,
        scenarios=(*OLD, *new),
        scenario_column=True,
    )
    frame = pd.read_parquet(path)
    day = (frame["TX_DATETIME"] - FIRST).dt.days
    scenario = frame.pop("TX_FRAUD_SCENARIO")
    stays = ~(scenario.isin(OLD) & (day >= BREAK)) & ~(scenario.isin(new) & (day < BREAK))
    frame, days = frame[stays], day[stays].to_numpy()
    fraud = frame["TX_FRAUD"].to_numpy() == 1
    pq.write_table(pa.Table.from_pandas(frame[days < KNOWN], preserve_index=False), path)
    config, _, _ = infer(open_table(path, TableConfig()), settings=TableConfig(), name="stream", label="TX_FRAUD")
    config = settings(config)
    frame = frame.assign(TX_FRAUD=frame["TX_FRAUD"].astype("Int8").where(days < KNOWN))
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    return Stream(pq.read_table(compute(path, [], config, folder / "features.parquet")), config, days, fraud)


def settings(config: Config) -> Config:
    """Return what `assay init` would write, but a queue by capacity, labels a day later, and a model that is cheap."""
    families = tuple(name for name in config.features.families if not name.startswith("risk"))
    features = config.features.model_copy(update={"families": families, "label_delay_days": 1.0})
    threshold = config.threshold.model_copy(update={"strategy": "capacity", "alerts_per_day": CAPACITY})
    model = config.model.model_copy(update={"name": "isolation_forest"})
    return config.model_copy(update={"features": features, "threshold": threshold, "model": model})


def replay(stream: Stream, folder: Path, queue: str, seed: int) -> pd.DataFrame:
    """Train, draw the queue and review it, every few days.

    Parameters
    ----------
    stream : Stream
    folder : Path
    queue : str
        The share of the queue that explores, or `ALL`.
    seed : int

    Returns
    -------
    pandas.DataFrame
        A row a day: rows flagged and exploring, frauds among them, and frauds of the day.
    """
    config, days = stream.config, []
    share = 0.0 if queue == ALL else float(queue)
    sections = {"feedback": {"explore": share}, "model": {"seed": seed}}
    for name, update in sections.items():
        config = config.model_copy(update={name: getattr(config, name).model_copy(update=update)})
    reviewed = stream.day < 0
    for day in range(KNOWN, DAYS - EVERY + 1, EVERY):
        detector = _train(stream, config, folder, day=day, reviewed=stream.day < day if queue == ALL else reviewed)
        now = np.flatnonzero((stream.day >= day) & (stream.day < day + EVERY))
        scores, one_class = detector.both_scores(stream.table.take(now))
        flags, _ = detector.flag(scores)
        picks = detector.picks(one_class, flags)
        reviewed = reviewed | np.isin(np.arange(len(reviewed)), now[flags | picks])
        counts = {"flagged": flags, "exploring": picks, "fraud": stream.fraud[now]}
        counts |= {"flagged fraud": flags & counts["fraud"], "exploring fraud": picks & counts["fraud"]}
        days.append(pd.DataFrame(counts).groupby(stream.day[now]).sum())
    return pd.concat(days)


def _train(stream: Stream, config: Config, folder: Path, *, day: int, reviewed: np.ndarray) -> Detector:
    """Fit to the days before one, with the labels of the rows that were reviewed."""
    window = (stream.day >= day - WINDOW) & (stream.day < day)
    pq.write_table(stream.table.filter(pa.array(window)), folder / "window.parquet")
    rows = np.flatnonzero(reviewed & window & (stream.day >= KNOWN))
    known = [FIRST + timedelta(days=int(at) + 1) for at in stream.day[rows]]
    labels = pa.table(
        {
            "id": stream.ids[rows],
            "label": stream.fraud[rows].astype(np.int8),
            "labelled_at": pa.array(known, pa.timestamp("us")),
        }
    )
    pq.write_table(labels, folder / "reviewed.parquet")
    of = Labels(config, (folder / "reviewed.parquet",) if len(rows) else ())
    return Detector.fit(folder / "window.parquet", config, of, FIRST + timedelta(days=day))


def measure(replays: Sequence[pd.DataFrame], queue: str) -> list[dict[str, Any]]:
    """Return recall and precision of a queue by period: means over the seeds, and the least and the most."""
    records = []
    for period, (first, end) in PERIODS.items():
        total = pd.concat([days.loc[first : end - 1] for days in replays]).sum()
        recalls = [recall(days, first, end) for days in replays]
        records.append(
            {
                "queue": queue,
                "period": period,
                "recall": float(np.mean(recalls)),
                "least": min(recalls),
                "most": max(recalls),
                "precision": float(total["flagged fraud"] / max(total["flagged"], 1)),
                "exploring": int(total["exploring"]),
                "found_exploring": int(total["exploring fraud"]),
            }
        )
    return records


def note(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


def recall(days: pd.DataFrame, first: int, end: int) -> float:
    """Return the share of the frauds of some days that were in the queue."""
    part = days.loc[first : end - 1].sum()
    return float((part["flagged fraud"] + part["exploring fraud"]) / max(part["fraud"], 1))


def show(records: Sequence[dict[str, Any]]) -> None:
    """Print a table."""
    print("| queue | days | recall | precision of what is flagged | exploring, fraud among them |")
    print("|---|---|---|---|---|")
    for line in records:
        recall = f"{line['recall']:.2f} ({line['least']:.2f} to {line['most']:.2f})"
        numbers = f"{line['precision']:.2f} | {line['exploring']:,}, {line['found_exploring']:,}"
        print(f"| {line['queue']} | {line['period']} | {recall} | {numbers} |")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--explore", nargs="+", default=["0", "0.1"], help="shares of the queue")
    parser.add_argument("--new", nargs="+", default=list(NEW), help="scenarios from the break on")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    queues = [*arguments.explore, ALL]
    replays: dict[str, list[pd.DataFrame]] = {queue: [] for queue in queues}
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            stream = make_stream(Path(folder), arguments.new, seed)
            for queue in queues:
                replays[queue].append(replay(stream, Path(folder), queue, seed))
                recalls = [f"{recall(replays[queue][-1], *period):.2f}" for period in PERIODS.values()]
                note(f"seed {seed}, {queue}: recall {' '.join(recalls)}")
    records = [record for queue in queues for record in measure(replays[queue], queue)]
    show(records)
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
