import json
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from benchmarks import adbench
from tests import processes

ROOT = Path(adbench.__file__).parents[1]


def run(*words):
    command = [sys.executable, ROOT / "benchmarks" / "calibration.py", *map(str, words)]
    return processes.run(*command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for number, n_rows in enumerate((120, 1500)):
        X, y = rng.normal(size=(n_rows, 4)), np.arange(n_rows) < 30
        X[y] *= 4
        np.savez(tmp_path / f"{number}_set{number}.npz", X=X, y=y.astype(int))
    return tmp_path


def test_realised_rates_are_those_of_the_normal_test_rows_and_too_low_rates_are_left_out(folder):
    process = run("--data", folder, "--seeds", 2, "--model", "knn", "--json", folder / "out.json")
    assert process.status == 0, process.errors
    records = json.loads((folder / "out.json").read_text())
    found = {(item["set"], item["rate"]): item for item in records}
    assert set(found) == {
        ("set0", 0.05), ("set0", 0.1), ("set1", 0.01), ("set1", 0.05), ("set1", 0.1),
        ("all of 1", 0.01), ("all of 2", 0.05), ("all of 2", 0.1),
    }  # fmt: skip
    with np.load(folder / "1_set1.npz") as file:
        X, y = file["X"], file["y"]
    realised, bounds, inside = [], [], []
    for seed in (0, 1):
        data = adbench.split(X, y, "honest", seed)
        order = np.random.RandomState(seed).permutation(len(data.train))
        known, fit = data.train[order[: len(order) // 2]], data.train[order[len(order) // 2 :]]

        def scaled(rows, fit=fit):
            return (rows - fit.mean(axis=0)) / fit.std(axis=0)

        neighbours = NearestNeighbors(n_neighbors=5).fit(scaled(fit))
        calibration, test = (
            neighbours.kneighbors(scaled(rows))[0][:, 4] for rows in (known, data.test[~data.anomalous])
        )
        k = int(0.05 * (len(known) + 1))
        realised.append((test > np.sort(calibration)[::-1][k - 1]).mean())
        law = stats.betabinom(len(test), k, len(known) + 1 - k)
        bounds.append((law.ppf(0.05) / len(test), law.ppf(0.95) / len(test)))
        inside.append(bounds[-1][0] <= realised[-1] <= bounds[-1][1])
    one = found["set1", 0.05]
    assert one["realised"] == pytest.approx(np.mean(realised), abs=1e-3)
    assert (one["low"], one["high"]) == pytest.approx(tuple(np.mean(bounds, axis=0)))
    assert one["inside"] == np.mean(inside)
    assert one["exact"] >= 0.9
    assert f"{one['realised']:.4f}" in process.output


def test_queues_of_weeks_are_printed_beside_their_interval(tmp_path):
    rng, rows = np.random.default_rng(1), 9000
    seconds = np.sort(rng.integers(0, 45 * 86_400, rows))
    at = np.datetime64(datetime(2018, 4, 1), "us") + seconds.astype("timedelta64[s]")
    fraud = rng.random(rows) < 0.02
    amounts = rng.lognormal(3, 0.5, rows) * np.where(fraud, 20, 1)
    customers = rng.integers(0, 60, rows)
    table = {
        "TRANSACTION_ID": np.arange(rows), "TX_DATETIME": at, "CUSTOMER_ID": customers,
        "TERMINAL_ID": rng.integers(0, 90, rows), "TX_AMOUNT": amounts.round(2), "TX_FRAUD": fraud.astype(int),
    }  # fmt: skip
    pq.write_table(pa.table(table), tmp_path / "rows.parquet")
    weeks = ("--week", "2018-04-10", "--week", "2018-04-17", "--capacity", 5, "--model", "pca")
    process = run("--handbook", tmp_path / "rows.parquet", *weeks, "--adapt", "--json", tmp_path / "out.json")
    assert process.status == 0, process.errors
    records = json.loads((tmp_path / "out.json").read_text())
    assert [(item["test_week"], item["cut"]) for item in records] == [
        (week, cut) for week in ("2018-04-24", "2018-05-01") for cut in ("fixed", "adapting")
    ]
    for fixed, adapting in zip(records[::2], records[1::2], strict=True):
        assert adapting["queues"][0] == fixed["queues"][0]  # nothing was scored before the first day
        assert (adapting["low"], adapting["high"]) == (fixed["low"], fixed["high"])
    assert any(one["queues"] != other["queues"] for one, other in zip(records[::2], records[1::2], strict=True))
    for item in records:
        assert item["queue"] == sum(item["queues"])
        assert item["inside"] == (item["low"] <= item["queue"] <= item["high"])
        assert item["days_inside"] == sum(item["day_low"] <= n <= item["day_high"] for n in item["queues"])
        assert item["solved_on_days"] == 8
        assert (item["history_days"], item["window_days"]) == (int(item["week"][-2:]) - 1, 60)
    for cut in ("fixed", "adapting"):
        kept = sum(item["inside"] for item in records if item["cut"] == cut)
        assert f"inside, all weeks, {cut} cut: {kept} of 2 queues" in process.output


def test_without_data_it_says_what_to_name():
    process = run("--seeds", 1)
    assert process.status == 2
    assert "name the folder of the sets with --data" in process.errors
