"""Transactions to infer a contract of."""

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.inference.roles import infer
from pipeline.settings.config import TableConfig

START = np.datetime64("2024-03-01", "s")


def infer_file(path: Path, **named):
    return infer(path, settings=TableConfig(), **named)


def save(folder: Path, frame: pd.DataFrame, name: str = "tx.csv", **options) -> Path:
    path = folder / name
    if name.endswith(".parquet"):
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False, **options)
    return path


def transactions(rows: int = 6_000, seed: int = 0) -> pd.DataFrame:
    """Return transactions in the shape of the handbook's simulator, 40 days, 2 % fraud."""
    rng = np.random.default_rng(seed)
    seconds = np.sort(rng.integers(0, 40 * 86_400, rows))
    fraud = rng.random(rows) < 0.02
    return pd.DataFrame(
        {
            "TRANSACTION_ID": np.arange(rows),
            "TX_DATETIME": pd.to_datetime(START + seconds),
            "CUSTOMER_ID": rng.integers(0, 300, rows),
            "TERMINAL_ID": rng.integers(0, 900, rows),
            "TX_AMOUNT": np.round(rng.lognormal(3, 1, rows) * np.where(fraud, 3, 1), 2),
            "TX_TIME_SECONDS": seconds,
            "TX_TIME_DAYS": seconds // 86_400,
            "TX_FRAUD": fraud.astype(int),
            "TX_FRAUD_SCENARIO": np.where(fraud, rng.integers(1, 4, rows), 0),
        }
    )
