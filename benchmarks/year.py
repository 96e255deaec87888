"""A simulated third of a year, night after night, by a real Prefect server and the schedule that operators serve.

    nice -n 19 python benchmarks/year.py --days 120 --rows-a-day 400 --json out.json
    nice -n 19 python benchmarks/year.py --by backfill

A Prefect server is started, and `assay schedule` serves a table whose champion was trained on 24 days. Then 120 files
are delivered into the incoming folder, one after the other, each with the rows of a day. The clock is that of the
files: for each, the run of the deployment `nightly` that would be due at two is asked for at once, and waited for;
every seventh day, that of `when-due`, which is `assay retrain` with ``when = ["warn"]`` and ``promote = true``. Nothing
else is different from what an operator does.

What happens: on day 20 the table has a new column from then on; from day 60 amounts are 1.8 times as high; from day 90
on, one row in twenty is part of a wave of fraud, at 6 to 12 times the amount. Printed is every change of the watch, on
its day, what each retraining came to, and in the end how many days each event took to be named, and by which check.
Before day 60, a check other than schema that is not ok is a false alarm.

With ``--by backfill`` there is no server: week after week `assay backfill --publish` scores the days, then `assay
retrain` runs; what happens is the same, and the day of a change is that of the rows it was seen in.

Two things are not as in life: labels are in the files, so that a retraining need not wait a week for them, and moments
of the records are those of this machine, so that ``again_days`` is set to next to nothing. The gate on card precision
in a hundred cards a day is not asked, for the table has hardly more, and a queue of ten.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from watch import DRIFT, SCHEMA, TRAINED, WARM_UP, WAVE, between, configuration, ordinary_life, with_events

from pipeline.settings.file import read_config, with_settings, write_config
from pipeline.simulation import simulate
from pipeline.workspace.retraining import last_retraining
from pipeline.workspace.watch import WatchEvent, WatchEvents

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

NAMED_WITHIN = 3
WEEK = 7
SECONDS = 900
"""That the server may take to answer, or a run to end, on a busy machine."""
DATA = ("rows", "columns", "scores", "alerts")
EVENTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "schema": (SCHEMA, ("schema",)),
    "drift": (DRIFT, DATA),
    "wave": (WAVE, DATA),
}


def prepared(folder: Path, seed: int, days: int, rows_a_day: int) -> tuple[pa.Table, date]:
    """Write a simulated table and its configuration; return its rows, and the first day that is delivered."""
    whole = WARM_UP + TRAINED + days
    rows = round(rows_a_day / 0.84 * whole)
    simulation = simulate(folder / "raw.parquet", rows=rows, days=whole, seed=seed, malformed=False)
    first = simulation.first_day + timedelta(days=WARM_UP + TRAINED)
    table = with_events(ordinary_life(pq.read_table(simulation.path), seed), first, seed)
    pq.write_table(between(table, simulation.first_day, first - timedelta(days=1)), folder / "past.parquet")
    settings = with_settings(
        configuration(),
        name="year",
        table={"path": "past.parquet"},
        incoming={"quiet_seconds": 0},
        retrain={"when": ["warn"], "again_days": 1e-6, "days": TRAINED, "compare_days": 3, "promote": True},
        promotion={"max_loss_card_precision": 1.0},
    )
    (folder / "assay.toml").write_text(write_config(settings), encoding="utf-8")
    (folder / "incoming").mkdir()
    return table, first


def delivered(table: pa.Table, first: date, last: date, number: int) -> pa.Table:
    """Return the rows of some days, of which `number` is the first's; from the day of the new column on, with it."""
    rows = between(table, first, last)
    return rows.append_column("CHANNEL_CODE", pa.repeat("x", rows.num_rows)) if number >= SCHEMA else rows


def deliver(table: pa.Table, day: date, number: int, incoming: Path) -> None:
    """Write the rows of a day into the incoming folder."""
    pq.write_table(delivered(table, day, day, number), incoming.parent / f".{day}.parquet")
    (incoming.parent / f".{day}.parquet").rename(incoming / f"{day}.parquet")


@contextmanager
def process(log: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside this one, and end it with the block."""
    with log.open("ab") as output:
        running = subprocess.Popen([sys.executable, "-m", *words], stdout=output, stderr=output)
        try:
            yield running
        finally:
            running.terminate()
            running.wait()


@contextmanager
def served(folder: Path, first: date) -> Iterator[None]:
    """Start a Prefect server, train the first champion on the days before the first, and serve the schedule."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    os.environ |= {"PREFECT_HOME": str(folder / "prefect"), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    # The served flow starts `python` by its name.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    os.environ["PREFECT_RUNNER_POLL_FREQUENCY"] = "1"  # seconds until a run that was asked for begins; 10 by default
    words = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    config = str(folder / "assay.toml")
    with process(folder / "server.log", *words):
        wait_for(f"http://127.0.0.1:{port}/api/health")
        train(folder, first)
        with process(folder / "schedule.log", "flows.cli", "schedule", "--config", config):
            yield


def train(folder: Path, first: date) -> None:
    """Train the first champion on the days before the first that is delivered."""
    ends = first - timedelta(days=TRAINED), first - timedelta(days=1)
    if fault := assay(folder, "train", "--from", str(ends[0]), "--to", str(ends[1])):
        raise SystemExit(fault)


def assay(folder: Path, *words: str) -> str:
    """Run a command of `assay` as a process, and return what it said where it failed."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "flows.cli", *words, "--config", str(folder / "assay.toml")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return (ended.stdout + ended.stderr).strip() if ended.returncode else ""


def wait_for(url: str) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - http, and our own
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def run_now(name: str) -> str:
    """Ask for a run of a deployment, as its schedule does when it is due; return how it ended."""
    from prefect.deployments import run_deployment
    from prefect.exceptions import ObjectNotFound

    deadline = time.monotonic() + SECONDS
    while True:
        try:
            run = cast("FlowRun", run_deployment(name, timeout=SECONDS, poll_interval=0.5))
        except ObjectNotFound:  # the schedule is on its way
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            state = run.state
            return "" if state and state.is_completed() else f"{run.state_name}: {state.message if state else ''}"


def look(config_path: Path, seen: int) -> list[WatchEvent]:
    """Return the changes of the watch beyond those that were seen."""
    return WatchEvents(read_config(config_path)).all()[seen:]


def play(folder: Path, table: pa.Table, first: date, days: int) -> dict[str, Any]:
    """Deliver day after day, and print what the watch and the retraining say of each."""
    from flows.stages import name_on_server

    config_path = folder / "assay.toml"
    name = name_on_server(read_config(config_path), config_path)
    changes: list[dict[str, Any]] = []
    failures: list[str] = []
    retrainings: list[dict[str, Any]] = []
    for number in range(days):
        started = time.monotonic()
        deliver(table, first + timedelta(days=number), number, folder / "incoming")
        if fault := run_now(f"assay-score-incoming/nightly-{name}"):
            failures.append(f"day {number}: {fault}")
            print(f"day {number:>3}  the run failed: {fault}", flush=True)
        for event in look(config_path, len(changes)):
            changes.append({"day": number, "check": event.check, "state": event.state})
            print(f"day {number:>3}  {event.check} {event.state} (was {event.previous}): {event.reason}", flush=True)
        if number % WEEK == WEEK - 1:
            before = last_retraining(read_config(config_path))
            fault = run_now(f"assay-retrain/when-due-{name}")
            last = last_retraining(read_config(config_path))
            if last is not None and last != before:
                retrainings.append({"day": number, "outcome": last.outcome, "version": last.version})
                print(f"day {number:>3}  version {last.version} {last.outcome}: {last.message}", flush=True)
            if fault:
                failures.append(f"day {number}: {fault}")
        print(f"day {number:>3}  {time.monotonic() - started:.1f} s", flush=True)
    return {"changes": changes, "retrainings": retrainings, "failures": failures, **named(changes, days)}


def fill(folder: Path, table: pa.Table, first: date, days: int) -> dict[str, Any]:
    """Score all days by `assay backfill`, a week at a time and then a retraining; print what the watch says of each."""
    config = read_config(folder / "assay.toml")
    settings = with_settings(config, prefect=False)
    (folder / "assay.toml").write_text(write_config(settings), encoding="utf-8")
    train(folder, first)
    changes: list[dict[str, Any]] = []
    failures: list[str] = []
    retrainings: list[dict[str, Any]] = []
    starts = sorted({*range(0, days, WEEK), SCHEMA} & {*range(days)})
    for start, end in zip(starts, [*starts[1:], days], strict=True):
        ends = first + timedelta(days=start), first + timedelta(days=end - 1)
        pq.write_table(delivered(table, *ends, start), folder / "days.parquet")
        period = ["--from", str(ends[0]), "--to", str(ends[1]), "--publish"]
        if fault := assay(folder, "backfill", str(folder / "days.parquet"), *period):
            failures.append(f"days {start} to {end - 1}: {fault}")
            print(failures[-1], flush=True)
        for event in look(folder / "assay.toml", len(changes)):
            day = (event.day - first).days
            changes.append({"day": day, "check": event.check, "state": event.state})
            print(f"day {day:>3}  {event.check} {event.state} (was {event.previous}): {event.reason}", flush=True)
        if end % WEEK == 0:
            before = last_retraining(settings)
            if fault := assay(folder, "retrain"):
                failures.append(f"day {end - 1}: {fault}")
            last = last_retraining(settings)
            if last is not None and last != before:
                retrainings.append({"day": end - 1, "outcome": last.outcome, "version": last.version})
                print(f"day {end - 1:>3}  version {last.version} {last.outcome}: {last.message}", flush=True)
    return {"changes": changes, "retrainings": retrainings, "failures": failures, **named(changes, days)}


def named(changes: list[dict[str, Any]], days: int) -> dict[str, Any]:
    """Return, for each event, how many days it took to be named, 1 for its own day, and by which check.

    A check that was odd before an event names nothing.
    """
    found: dict[str, Any] = {}
    for event, (start, checks) in EVENTS.items():
        before = dict.fromkeys(checks, "ok")
        for change in changes:
            if change["day"] < start:
                before[change["check"]] = change["state"]
        late = [
            change
            for change in changes
            if change["day"] >= start and change["check"] in checks and change["state"] != "ok"
        ]
        first = next((change for change in late if before.get(change["check"], "ok") == "ok"), None)
        if start < days:
            found[event] = {"days": first["day"] - start + 1, "by": first["check"]} if first else {"days": None}
    early = (change for change in changes if change["day"] < DRIFT and change["check"] in DATA)
    alarms = sum(change["state"] != "ok" for change in early)
    return {"events": found, "false_alarms": alarms}


def main() -> None:
    """Play the days, and print what was named when."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=120)
    parser.add_argument("--rows-a-day", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--by", choices=("server", "backfill"), default="server")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        table, first = prepared(folder, options.seed, options.days, options.rows_a_day)
        if options.by == "backfill":
            record = fill(folder, table, first, options.days)
        else:
            with served(folder, first):
                record = play(folder, table, first, options.days)
    for event, result in record["events"].items():
        start = EVENTS[event][0]
        text = f"named within {result['days']} days, by {result['by']}" if result["days"] else "not named"
        print(f"{event:<7} day {start:>3}  {text}")
    late = [event for event, result in record["events"].items() if (result["days"] or 99) > NAMED_WITHIN]
    print(f"named later than within {NAMED_WITHIN} days: {', '.join(late) or 'none'}")
    print(f"false alarms before day {DRIFT}: {record['false_alarms']}; runs that failed: {len(record['failures'])}")
    print(f"{options.days} nights in {(time.monotonic() - started) / 60:.0f} minutes")
    if options.json:
        options.json.write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
