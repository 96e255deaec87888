"""How long the desk takes with a long queue and many analysts at once, and whether it loses a decision.

    OMP_NUM_THREADS=1 python benchmarks/review.py
    OMP_NUM_THREADS=1 python benchmarks/review.py --alerts 1000000 --kills 0
    OMP_NUM_THREADS=1 python benchmarks/review.py --url postgresql+psycopg://postgres@127.0.0.1:5432/empty

Alerts of ten batches are made by a seed and taken in. Then a process serves analysts, each a thread that lists,
filters, searches, opens, takes the next alert and decides it, with a pause of a second on average (0.5 to 1.5) after
each of these to read. Printed is the time of each action, without the web around it. With kills, the process is ended
by SIGKILL so many times while they work, and started again.

The line "history" is the timeline of a customer who paid twice a day for `--days` days, each day a file of its own,
read fifty times by one analyst alone.

Afterwards every decision that was acknowledged must be in the events, none twice and none over another's, and the
chain whole: else the command ends with status 1.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.people import Person
from pipeline.review.refusals import Refusal
from pipeline.review.work import Action
from pipeline.scoring.reasons import REASONS_TYPE
from pipeline.settings.config import Config
from pipeline.workspace.ledger import Entry, Ledger
from pipeline.workspace.schema import REVIEW_DECISIONS
from pipeline.workspace.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.settings.review import Label

BATCHES = 10
CUSTOMERS = 100
"""Of the history, each with two rows a day."""
START = datetime(2025, 3, 1)
T = TypeVar("T")
CHANNELS = ("web", "pos", "atm", "app")


def configuration(folder: Path, url: str) -> Config:
    """Return the configuration of the table that is made."""
    contract: dict[str, object] = {
        "id": "tx",
        "timestamp": "at",
        "amount": "eur",
        "entities": ["customer", "terminal"],
        "label": "fraud",
    }
    contract |= {"categorical": ["channel"], "types": {"tx": "integer"}}
    settings = {"contract": contract, "name": "bench", "work_dir": str(folder), "tracking": {"ledger_url": url}}
    return Config.model_validate(settings)


def score(config: Config, alerts: int, seed: int) -> None:
    """Leave batches as `assay score` does: files of alerts, and rows in the ledger."""
    rng, count, ledger = np.random.default_rng(seed), alerts // BATCHES, Ledger(config)
    for number in range(BATCHES):
        folder = Path(config.work_dir) / "batches" / f"b{number}-v1"
        folder.mkdir(parents=True)
        scores = np.sort(rng.gamma(2.0, 5.0, count))[::-1]
        reason = [
            {"column": "eur", "actual": "310.00", "expected": "35.00", "share": 0.6, "text": "eur 310.00, not 35.00"}
        ]
        minutes = rng.integers(0, 24 * 60, count)
        table = {
            "tx": np.arange(count) + number * count,
            "at": [START + timedelta(days=number, minutes=int(minute)) for minute in minutes],
            "eur": rng.lognormal(4, 1, count).round(2),
            "customer": [f"c{value}" for value in rng.integers(0, max(alerts // 20, 1), count)],
            "terminal": [f"t{value}" for value in rng.integers(0, max(alerts // 50, 1), count)],
            "channel": rng.choice(CHANNELS, count).tolist(),
            "anomaly_score": scores,
            "p_value": np.linspace(1e-5, 1e-2, count),
            "rank": np.arange(1, count + 1),
            "threshold": np.full(count, 1.0),
            "reasons": pa.array([reason] * count, REASONS_TYPE),
        }
        pq.write_table(pa.table(table), folder / "alerts.parquet")
        entry = Entry(
            batch_id=f"b{number}",
            source=f"b{number}.parquet",
            digest=f"b{number}",
            period_start=None,
            period_end=None,
            model_name=config.name,
            model_version="1",
            scored_at=START + timedelta(days=number + 1),
            folder=str(folder),
        )
        ledger.record(entry)


def keep_history(config: Config, days: int, seed: int) -> None:
    """Leave the rows of days before the first batch in the history, as runs have put them there."""
    rng, count, history = np.random.default_rng(seed), 2 * CUSTOMERS, Workspace(config).history
    for number in range(days):
        day = START - timedelta(days=days - number)
        minutes = np.sort(rng.integers(0, 24 * 60, count))
        table = {
            "tx": 10**9 + np.arange(count) + number * count,
            "at": pa.array([day + timedelta(minutes=int(minute)) for minute in minutes], pa.timestamp("us")),
            "eur": rng.lognormal(4, 1, count).round(2),
            "customer": [f"c{value}" for value in rng.permutation(np.arange(count) // 2)],
            "terminal": [f"t{value}" for value in rng.integers(0, CUSTOMERS, count)],
            "channel": rng.choice(CHANNELS, count).tolist(),
        }
        folder = history.folder / f"date={day:%Y-%m-%d}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table(table), folder / "earlier.parquet")


def read_histories(desk: Desk) -> list[float]:
    """Return how long the history of a customer takes, fifty times."""
    who = Person("lead", "lead")
    times = []
    for number in range(50):
        (line,) = desk.page(View(state="", column="customer", value=f"c{number}", limit=1), who).lines
        start = time.perf_counter()
        desk.history(line.key, who)
        times.append(time.perf_counter() - start)
    return times


class Analyst:
    """Somebody who works the queue until told to stop, and notes how long everything took and what was acknowledged.

    Parameters
    ----------
    desk : Desk
    number : int
    pause : float
        Seconds between two actions, on average.
    """

    def __init__(self, desk: Desk, number: int, pause: float) -> None:
        self.desk, self.pause = desk, pause
        self.who = Person(f"analyst{number}", "analyst", "127.0.0.1")
        self.random = np.random.default_rng([number, os.getpid()])
        self.times: dict[str, list[float]] = defaultdict(list)

    def work(self, stop: threading.Event, note: Callable[[dict[str, object]], None]) -> None:
        """Work the queue."""
        time.sleep(self.random.uniform(0, 5) * self.pause)  # nobody begins in the same moment
        while not stop.is_set():
            entity = f"c{self.random.integers(5000)}"
            self._timed("list", lambda: self.desk.page(View(start=int(self.random.integers(5)) * 50), self.who))
            channel = View(column="channel", value=str(self.random.choice(CHANNELS)), least=100.0)
            self._timed("filter", partial(self.desk.page, channel, self.who))
            self._timed("search", partial(self.desk.page, View(state="", search=entity), self.who))
            self._timed("count what is new", self.desk.sync)
            for _ in range(3):
                if stop.is_set():
                    return
                key = self._timed("next", lambda: self.desk.next(View(), self.who))
                if key is not None:
                    self._decide(key, note)

    def _decide(self, key: str, note: Callable[[dict[str, object]], None]) -> None:
        alert = self._timed("open", lambda: self.desk.alert(key, self.who))
        label: Label = "fraud" if self.random.random() < 0.3 else "not_fraud"
        numbers = {key: alert.line.event}
        action = Action(kind="decide", label=label)
        try:
            event = self._timed("decide", lambda: self.desk.act(numbers, action, self.who)).events[0]
        except Refusal:
            return
        note({"key": key, "number": event.number, "label": label, "who": self.who.name})

    def _timed(self, name: str, call: Callable[[], T]) -> T:
        start = time.perf_counter()
        result = call()
        self.times[name].append(time.perf_counter() - start)
        time.sleep(self.random.uniform(0.5, 1.5) * self.pause)
        return result


def serve(config: Config, arguments: argparse.Namespace) -> None:
    """Let the analysts work for some seconds; times are printed as JSON, decisions are noted in a file one by one."""
    desk, stop = Desk(config), threading.Event()
    analysts = [Analyst(desk, number, arguments.pause) for number in range(arguments.analysts)]
    lock = threading.Lock()
    with Path(arguments.serve).open("a") as notes:

        def note(decision: dict[str, object]) -> None:
            with lock:
                notes.write(json.dumps(decision) + "\n")
                notes.flush()

        threads = [threading.Thread(target=analyst.work, args=(stop, note)) for analyst in analysts]
        for thread in threads:
            thread.start()
        time.sleep(arguments.seconds)
        stop.set()
        for thread in threads:
            thread.join()
    times: dict[str, list[float]] = defaultdict(list)
    for analyst in analysts:
        for name, values in analyst.times.items():
            times[name] += values
    print(json.dumps(times))


def main() -> int:
    """Run the benchmark, and return 1 where a decision was lost, doubled or overwritten."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alerts", type=int, default=100_000)
    parser.add_argument("--analysts", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two actions of an analyst")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--days", type=int, default=3_000, help="of the history behind the alerts; 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--url", default="", help="SQLAlchemy URL of an empty database; SQLite without")
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(configuration(Path(arguments.folder), arguments.url), arguments)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return bench(Path(folder), arguments)


def bench(folder: Path, arguments: argparse.Namespace) -> int:
    """Make the queue, let analysts work it, kill the process in between, and check what is left."""
    config, notes = configuration(folder / "work", arguments.url), folder / "notes"
    score(config, arguments.alerts, arguments.seed)
    keep_history(config, arguments.days, arguments.seed)
    start = time.perf_counter()
    desk = Desk(config)
    desk.sync()
    print(f"took in {arguments.alerts:,} alerts in {time.perf_counter() - start:.1f} s", flush=True)
    words = [sys.executable, __file__, "--folder", config.work_dir, "--url", arguments.url, "--serve", str(notes)]
    words += ["--analysts", str(arguments.analysts), "--pause", str(arguments.pause)]
    result = subprocess.run(
        [*words, "--seconds", str(arguments.seconds)], check=True, stdout=subprocess.PIPE, text=True
    )
    print(f"\n{'action':<20}{'calls':>8}{'median ms':>12}{'p95 ms':>10}{'p99 ms':>10}")
    actions = json.loads(result.stdout) | ({"history": read_histories(desk)} if arguments.days else {})
    for name, times in actions.items():
        median, high, highest = np.percentile(times, [50, 95, 99]) * 1000
        print(f"{name:<20}{len(times):>8,}{median:>12.1f}{high:>10.1f}{highest:>10.1f}", flush=True)
    for number in range(arguments.kills):
        with subprocess.Popen([*words, "--seconds", "60"], stdout=subprocess.DEVNULL) as process:
            lines = notes.read_text().count("\n")
            while notes.read_text().count("\n") < lines + 5 + number:  # in the middle of their work
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
    return check(desk, [json.loads(line) for line in notes.read_text().splitlines() if line.endswith("}")])


def check(desk: Desk, acknowledged: list[dict[str, object]]) -> int:
    """Say whether the events hold every decision that was acknowledged, each once, and whether the chain is whole."""
    with desk.store.reading() as reading:
        query = sa.select(*(REVIEW_DECISIONS.c[name] for name in ("key", "number", "label", "who")))
        stored = {tuple(row) for row in reading.connection.execute(query)}
    lost = [decision for decision in acknowledged if tuple(decision.values()) not in stored]
    doubled = len(stored) - len({row[0] for row in stored})
    verdict = desk.verify()
    rebuilt = desk.page(View(), Person("lead", "lead")).counts
    desk.rebuild()
    is_same = rebuilt == desk.page(View(), Person("lead", "lead")).counts
    print(
        f"\n{len(stored):,} decisions, {len(acknowledged):,} of them acknowledged; {len(lost)} lost, {doubled} doubled;"
        f" chain of {verdict.number:,} events {verdict.fault or 'whole'}; queue made again is "
        f"{'the same' if is_same else 'another one'}"
    )
    return int(bool(lost or doubled or verdict.fault) or not is_same)


if __name__ == "__main__":
    sys.exit(main())
