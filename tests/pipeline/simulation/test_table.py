"""pipeline/simulation/table.py: what holds for every seed, read back from the written table."""

from datetime import date

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.evaluation.metrics import auroc
from pipeline.simulation import FRAUD_SHARES, MALFORMED, MALFORMED_TEXT, SCENARIOS, simulate

ROWS, DAYS = 20_000, 30


@pytest.fixture(scope="module", params=[0, 1, 2])
def simulated(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("simulated") / "transactions.parquet"
    result = simulate(path, rows=ROWS, days=DAYS, seed=request.param)
    return result, pq.read_table(path).to_pandas()


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    path = tmp_path_factory.mktemp("clean") / "transactions.parquet"
    result = simulate(path, rows=ROWS, days=DAYS, malformed=False)
    return result, pq.read_table(path).to_pandas()


def test_the_label_is_what_the_scenarios_say(simulated):
    result, frame = simulated
    assert len(frame) == result.rows == ROWS
    assert 0.005 < frame["TX_FRAUD"].mean() < 0.01
    assert sorted(frame.loc[frame["TX_FRAUD"] == 1, "TRANSACTION_ID"]) == result.fraud_ids.tolist()
    assert len(set(result.fraud_ids.tolist())) == sum(result.scenarios.values())
    assert set(result.scenarios) == set(FRAUD_SHARES)
    assert all(result.scenarios[name] == pytest.approx(ROWS * FRAUD_SHARES[name], rel=0.2) for name in FRAUD_SHARES)


def test_malformed_rows_are_as_many_as_reported(simulated):
    result, frame = simulated
    amount, time = frame["TX_AMOUNT"], frame["TX_DATETIME"]
    found = {
        "duplicate id": frame["TRANSACTION_ID"].duplicated().sum(),
        "missing timestamp": time.isna().sum(),
        "timestamp in 1900": (time.dt.year == 1900).sum(),
        "timestamp in 2999": (time.dt.year == 2999).sum(),
        "missing customer": frame["CUSTOMER_ID"].isna().sum(),
        "negative amount": (amount < 0).sum(),
        "NaN amount": amount.isna().sum(),
        "infinite amount": np.isinf(amount).sum(),
        "amount 1e300": (amount == 1e300).sum(),
    }
    assert found == result.malformed
    assert set(found) == set(MALFORMED)
    assert 0.002 < sum(found.values()) / ROWS < 0.004
    assert frame.duplicated().sum() == result.malformed["duplicate id"]


def test_the_rest_is_in_order_of_time_and_inside_the_days(simulated):
    result, frame = simulated
    time = frame["TX_DATETIME"].dropna()
    time = time[(time.dt.year > 1900) & (time.dt.year < 2999)]
    assert time.is_monotonic_increasing
    assert result.first_day == date(2025, 1, 1) <= time.iloc[0].date()
    assert time.iloc[-1].date() <= result.last_day == date(2025, 1, 30)


def test_the_same_seed_gives_the_same_file_and_another_seed_does_not(tmp_path):
    tables = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        simulate(tmp_path / f"{name}.parquet", rows=2000, days=5, seed=seed)
        tables.append((tmp_path / f"{name}.parquet").read_bytes())
    assert tables[0] == tables[1]
    assert tables[0] != tables[2]


def test_csv_and_parquet_hold_the_same_clean_rows(tmp_path):
    simulate(tmp_path / "a.parquet", rows=1500, days=5, malformed=False)
    simulate(tmp_path / "a.csv", rows=1500, days=5, malformed=False)
    frame = pd.read_csv(tmp_path / "a.csv", parse_dates=["TX_DATETIME"])
    expected = pq.read_table(tmp_path / "a.parquet").to_pandas()
    pd.testing.assert_frame_equal(frame, expected, check_dtype=False)


def test_csv_has_text_where_numbers_and_times_belong(tmp_path):
    result = simulate(tmp_path / "a.csv", rows=5000, days=5)
    frame = pd.read_csv(tmp_path / "a.csv", dtype=str, keep_default_na=False)
    assert set(result.malformed) == set(MALFORMED + MALFORMED_TEXT)
    number = pd.to_numeric(frame["TX_AMOUNT"].where(frame["TX_AMOUNT"] != "", "0"), errors="coerce")
    assert (number.isna() & (frame["TX_AMOUNT"] != "nan")).sum() == result.malformed["text amount"]
    assert (frame["TX_DATETIME"] == "yesterday").sum() == result.malformed["text timestamp"]
    assert (frame["TX_DATETIME"] == "").sum() == result.malformed["missing timestamp"]


def test_amounts_above_habit_are_far_above_the_customers_own(clean):
    result, frame = clean
    normal = frame[frame["TX_FRAUD"] == 0]
    usual = frame["CUSTOMER_ID"].map(normal.groupby("CUSTOMER_ID")["TX_AMOUNT"].median())
    ratio = (frame["TX_AMOUNT"] / usual)[frame["TRANSACTION_ID"].isin(result.frauds["amount_above_habit"])]
    assert ratio.median() > 6
    assert (ratio > 2.5).mean() > 0.95


def test_terminals_are_compromised_in_spells_of_up_to_20_days(clean):
    result, frame = clean
    fraud = frame[frame["TRANSACTION_ID"].isin(result.frauds["compromised_terminal"])]
    spells = fraud.groupby("TERMINAL_ID")["TX_DATETIME"].agg(["min", "max"])
    assert ((spells["max"].dt.normalize() - spells["min"].dt.normalize()).dt.days < 20).all()
    assert ((spells["max"] - spells["min"]).dt.days > 7).any()  # so that delayed labels can show some of them
    joined = frame.join(spells, on="TERMINAL_ID")
    during = joined[(joined["TX_DATETIME"] >= joined["min"]) & (joined["TX_DATETIME"] <= joined["max"])]
    assert during["TX_FRAUD"].mean() > 0.6


def test_leaked_credentials_are_used_online_at_night_abroad(clean):
    result, frame = clean
    fraud = frame[frame["TRANSACTION_ID"].isin(result.frauds["leaked_credentials"])]
    assert (fraud["CHANNEL"] == "online").all()
    assert (fraud["TX_DATETIME"].dt.hour < 5).all()
    home = frame[frame["TX_FRAUD"] == 0].groupby("CUSTOMER_ID")["COUNTRY"].agg(lambda column: column.mode()[0])
    assert (fraud["COUNTRY"] != fraud["CUSTOMER_ID"].map(home)).mean() > 0.9
    assert fraud.groupby("CUSTOMER_ID").size().median() >= 3


def test_normal_behaviour_can_be_learned_and_fraud_is_not_plain(clean):
    _, frame = clean
    fraud = frame["TX_FRAUD"].to_numpy() == 1
    amount = frame["TX_AMOUNT"].to_numpy()
    habit = frame["CUSTOMER_ID"].map(frame[~fraud].groupby("CUSTOMER_ID")["TX_AMOUNT"].median()).to_numpy()
    assert 0.75 < auroc(amount, fraud) < auroc(amount / habit, fraud) < 0.97
    weekday = frame.groupby(frame["TX_DATETIME"].dt.day_of_week).size()
    assert weekday[5] / 4 > weekday[6] / 4  # Saturdays are busier than Sundays
    night = frame.loc[~fraud, "TX_DATETIME"].dt.hour < 5
    assert night.mean() < 0.03


@pytest.mark.parametrize("rows", [1, 7, 100, 999])
def test_small_tables_have_exactly_the_rows_asked_for_and_none_malformed(tmp_path, rows):
    result = simulate(tmp_path / "a.parquet", rows=rows, days=2)
    frame = pq.read_table(tmp_path / "a.parquet").to_pandas()
    assert len(frame) == rows
    assert not frame["TRANSACTION_ID"].duplicated().any()
    assert not frame.isna().any().any()
    assert result.malformed == {}


def test_reports_rows_while_writing_and_leaves_no_draft(tmp_path):
    seen = []
    simulate(tmp_path / "new" / "a.parquet", rows=70_000, days=20, on_rows=seen.append)
    assert sum(seen) == 70_000
    assert len(seen) > 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.parquet"]


def test_refuses_another_suffix_and_no_rows(tmp_path):
    with pytest.raises(InputError, match=r"a\.xlsx ends in '\.xlsx'; name a \.parquet or \.csv file"):
        simulate(tmp_path / "a.xlsx")
    with pytest.raises(InputError, match="rows is 0"):
        simulate(tmp_path / "a.csv", rows=0)
    assert list(tmp_path.iterdir()) == []


def test_a_table_has_the_scenarios_that_are_named_and_says_so_only_when_told_to(tmp_path):
    named = ("card_testing", "leaked_credentials")
    result = simulate(tmp_path / "a.parquet", rows=20_000, days=30, scenarios=named, scenario_column=True)
    frame = pq.read_table(tmp_path / "a.parquet").to_pandas().drop_duplicates("TRANSACTION_ID")
    frauds = frame[frame["TX_FRAUD"] == 1]
    assert frauds["TX_FRAUD_SCENARIO"].value_counts().to_dict() == result.scenarios
    assert result.scenarios == {"leaked_credentials": 60, "card_testing": 60}
    assert frame.loc[frame["TX_FRAUD"] == 0, "TX_FRAUD_SCENARIO"].isna().all()
    for name in named:
        ids = frauds.loc[frauds["TX_FRAUD_SCENARIO"] == name, "TRANSACTION_ID"]
        assert sorted(ids) == result.frauds[name].tolist()
    simulate(tmp_path / "b.parquet", rows=2_000, days=30, scenarios=named)
    assert pq.read_schema(tmp_path / "b.parquet").names == [name for name in frame if name != "TX_FRAUD_SCENARIO"]


def test_a_malformed_row_is_no_refund_where_refunds_are_right(tmp_path):
    result = simulate(tmp_path / "a.parquet", rows=20_000, days=30, scenarios=SCENARIOS)
    assert set(result.malformed) == set(MALFORMED) - {"negative amount"}
    frame = pq.read_table(tmp_path / "a.parquet").to_pandas()
    amount = frame.loc[np.isfinite(frame["TX_AMOUNT"]), "TX_AMOUNT"]
    assert ((amount < 0) & (frame.loc[amount.index, "TX_FRAUD"] == 0)).mean() == pytest.approx(0.02, abs=0.005)
    assert amount.abs().min() >= 0.5


def test_names_the_scenario_that_is_none(tmp_path):
    with pytest.raises(InputError, match="'card_tests' is no scenario of fraud; did you mean 'card_testing'"):
        simulate(tmp_path / "a.csv", rows=10, scenarios=["card_tests"])
    with pytest.raises(InputError, match=r"'x' is no scenario of fraud; valid are amount_above_habit, .*, collusion$"):
        simulate(tmp_path / "a.csv", rows=10, scenarios=["x"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rows", [1, 100, 999])
def test_small_tables_with_every_scenario_have_exactly_the_rows_asked_for(tmp_path, rows):
    result = simulate(tmp_path / "a.parquet", rows=rows, days=1, scenarios=SCENARIOS)
    frame = pq.read_table(tmp_path / "a.parquet").to_pandas()
    assert len(frame) == rows
    assert frame["TX_FRAUD"].sum() == sum(result.scenarios.values())
    assert set(frame["TX_DATETIME"].dt.day) == {1}
