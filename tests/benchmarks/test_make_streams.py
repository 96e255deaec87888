"""benchmarks/make_streams.py: streams of our own, and how rows of other simulators are mended."""

import json
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests import processes

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))  # as a script in that folder has it

import make_streams  # noqa: E402


def run(*words, env=None):
    return processes.run(sys.executable, "benchmarks/make_streams.py", *map(str, words), cwd=ROOT, env=env)


def test_writes_tables_and_what_is_to_know_of_them(tmp_path):
    process = run("--out", tmp_path, "--rows", 6000, "--seed", 3, "--stream", "bursts", "--role", "reporting")
    assert process.status == 0, process
    assert "bursts: 6,000 rows, 42 frauds, test 2025-02-16 to 2025-03-01" in process.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bursts.json", "bursts.parquet"]
    said = json.loads((tmp_path / "bursts.json").read_text())
    frame = pq.read_table(tmp_path / "bursts.parquet").to_pandas()
    assert frame[said["label"]].sum() == 42
    assert frame[said["id"]].is_unique
    assert said["role"] == "reporting"
    assert said["ignored"] == [said["scenario"]] == ["TX_FRAUD_SCENARIO"]
    assert set(frame[said["scenario"]].dropna()) == {"card_testing", "impossible_travel", "collusion", "refund_fraud"}
    assert date.fromisoformat(said["test"][0]) - date.fromisoformat(said["train"][1]) == date(2025, 1, 9) - date(
        2025, 1, 1
    )


def test_says_in_a_sentence_that_a_simulator_is_not_installed(tmp_path):
    (tmp_path / "finforge.py").write_text("raise ImportError\n")
    process = run("--out", tmp_path / "out", "--stream", "finforge", env={"PYTHONPATH": f"{ROOT}:{tmp_path}"})
    assert process.status == 1
    assert "finforge is not installed for" in process.errors
    assert "pip install finforge, or name another interpreter with --python" in process.errors
    assert "Traceback" not in process.errors
    assert not list((tmp_path / "out").iterdir())


def test_merchants_that_only_frauds_have_are_replaced_by_one_a_user():
    rows = pd.DataFrame(
        {
            "user_id": ["a", "b", "a", "a", "b", "c"],
            "merchant": ["shop", "pub", "crypto", "crypto", "crypto", "salary"],
            "category": ["food", "drink", "transfer", "transfer", "transfer", "income"],
            "transaction_type": ["debit", "debit", "debit", "debit", "debit", "credit"],
            "is_fraud": [0, 0, 1, 1, 1, 0],
        }
    )
    mended = make_streams.with_merchants_of_normal_rows(rows, np.random.default_rng(0))
    pd.testing.assert_frame_equal(mended[rows["is_fraud"] == 0], rows[rows["is_fraud"] == 0])
    frauds = mended[rows["is_fraud"] == 1]
    assert set(zip(frauds["merchant"], frauds["category"], strict=True)) <= {("shop", "food"), ("pub", "drink")}
    assert frauds["merchant"].iloc[0] == frauds["merchant"].iloc[1]
    assert "crypto" in set(rows["merchant"])


@pytest.fixture
def payments():
    """Normal rows on whole minutes, and a takeover and a burst as fraudtwin writes them: 1 s and 3 s apart."""
    normal = pd.DataFrame(
        {
            "initiated_at": pd.date_range("2026-01-01", periods=300, freq="7min").astype(str),
            "customer_id": [f"C{number % 9}" for number in range(300)],
        }
    )
    takeover = pd.DataFrame({"initiated_at": ["2026-01-01 10:00:00", "2026-01-01 10:00:01"], "customer_id": "C0"})
    burst = pd.DataFrame(
        {"initiated_at": pd.date_range("2026-01-01 12:00", periods=20, freq="3s").astype(str), "customer_id": "C5"}
    )
    parts = [normal, takeover.assign(scenario="F03", campaign="F03-1"), burst.assign(scenario="F02", campaign="F02-2")]
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(payer_account_id=rows["customer_id"].str.replace("C", "A"))


def test_no_second_tells_a_campaign_and_its_rows_stay_in_order(payments):
    at = make_streams.with_seconds(payments, np.random.default_rng(1))
    before = pd.to_datetime(payments["initiated_at"])
    normal = payments["campaign"].isna()
    assert (at[normal].dt.floor("min") == before[normal]).all()
    assert at[normal].dt.second.nunique() > 40
    for _, rows in at[~normal].groupby(payments["campaign"]):
        assert rows.is_monotonic_increasing
        assert rows.diff().dropna().dt.total_seconds().between(1, 39).all()
        assert abs(rows.iloc[0] - before[rows.index[0]]) < pd.Timedelta(minutes=1)


def test_takeovers_get_a_victim_of_their_own_with_its_account(payments):
    moved = make_streams.with_victims(payments, np.random.default_rng(2))
    takeover = moved[moved["scenario"] == "F03"]
    assert takeover["customer_id"].nunique() == takeover["payer_account_id"].nunique() == 1
    assert (moved["customer_id"].str[1:] == moved["payer_account_id"].str[1:]).all()
    others = moved["scenario"] != "F03"
    pd.testing.assert_frame_equal(moved[others], payments[others])
    drawn = {make_streams.with_victims(payments, np.random.default_rng(seed)).iloc[300, 1] for seed in range(20)}
    assert len(drawn) > 3
