"""A queue as a day's scoring leaves it, with the history behind it, drawn at random: for what people look at."""

import random
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.scoring.nearest import NEAREST_TYPE
from pipeline.scoring.reasons import REASONS_TYPE
from pipeline.settings.config import Config
from pipeline.workspace.ledger import Entry, Ledger
from pipeline.workspace.workspace import Workspace

COLUMNS = {
    "TX_AMOUNT": {"title": "Amount", "unit": "EUR"},
    "CUSTOMER_ID": {"title": "Customer"},
    "TERMINAL_ID": {"title": "Terminal"},
    "CHANNEL": {"title": "Channel"},
    "COUNTRY": {"title": "Country"},
}
MIDNIGHT = datetime(2025, 3, 3)


def plausible_config(folder: Path, alerts: int = 60) -> Config:
    """The configuration of a workspace with one scored batch and ten weeks of history."""
    roles = {"id": "TRANSACTION_ID", "timestamp": "TX_DATETIME", "amount": "TX_AMOUNT", "label": "TX_FRAUD"}
    roles |= {"entities": ["CUSTOMER_ID", "TERMINAL_ID"], "categorical": ["CHANNEL", "COUNTRY"]}
    settings = {"contract": roles, "name": "cards", "work_dir": str(folder / "work"), "columns": COLUMNS}
    config = Config.model_validate(settings)
    rng, ledger = random.Random(1), Ledger(config)
    results = folder / "work" / "batches" / "b1-v3"
    results.mkdir(parents=True)
    rows = sorted((_alert(rng, 900_000 + place) for place in range(alerts)), key=lambda row: -row["anomaly_score"])
    table = pa.Table.from_pylist([row | {"rank": place + 1} for place, row in enumerate(rows)])
    for name, kind in (("reasons", REASONS_TYPE), ("unflagged_at", NEAREST_TYPE)):
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    (results / "report.html").write_text("<p>The batch</p>")
    pq.write_table(table, results / "alerts.parquet")
    fields = {"batch_id": "3f9a01c7d2e4", "source": "/in/2025-03-02.parquet", "digest": "3f9a", "folder": str(results)}
    fields |= {"model_name": config.name, "model_version": "3", "scored_at": datetime(2025, 3, 3, 2, 10)}
    ledger.record(Entry(**fields, period_start=None, period_end=None, flagged=alerts, scored=24_000))
    past = [_row(rng, place, rng.lognormvariate(3.5, 0.6), rng.uniform(1, 70)) for place in range(2_500)]
    pq.write_table(pa.Table.from_pylist(past), folder / "past.parquet")
    Workspace(config).history.append(folder / "past.parquet", "past")
    return config


def _row(rng: random.Random, number: int, amount: float, days: float) -> dict:
    return {
        "TRANSACTION_ID": str(number),
        "TX_DATETIME": MIDNIGHT - timedelta(seconds=round(days * 86_400)),
        "TX_AMOUNT": round(amount, 2),
        "CUSTOMER_ID": str(4_000 + rng.randrange(40)),
        "TERMINAL_ID": str(100 + rng.randrange(60)),
        "CHANNEL": rng.choice(["web", "pos"]),
        "COUNTRY": rng.choice(["DE", "FR", "AT", "\u202eXX"]),
        "TX_FRAUD": int(rng.random() < 0.01),
    }


def _alert(rng: random.Random, number: int) -> dict:
    row = _row(rng, number, rng.lognormvariate(5.5, 0.8), rng.random())
    amount = row["TX_AMOUNT"]
    words = [
        ("TX_AMOUNT", f"{amount:,.2f}", f"{amount / rng.uniform(3, 20):,.2f}"),
        ("CUSTOMER_ID: transactions, 1 day", str(rng.randint(5, 30)), "1.3"),
        ("TERMINAL_ID: fraud risk, 28 days", "0.21", "0.008"),
        ("hour of day", f"0{rng.randrange(6)}:14", "13:20"),
    ]
    rng.shuffle(words)
    reasons = []
    for (column, actual, expected), share in zip(words[: rng.randint(1, 4)], (0.52, 0.27, 0.12, 0.05), strict=False):
        text = f"{column} {actual}, expected about {expected}"
        reasons.append({"column": column, "actual": actual, "expected": expected, "share": share, "text": text})
    score = 12 + 400 * rng.random() ** 3
    figures = {"anomaly_score": score, "p_value": 1 / (40 * score), "threshold": 11.5, "picked": "score"}
    near = {"TX_AMOUNT": f"{amount / 2:,.2f}", "CUSTOMER_ID: transactions, 1 day": "4"}
    nearest = [
        {"column": name, "value": near[name]} for name in (reason["column"] for reason in reasons) if name in near
    ]
    figures |= {"unflagged_at": nearest}
    return row | figures | {"like_frauds": rng.choice([0, 0, 14]), "reasons": reasons, "TX_FRAUD": None}
