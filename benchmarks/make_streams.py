"""Writes streams for benchmarks/streams.py: a table, and a JSON that says label, ignored columns, periods and leaks.

    python benchmarks/make_streams.py --out FOLDER [--stream NAME ...] [--rows 60000] [--seed 7] [--python PATH]

simulation       pipeline/simulation with its usual frauds
planted          the same with all its scenarios of fraud
bursts, misuse   the same with some: card testing, impossible travel, collusion; nights, devices, payees, takeovers
fraudtwin        fraudtwin (PyPI, Python 3.12): cards, transfers and instant payments
finforge         finforge (PyPI): bank accounts; nine in ten frauds are at merchants that no normal row has
finforge-mended  the same with those merchants replaced by others

The last three need the simulator, in this interpreter or in the one that --python names. Simulators leak, and a leak
is no detection: what was mended, and what is left, stands in each JSON's note.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from simulators import ABSENT

from pipeline.simulation import FRAUD_SHARES, SCENARIOS, simulate

SCRIPT = Path(__file__).parent / "simulators.py"
DELAY = 7
"""Days from the last training day to the first test day, for labels to become known."""


@dataclass(frozen=True)
class Order:
    """What is asked for: about so many rows, by a seed, with an interpreter that has the simulators."""

    rows: int
    seed: int
    python: str


Made = tuple[pa.Table, dict[str, Any]]
"""A table, and what its JSON says."""


def periods(first: date, last: date) -> dict[str, list[str]]:
    """Return the last days as test, up to two weeks, and two weeks before the delay as training.

    Examples
    --------
    >>> periods(date(2026, 1, 1), date(2026, 2, 11))
    {'train': ['2026-01-08', '2026-01-21'], 'test': ['2026-01-29', '2026-02-11']}
    """
    days = (last - first).days + 1
    test, train = min(14, days // 3), min(14, days // 3)
    start = last - timedelta(days=test - 1)
    end = start - timedelta(days=DELAY + 1)
    return {
        "train": [str(end - timedelta(days=train - 1)), str(end)],
        "test": [str(start), str(last)],
    }


def planted(order: Order, scenarios: Sequence[str]) -> Made:
    """Return a table of our own simulator with some scenarios."""
    with tempfile.TemporaryDirectory() as scratch:
        made = simulate(
            Path(scratch) / "rows.parquet",
            rows=order.rows,
            days=60,
            seed=order.seed,
            malformed=False,
            scenarios=scenarios,
            scenario_column=True,
        )
        table = pq.read_table(made.path)
    said = {"id": "TRANSACTION_ID", "label": "TX_FRAUD", "scenario": "TX_FRAUD_SCENARIO", "cards": "CUSTOMER_ID"}
    note = f"pipeline/simulation, seed {order.seed}: {', '.join(made.scenarios)}."
    return table, said | {"ignored": ["TX_FRAUD_SCENARIO"], **periods(made.first_day, made.last_day), "note": note}


def run_simulator(name: str, order: Order) -> pd.DataFrame:
    """Return what a simulator of PyPI writes."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "rows.csv"
        words: list[str | Path] = [
            order.python,
            SCRIPT,
            name,
            "--rows",
            str(order.rows),
            "--seed",
            str(order.seed),
            out,
        ]
        status = subprocess.run(words, check=False).returncode
        if status == ABSENT:
            raise SystemExit(
                f"{name} is not installed for {order.python}; install it there with: pip install {name}, or name "
                "another interpreter with --python (fraudtwin wants Python 3.12)"
            )
        if status:
            raise SystemExit(f"{name} ended with status {status}; what it printed stands above")
        return pd.read_csv(out)


def finforge(order: Order) -> Made:
    """Return finforge's accounts, with seconds in place of whole minutes."""
    rows = run_simulator("finforge", order)
    rng = np.random.default_rng(order.seed)
    at = pd.to_datetime(rows["timestamp"]).dt.floor("min")
    rows["timestamp"] = (at + pd.to_timedelta(rng.integers(0, 60, len(rows)), unit="s")).astype("datetime64[us]")
    rows["is_fraud"] = rows["is_fraud"].astype(int)
    rows = rows.sort_values(["timestamp", "transaction_id"])
    said = {"id": "transaction_id", "label": "is_fraud", "scenario": "fraud_type", "cards": "user_id"}
    note = (
        f"finforge, seed {order.seed}. Left out, for they give the label away: spending_style, expense_nature, "
        "cashflow_type, income_source, all of risk, anomaly and fraud but its type. A leak is left: nine in ten frauds "
        "are at merchants that no normal row has."
    )
    days = rows["timestamp"].dt.date
    return _table(rows), said | {"ignored": ["fraud_type"], **periods(days.iloc[0], days.iloc[-1]), "note": note}


def finforge_mended(order: Order) -> Made:
    """Return finforge's accounts with the merchants of frauds replaced by merchants of normal rows."""
    table, said = finforge(order)
    rows = with_merchants_of_normal_rows(table.to_pandas(), np.random.default_rng(order.seed))
    note = said["note"].partition(" A leak is left")[0]
    note += " The merchants of frauds, most of which no normal row has, are replaced by merchants of normal rows."
    return _table(rows), said | {"note": note}


def with_merchants_of_normal_rows(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return finforge's rows with a merchant of normal rows, and its category, for each user and merchant of frauds."""
    rows = rows.copy()
    fraud = rows["is_fraud"] == 1
    for kind in rows["transaction_type"].unique():
        of_kind = rows["transaction_type"] == kind
        pool, at = rows[~fraud & of_kind], rows.index[fraud & of_kind]
        if len(at) and len(pool):
            campaign = rows.loc[at].groupby(["user_id", "merchant"]).ngroup().to_numpy()
            others = pool.iloc[rng.integers(0, len(pool), campaign.max() + 1)]
            for column in ("merchant", "category"):
                rows.loc[at, column] = others[column].to_numpy()[campaign]
    return rows


def fraudtwin(order: Order) -> Made:
    """Return fraudtwin's payments, with campaigns of their own victims and seconds that give nothing away."""
    rows = run_simulator("fraudtwin", order)
    rng = np.random.default_rng(order.seed)
    rows = with_victims(rows, rng)
    rows["initiated_at"] = with_seconds(rows, rng)
    rows["is_fraud"] = (rows["record_type"] == "FRAUD").astype(int)
    twin = np.where(rows["record_type"] == "HARD_NEGATIVE", "twin of ", "")
    rows["scenario"] = twin + rows["scenario"].fillna("")
    rows["online"] = rows["online"].astype(str)
    # Frauds come last otherwise: neither order nor id may say which they are.
    rows = rows.iloc[np.lexsort((rng.random(len(rows)), rows["initiated_at"]))]
    rows["payment_id"] = [f"P{number:07d}" for number in range(len(rows))]
    said = {"id": "payment_id", "label": "is_fraud", "scenario": "scenario", "cards": "customer_id"}
    note = (
        f"fraudtwin, seed {order.seed}. Takeovers and scams befall customers drawn by chance (the simulator has all of "
        "them on one account); seconds are drawn by chance (only frauds and their harmless twins were off the whole "
        "minute); payee_account_id is ignored (most frauds and few others have none)."
    )
    ignored = ["payee_account_id", "scenario"]
    days = rows["initiated_at"].dt.date
    table = _table(rows.drop(columns=["record_type", "campaign"]))
    return table, said | {"ignored": ignored, **periods(days.iloc[0], days.iloc[-1]), "note": note}


def with_victims(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return fraudtwin's rows with a customer, and an account, drawn for each takeover and each scam."""
    rows = rows.copy()
    columns = ["customer_id", "payer_account_id"]
    who = rows[columns].drop_duplicates()
    for campaign in rows.loc[rows["scenario"].isin(["F03", "F04"]), "campaign"].unique():
        victim = who.iloc[int(rng.integers(len(who)))]
        for column in columns:
            rows.loc[rows["campaign"] == campaign, column] = str(victim[column])
    return rows


def with_seconds(rows: pd.DataFrame, rng: np.random.Generator) -> pd.Series:
    """Return moments of fraudtwin's rows: any second of the minute, and 1 to 39 seconds between rows of a campaign."""
    at = pd.to_datetime(rows["initiated_at"])
    at = at.dt.floor("min") + pd.to_timedelta(rng.integers(0, 60, len(rows)), unit="s")
    attacks = rows[rows["campaign"].notna()].sort_values(["campaign", "initiated_at"], kind="stable")
    is_first = ~attacks.duplicated("campaign")
    gap = pd.Series(np.where(is_first, 0, rng.integers(1, 40, len(attacks))), attacks.index)
    since = gap.groupby(attacks["campaign"]).cumsum()
    start = at[attacks.index].groupby(attacks["campaign"]).transform("first")
    at[attacks.index] = start + pd.to_timedelta(since, unit="s")
    return at.astype("datetime64[us]")


def _table(rows: pd.DataFrame) -> pa.Table:
    table = pa.Table.from_pandas(rows, preserve_index=False)
    types = {field.name: pa.string() if pa.types.is_large_string(field.type) else field.type for field in table.schema}
    return table.cast(pa.schema(types)).replace_schema_metadata()


STREAMS: dict[str, Callable[[Order], Made]] = {
    "simulation": lambda order: planted(order, tuple(FRAUD_SHARES)),
    "planted": lambda order: planted(order, SCENARIOS),
    "bursts": lambda order: planted(order, ("card_testing", "impossible_travel", "collusion", "refund_fraud")),
    "misuse": lambda order: planted(order, ("night_spending", "new_device", "new_payee", "account_takeover")),
    "fraudtwin": fraudtwin,
    "finforge": finforge,
    "finforge-mended": finforge_mended,
}
OURS = ("simulation", "planted", "bursts", "misuse")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder; streams of the same names are replaced")
    parser.add_argument(
        "--stream", action="append", choices=STREAMS, help=f"may be repeated; {', '.join(OURS)} if none"
    )
    parser.add_argument("--rows", type=int, default=60_000, help="of each stream, about")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--role", default="", help='"choosing" or "reporting": what the streams are for')
    parser.add_argument("--python", default=sys.executable, help="interpreter that has the simulators of PyPI")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.stream or OURS:
        table, said = STREAMS[name](Order(arguments.rows, arguments.seed, arguments.python))
        pq.write_table(table, arguments.out / f"{name}.parquet")
        text = json.dumps(said | {"role": arguments.role}, indent=1) + "\n"
        (arguments.out / f"{name}.json").write_text(text, encoding="utf-8")
        frauds = sum(table[said["label"]].to_pylist())
        print(f"{name}: {table.num_rows:,} rows, {frauds:,} frauds, test {' to '.join(said['test'])}")


if __name__ == "__main__":
    main()
