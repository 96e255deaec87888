"""Whether the watch names what changes within three days, and lets quiet days be quiet.

    python benchmarks/watch.py --seeds 20 --days 365 --rows-a-day 500 --json out.json

For each seed a simulated table with what ordinary life does to it: fewer rows at weekends, on each day a random number
more or fewer, and amounts that are all a little higher or lower on one day than on another. A detector is trained on 24
days; every day behind it is watched as a nightly run would, with what that night could know.

Quiet: nothing else happens. Printed is on which share of the days a check was not ok, by check; a watch that keeps to 1
in 20 years' worth of days warns on 1 of 7,300.

Events: on day 20 the table has a new column from then on; from day 60 amounts are 1.8 times as high; after a training
on days 61 to 84, a wave of fraud comes on day 90: one row in twenty, at 6 to 12 times the amount. Printed is how many
days each took to be named, by which check.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.features import compute
from pipeline.labels.known import Labels
from pipeline.monitoring.checks import CHECKS, State, look_at
from pipeline.monitoring.columns import schema_changes
from pipeline.monitoring.profile import Days, Profiler
from pipeline.monitoring.watch import WINDOW
from pipeline.scoring.score import score_table
from pipeline.settings.config import Config
from pipeline.settings.monitor import CheckName
from pipeline.simulation import simulate

WARM_UP, TRAINED = 30, 24
SCHEMA, DRIFT, AGAIN, WAVE, EVENT_DAYS = 20, 60, 85, 90, 100
NAMED_WITHIN = 3
AT = "TX_DATETIME"


def configuration() -> Config:
    """Return the settings: features and a network that are fitted within seconds."""
    contract = {
        "id": "TRANSACTION_ID", "timestamp": AT, "amount": "TX_AMOUNT", "entities": ("CUSTOMER_ID", "TERMINAL_ID"),
        "categorical": ("CHANNEL", "COUNTRY"), "label": "TX_FRAUD", "types": {"TRANSACTION_ID": "integer"},
    }  # fmt: skip
    families = ("amount", "columns", "change", "recent", "hours")
    return Config.model_validate(
        {
            "contract": contract,
            "features": {"families": families},
            "model": {"max_epochs": 6},
            "feedback": {"enabled": False},
        }
    )


def ordinary_life(table: pa.Table, seed: int) -> pa.Table:
    """Return the table with weekends, and with days that differ in their rows and amounts."""
    rng = np.random.default_rng([seed, 7])
    moments = table[AT].to_numpy().astype("datetime64[D]")
    days, place = np.unique(moments, return_inverse=True)
    is_weekend = (days.astype(np.int64) + 3) % 7 >= 5  # 1970 began on a Thursday
    chances = np.clip(np.where(is_weekend, 0.7, 0.9) * rng.lognormal(0, 0.08, len(days)), 0, 1)
    prices = np.where(is_weekend, 1.05, 1.0) * rng.lognormal(0, 0.03, len(days))
    return scaled(table, prices[place]).filter(pa.array(rng.random(len(place)) < chances[place]))


def scaled(table: pa.Table, factors: np.ndarray) -> pa.Table:
    """Return the table with other amounts."""
    amounts = np.round(table["TX_AMOUNT"].to_numpy() * factors, 2)
    return table.set_column(table.schema.get_field_index("TX_AMOUNT"), "TX_AMOUNT", pa.array(amounts))


def with_events(table: pa.Table, first: date, seed: int) -> pa.Table:
    """Return the table with the drift and the wave; the new column comes when days are watched."""
    rng = np.random.default_rng([seed, 8])
    since = (table[AT].to_numpy().astype("datetime64[D]") - np.datetime64(first)).astype(int)
    hit = (since >= WAVE) & (rng.random(len(since)) < 0.05)
    factors = np.where(since >= DRIFT, 1.8, 1.0) * np.where(hit, rng.uniform(6, 12, len(since)), 1.0)
    frauds = np.where(hit, 1, table["TX_FRAUD"].to_numpy())
    place = table.schema.get_field_index("TX_FRAUD")
    return scaled(table, factors).set_column(place, "TX_FRAUD", pa.array(frauds, table.schema.field(place).type))


def between(table: pa.Table, first: date, last: date) -> pa.Table:
    """Return the rows from one day to another, both included."""
    start, end = datetime.combine(first, datetime.min.time()), datetime.combine(last, datetime.min.time())
    kind = table.schema.field(AT).type
    after = pc.greater_equal(table[AT], pa.scalar(start, kind))
    return table.filter(pc.and_(after, pc.less(table[AT], pa.scalar(end + timedelta(days=1), kind))))


def trained(features: Path, folder: Path, first: date, last: date) -> Detector:
    """Return a detector of the days from one to another, with every label known."""
    config, path = configuration(), folder / f"train-{first}.parquet"
    pq.write_table(between(pq.read_table(features), first, last), path)
    return Detector.fit(path, config, Labels(config), datetime.combine(last, datetime.min.time()) + timedelta(days=60))


def profiles(features: Path, folder: Path, detector: Detector, *, first: date, last: date) -> Days:
    """Return what each day from one to another was like."""
    path = folder / f"watch-{first}.parquet"
    pq.write_table(between(pq.read_table(features), first, last), path)
    at = datetime.combine(first, datetime.min.time())
    profiler, marks = Profiler(path, detector), dict[str, Any](batch_id="b", model_version="1", scored_at=at)
    score_table(path, detector, folder / f"scores-{first}", **marks, on_part=profiler.add)
    return profiler.days


def nightly(days: Days, detector: Detector, new_column: date | None = None) -> dict[date, dict[CheckName, State]]:
    """Return how each check stood after each day, by what was known then."""
    states: dict[date, dict[CheckName, State]] = {}
    for last in days:
        seen_days = {day: each for day, each in days.items() if last - WINDOW <= day <= last}
        types = detector.reference.types
        now = {**types, "CHANNEL_CODE": "text"} if new_column and last >= new_column else types
        seen = look_at(seen_days, detector, schema_changes(types, now, has_types=True))
        states[last] = {check.name: check.state for check in seen.checks}
    return states


def prepared(folder: Path, seed: int, days: int, rows_a_day: int, *, events: bool) -> tuple[Path, date]:
    """Write the feature table of a simulation, and return it with its first watched day."""
    whole = WARM_UP + TRAINED + days
    rows = round(rows_a_day / 0.84 * whole)
    simulation = simulate(folder / "raw.parquet", rows=rows, days=whole, seed=seed, malformed=False)
    first = simulation.first_day + timedelta(days=WARM_UP + TRAINED)
    table = ordinary_life(pq.read_table(simulation.path), seed)
    pq.write_table(with_events(table, first, seed) if events else table, folder / "rows.parquet")
    return compute(folder / "rows.parquet", [], configuration(), folder / "features.parquet"), first


def quiet(seed: int, days: int, rows_a_day: int) -> dict[str, Any]:
    """Return on how many days each check was not ok, of a time in which nothing happens."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        features, first = prepared(folder, seed, days, rows_a_day, events=False)
        detector = trained(features, folder, first - timedelta(days=TRAINED), first - timedelta(days=1))
        seen = profiles(features, folder, detector, first=first, last=first + timedelta(days=days - 1))
        states = nightly(seen, detector)
    odd = Counter(name for each in states.values() for name, state in each.items() if state != "ok")
    any_odd = sum(any(state != "ok" for state in each.values()) for each in states.values())
    return {"seed": seed, "days": len(states), "odd": any_odd, **{name: odd[name] for name in CHECKS}}


def eventful(seed: int, rows_a_day: int) -> dict[str, Any]:
    """Return how many days each event took to be named, 1 for its own day, and by which checks; None for never."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        features, first = prepared(folder, seed, EVENT_DAYS, rows_a_day, events=True)

        def day(number: int) -> date:
            return first + timedelta(days=number)

        old = trained(features, folder, day(-TRAINED), day(-1))
        states = nightly(profiles(features, folder, old, first=day(0), last=day(AGAIN - 1)), old, day(SCHEMA))
        new = trained(features, folder, day(AGAIN - TRAINED), day(AGAIN - 1))
        states |= nightly(profiles(features, folder, new, first=day(AGAIN), last=day(EVENT_DAYS - 1)), new)

    def named(start: int, names: Sequence[CheckName]) -> dict[str, Any]:
        before = {name for name in names if states[day(start - 1)][name] != "ok"}
        for number in range(start, start + 10):
            by = [name for name in names if states[day(number)][name] != "ok" and name not in before]
            if by:
                return {"days": number - start + 1, "by": by}
        return {"days": None, "by": []}

    data = [name for name in CHECKS if name != "schema"]
    return {
        "seed": seed,
        "schema": named(SCHEMA, ["schema"]),
        "drift": named(DRIFT, data),
        "wave": named(WAVE, data),
        "quiet_before": sum(any(each[name] != "ok" for name in data) for d, each in states.items() if d < day(DRIFT)),
    }


def main() -> None:
    """Run the benchmark and print its two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--rows-a-day", type=int, default=500)
    parser.add_argument("--event-seeds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    records: dict[str, Any] = {"events": [], "quiet": []}
    print("event   seed  days until named, by")
    for seed in range(options.event_seeds):
        record = eventful(seed, options.rows_a_day)
        records["events"].append(record)
        for name in ("schema", "drift", "wave"):
            print(f"{name:<7} {seed:>4}  {record[name]['days']}  {', '.join(record[name]['by'])}", flush=True)
    late = [
        f"{name} of seed {record['seed']}"
        for record in records["events"]
        for name in ("schema", "drift", "wave")
        if (record[name]["days"] or 99) > NAMED_WITHIN
    ]
    print(f"named later than within {NAMED_WITHIN} days: {', '.join(late) or 'none'}\n")
    print("quiet seed  days  days not ok, of them by " + ", ".join(CHECKS))
    for seed in range(options.seeds):
        record = quiet(seed, options.days, options.rows_a_day)
        records["quiet"].append(record)
        print(f"{seed:>10} {record['days']:>5}  {record['odd']}: {[record[name] for name in CHECKS]}", flush=True)
    watched, odd = (sum(record[name] for record in records["quiet"]) for name in ("days", "odd"))
    print(f"\n{odd} of {watched:,} quiet days were not ok, {odd / max(watched, 1):.2%}; 1 of 7,300 is aimed at")
    if options.json:
        options.json.write_text(json.dumps(records, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
