"""benchmarks/explanations.py on small simulated tables, in the columns of the handbook."""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.simulation import simulate
from tests import processes

ROOT = Path(__file__).parents[2]


def run(*words):
    return processes.run(sys.executable, "benchmarks/explanations.py", *map(str, words), cwd=ROOT)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "transactions.parquet"
    made = simulate(path, rows=20_000, days=60, seed=0, malformed=False)
    rows = pq.read_table(path).select(
        ["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"]
    )
    scenario = np.zeros(rows.num_rows, np.int64)
    for number, ids in enumerate(made.frauds.values(), start=1):
        scenario[np.isin(rows["TRANSACTION_ID"].to_numpy(), ids)] = number
    pq.write_table(rows.append_column("TX_FRAUD_SCENARIO", pa.array(scenario)), path)
    return path


def test_prints_injected_anomalies_and_scenarios_with_their_shares(table, tmp_path):
    process = run(
        "--data", table, "--week", "2025-02-01", "--seeds", 1, "--simulator", 20_000, "--json", tmp_path / "o.json"
    )
    assert process.status == 0, process.errors
    records = json.loads((tmp_path / "o.json").read_text())
    week = {item["what"]: item for item in records if item["source"] == "handbook, D = 2025-02-01"}
    for name in (
        "one number 6 standard deviations above the highest",
        "one number 6 standard deviations below the lowest",
    ):
        assert week[name]["top_reason"] == week[name]["named"] / week[name]["rows"] >= 0.9
        assert name in process.output
    for name, right in {"1: amount over 220": "an amount", "2: compromised terminal": "the terminal's risk"}.items():
        assert week[name]["right"] == right
        assert week[name]["named"] <= week[name]["flagged"] == week[name]["first_reasons"] <= week[name]["rows"]
    assert {item["source"] for item in records} == {"handbook, D = 2025-02-01", "simulator"}


def test_asks_for_something_to_look_at():
    assert "give --data with one --week or more" in run("--seeds", 1).errors
