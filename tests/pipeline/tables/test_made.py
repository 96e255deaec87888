"""Columns made of others: amounts of two columns, timestamps of a date and a time, currencies at rates."""

from datetime import date, datetime, time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline.settings.config import Config, TableConfig
from pipeline.tables.made import with_made
from pipeline.tables.parsing import check_columns, parse
from pipeline.tables.reading import open_table
from tests.pipeline.tables.table_files import write

CONTRACT = {"id": "tx", "timestamp": "day + time", "amount": "credit - debit"}


def typed(path, **table):
    settings = {"timestamp_from": ["day", "time"], "amount_from": ["credit", "-debit"], **table}
    config = Config.model_validate({"contract": CONTRACT, "table": settings})
    opened = open_table(path, config.table)
    check_columns(opened.schema, config, str(path))
    rows, failed = parse(next(opened.batches(100)), config)
    return [rows[name].to_pylist() for name in ("day + time", "credit - debit")], failed


def test_a_bank_statement(tmp_path):
    path = write(
        tmp_path / "a.csv",
        "tx;day;time;credit;debit\n1;01/06/26;10:30;1.234,50;\n2;02/06/26;;;7,5\n3;;10:30;;\n4;03/06/26;9:05;x;\n"
        "5;03/06/26;x;0;2\n",
    )
    formats = ["%d/%m/%y %H:%M", "%d/%m/%y"]
    (moments, amounts), failed = typed(path, delimiter=";", decimal=",", thousands=".", timestamp_formats=formats)
    assert moments == [datetime(2026, 6, 1, 10, 30), datetime(2026, 6, 2), None, datetime(2026, 6, 3, 9, 5), None]
    assert amounts == [1234.5, -7.5, None, None, -2]
    assert {rule: mask.tolist() for rule, mask in failed.items()} == {
        "day + time: is a timestamp": [False, False, False, False, True],
        "credit - debit: is a number": [False, False, False, True, False],
    }


def test_typed_columns_of_parquet(tmp_path):
    cells = {
        "tx": [1, 2], "day": [date(2026, 6, 1), date(2026, 6, 2)], "time": [time(10, 30, 15), None],
        "credit": [5.25, None], "debit": [None, 1e-9],
    }  # fmt: skip
    pq.write_table(pa.table(cells), tmp_path / "a.parquet")
    (moments, amounts), failed = typed(tmp_path / "a.parquet")
    assert moments == [datetime(2026, 6, 1, 10, 30, 15), datetime(2026, 6, 2)]
    assert amounts == [5.25, -1e-9]
    assert not failed


def test_currencies_at_rates():
    settings = TableConfig(amount_from=["eur"], currency="code", currency_rates={"EUR": 1, "JPY": 0.006})
    rows = pa.record_batch({"eur": ["10", "1000", "5", None], "code": ["EUR", "jpy ", "XXX", "EUR"]})
    assert with_made(rows, settings)["eur at rates"].to_pylist() == ["10", "6", "5 XXX", None]


def test_parts_that_are_not_there_are_missing_columns(tmp_path):
    path = write(tmp_path / "a.csv", "tx,day,time,credit\n1,2026-06-01,10:30,5\n")
    with pytest.raises(Exception, match=r"missing: credit - debit; not in the contract: day, time, credit"):
        typed(path)


def test_settings_that_go_together():
    with pytest.raises(ValidationError, match="go together; set all three"):
        TableConfig(currency="code")
