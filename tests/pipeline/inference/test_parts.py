"""A date and a time, what went in and what out: columns that only together are a timestamp and an amount."""

import numpy as np
import pandas as pd
import pytest

from pipeline.inference.parts import in_and_out
from pipeline.inference.profiles import read_sample
from pipeline.settings.config import TableConfig
from pipeline.tables.parsing import parse
from pipeline.tables.reading import open_table
from tests.pipeline.inference.transactions import infer_file, save, transactions


def statement(rows=600):
    frame = transactions(rows)
    at = frame.pop("TX_DATETIME")
    amount = frame.pop("TX_AMOUNT")
    is_out = np.arange(rows) % 3 > 0
    frame["booking_date"], frame["booking_time"] = at.dt.strftime("%d/%m/%Y"), at.dt.strftime("%H:%M:%S")
    frame["debit"] = amount.where(is_out).map(lambda a: "" if pd.isna(a) else f"{a:,.2f}")
    frame["credit"] = amount.where(~is_out).map(lambda a: "" if pd.isna(a) else f"{a:,.2f}")
    return frame.drop(columns=["TX_TIME_SECONDS", "TX_TIME_DAYS"]), at, np.where(is_out, -amount, amount)


def test_a_statement_is_read_whole(tmp_path):
    frame, at, amounts = statement()
    path = save(tmp_path, frame)
    config, reasons, _ = infer_file(path)
    contract = config.contract
    assert (contract.timestamp, contract.amount) == ("booking_date + booking_time", "credit - debit")
    assert {"booking_date", "booking_time", "debit", "credit"} <= set(contract.ignored)
    assert reasons["amount"] == "'credit - debit': made of others"
    assert "dates without a time" in reasons["timestamp_from"]
    typed, failed = parse(next(open_table(path, config.table).batches(1_000)), config)
    assert not failed
    assert typed[contract.timestamp].to_pylist() == at.dt.to_pydatetime().tolist()
    np.testing.assert_allclose(typed[contract.amount].to_numpy(), amounts)


def test_a_side_that_is_written_below_zero_is_added(tmp_path):
    frame, _, amounts = statement()
    frame["debit"] = frame["debit"].map(lambda text: f"-{text}" if text else text)
    path = save(tmp_path, frame)
    config = infer_file(path)[0]
    assert config.contract.amount == "credit + debit"
    typed, _ = parse(next(open_table(path, config.table).batches(1_000)), config)
    np.testing.assert_allclose(typed["credit + debit"].to_numpy(), amounts)


def test_what_a_person_names_is_not_made(tmp_path):
    frame, _, _ = statement()
    contract = infer_file(save(tmp_path, frame), timestamp="booking_date", amount="debit")[0].contract
    assert (contract.timestamp, contract.amount) == ("booking_date", "debit")


@pytest.mark.parametrize("change", ["both", "another amount", "words"])
def test_sides_that_are_no_parts(tmp_path, change):
    frame, _, _ = statement()
    if change == "both":
        frame["credit"] = frame["credit"].where(np.arange(600) % 10 > 0, "5.00")
    elif change == "another amount":
        frame["amount"] = 7.5
    else:
        frame["credit"] = "by card"
    table = open_table(save(tmp_path, frame), TableConfig())
    assert in_and_out(table, read_sample(table), TableConfig()) is None


def test_a_day_beside_a_whole_timestamp_is_no_part(tmp_path):
    frame, at, _ = statement()
    config = infer_file(save(tmp_path, frame.assign(created_at=at)))[0]
    assert (config.table.timestamp_from, config.contract.timestamp) == ((), "created_at")
