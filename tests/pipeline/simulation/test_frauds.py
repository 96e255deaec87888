"""pipeline/simulation/frauds.py: what each further scenario looks like in the written table."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.simulation import FURTHER_SHARES, SCENARIOS, simulate

ROWS, DAYS = 60_000, 40


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    path = tmp_path_factory.mktemp("simulated") / "transactions.parquet"
    simulate(path, rows=ROWS, days=DAYS, scenarios=SCENARIOS, scenario_column=True, malformed=False)
    rows = pq.read_table(path).to_pandas()
    habit = rows[rows["TX_FRAUD"] == 0].groupby("CUSTOMER_ID")["TX_AMOUNT"].median()
    return rows.assign(
        ratio=rows["TX_AMOUNT"] / rows["CUSTOMER_ID"].map(habit),
        hour=rows["TX_DATETIME"].dt.hour,
        since=rows.groupby("CUSTOMER_ID")["TX_DATETIME"].diff().dt.total_seconds(),
        new_device=~rows.duplicated(["CUSTOMER_ID", "DEVICE_ID"]),
        new_terminal=~rows.duplicated(["CUSTOMER_ID", "TERMINAL_ID"]),
    )


@pytest.fixture
def normal(frame):
    return frame[frame["TX_FRAUD"] == 0]


@pytest.fixture
def fraud(frame):
    return lambda name: frame[frame["TX_FRAUD_SCENARIO"] == name]


@pytest.mark.parametrize("name", FURTHER_SHARES)
def test_each_has_its_share_of_the_rows(fraud, name):
    assert len(fraud(name)) == round(ROWS * FURTHER_SHARES[name])


def test_cards_are_tested_by_bursts_of_tiny_payments_from_one_device(fraud):
    rows = fraud("card_testing")
    assert rows["TX_AMOUNT"].between(0.5, 5).all()
    assert (rows["CHANNEL"] == "online").all()
    bursts = rows.groupby("DEVICE_ID")
    assert bursts["CUSTOMER_ID"].nunique().max() == 1
    assert bursts.size().median() >= 8
    assert bursts["TX_DATETIME"].agg(lambda at: at.diff().max().total_seconds()).max() <= 60


def test_nights_are_when_hardly_any_normal_row_is(fraud, normal):
    rows = fraud("night_spending")
    assert rows["hour"].between(1, 4).all()
    assert normal["hour"].between(1, 4).mean() < 0.02
    assert 1 < rows["ratio"].median() < 3


def test_a_new_device_is_one_that_nobody_used_before(fraud, normal):
    rows = fraud("new_device")
    assert set(rows["DEVICE_ID"]).isdisjoint(normal["DEVICE_ID"])
    assert rows["hour"].between(6, 23).mean() > 0.95
    # Normal customers have two devices, and few replace one.
    late = normal[normal["TX_DATETIME"].dt.day_of_year > 30]
    assert 0 < late["new_device"].mean() < 0.05
    assert normal.groupby("CUSTOMER_ID")["DEVICE_ID"].nunique().max() == 3


def test_a_new_payee_is_shared_by_victims_who_never_paid_it(fraud, normal):
    rows = fraud("new_payee")
    first = rows.drop_duplicates(["CUSTOMER_ID", "TERMINAL_ID"])
    assert first["new_terminal"].mean() > 0.9
    assert normal["new_terminal"].mean() < 0.3
    assert rows.groupby("TERMINAL_ID")["CUSTOMER_ID"].nunique().median() >= 2
    assert 2 < rows["ratio"].median() < 6


def test_impossible_travel_is_faster_than_a_plane(frame, fraud):
    degrees = frame.groupby("CUSTOMER_ID")[["LATITUDE", "LONGITUDE"]].diff()
    kilometres = 111 * np.hypot(degrees["LATITUDE"], degrees["LONGITUDE"] * np.cos(np.radians(45)))
    speed = kilometres / (frame["since"].clip(lower=60) / 3600)
    rows = fraud("impossible_travel")
    assert (speed[rows.index] > 150).mean() > 0.9
    assert (speed[frame["TX_FRAUD"] == 0] > 150).mean() < 0.02
    assert (rows["CHANNEL"] == "chip").all()


def test_accounts_are_taken_over_far_from_the_usual_hour_with_growing_amounts(fraud, normal):
    rows = fraud("account_takeover")
    takeovers = rows.groupby("DEVICE_ID")
    assert takeovers["TX_DATETIME"].agg(lambda at: (at.max() - at.min()) <= pd.Timedelta(hours=1)).all()
    assert takeovers["TX_AMOUNT"].last().median() > 2 * takeovers["TX_AMOUNT"].first().median()
    usual = rows["CUSTOMER_ID"].map(normal.groupby("CUSTOMER_ID")["hour"].median())
    apart = (rows["hour"] - usual).abs()
    assert np.minimum(apart, 24 - apart).median() > 8


def test_refund_frauds_are_larger_than_the_customers_purchases(fraud, normal):
    rows = fraud("refund_fraud")
    assert (rows["TX_AMOUNT"] < 0).all()
    assert rows["ratio"].median() < -2 < normal.loc[normal["TX_AMOUNT"] < 0, "ratio"].median()
    assert rows.groupby("CUSTOMER_ID")["TERMINAL_ID"].nunique().median() == 1


def test_collusion_is_one_pair_again_and_again_with_round_amounts(fraud, normal):
    rows = fraud("collusion")
    assert (rows["TX_AMOUNT"] % 10 == 0).all()
    pairs = rows.groupby(["CUSTOMER_ID", "TERMINAL_ID"])
    assert pairs.size().median() >= 6
    assert pairs["TX_DATETIME"].agg(lambda at: at.max() - at.min()).max() < pd.Timedelta(days=7)
    assert normal.groupby(["CUSTOMER_ID", "TERMINAL_ID"]).size().median() < 3
