"""Tables as nobody would wish for: seeded, and each hostile in a few ways at once."""

from pathlib import Path

import numpy as np

ROWS = 600


def _some(rng: np.random.Generator, share: float) -> np.ndarray:
    return rng.choice(ROWS, max(1, int(share * ROWS)), replace=False)


def _amounts(rng: np.random.Generator) -> np.ndarray:
    values = np.char.mod("%.2f", rng.lognormal(3, 1, ROWS)).astype(object)
    kind = rng.integers(7)
    rows = _some(rng, rng.choice([0.002, 0.02, 0.3, 0.9]))
    if kind == 1:
        values[rows] = ["-" + value for value in values[rows]]
    elif kind == 2:
        values[rows] = "1e12"
    elif kind == 3:
        values[rows] = rng.choice(["inf", "n.a.", "", "1.2.3"])
    elif kind == 4:
        values = np.array(["7"] * ROWS, dtype=object)
    elif kind == 5:
        values[rows] = "1.2300000000000004"
    return values


def _moments(rng: np.random.Generator) -> np.ndarray:
    first = np.datetime64(rng.choice(["2024-03-01T00:00:00", "1971-05-01T00:00:00", "2070-01-01T00:00:00"]))
    values = np.datetime_as_string(first + np.sort(rng.integers(0, 30 * 86_400, ROWS)).astype("timedelta64[s]"))
    values = values.astype(object)
    rows = _some(rng, rng.choice([0.002, 0.02, 0.2]))
    kind = rng.integers(5)
    if kind == 1:
        values[rows] = rng.choice(["", "soon", "0001-01-01", "9999-12-31 23:59:59", "1900-01-01"])
    elif kind == 2:
        values = np.array([value[:10] for value in values], dtype=object)
    return values


def _keys(rng: np.random.Generator, most: int) -> np.ndarray:
    values = rng.integers(1, most, ROWS).astype(str).astype(object)
    rows = _some(rng, rng.choice([0.0017, 0.01, 0.1, 0.6]))
    kind = rng.integers(6)
    if kind == 1:
        values[rows] = rng.choice(["", " ", "nan", "NULL"])
    elif kind == 2:
        values[rows] = rng.choice(["1.28", "00123", "99999999999999999999", "x-1"])
    elif kind == 3:
        values = np.array([f"c{value}" for value in values], dtype=object)
    return values


def _numbers(rng: np.random.Generator) -> np.ndarray:
    values = rng.integers(0, rng.choice([2, 8, 500]), ROWS).astype(str).astype(object)
    rows = _some(rng, rng.choice([0.0017, 0.02, 0.3]))
    kind = rng.integers(5)
    if kind:
        values[rows] = rng.choice(["1.28", "", "inf", "-", "4.01100E+15"])
    return values


def hostile_table(folder: Path, seed: int) -> Path:
    """Write a table of 600 rows, CSV, whose cells are not what most of their column is."""
    rng = np.random.default_rng(seed)
    ids = np.arange(10_000, 10_000 + ROWS).astype(str).astype(object)
    if rng.random() < 0.3:
        ids[-3:] = rng.choice(["10000", "", "0010001", "a1"])
    columns = {
        "tx_id": ids,
        "tx_time": _moments(rng),
        "amount": _amounts(rng),
        "customer_id": _keys(rng, 60),
        "terminal_id": _keys(rng, 200),
        "channel": _keys(rng, 5),
        "days_open": _numbers(rng),
        "code": _numbers(rng),
        "is_fraud": rng.choice(["0", "1"], ROWS, p=[0.95, 0.05]).astype(object),
    }
    if rng.random() < 0.3:
        columns["booking_date"] = np.array(["2024-03-01"] * ROWS, dtype=object)
    if rng.random() < 0.3:
        columns["fraud_reported_at"] = _moments(rng)
    names = list(columns)
    lines = [",".join(row) for row in zip(*columns.values(), strict=True)]
    for row in _some(rng, 0.01) if rng.random() < 0.3 else ():
        lines[row] += ",one too many"
    path = folder / f"hostile-{seed}.csv"
    path.write_text("\n".join([",".join(names), *lines]) + "\n")
    return path
