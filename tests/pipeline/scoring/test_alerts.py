"""pipeline/scoring/alerts.py: the alerts table as people see it."""

import re
from datetime import datetime

import pyarrow as pa
import pytest

from pipeline.scoring.alerts import AlertRow, ReasonRow, alert_rows, for_spreadsheets
from pipeline.settings.columns import ColumnConfig
from pipeline.settings.sensitive import MASK
from tests.pipeline.scoring.small_alerts import alerts_table, config, reason


@pytest.mark.parametrize("name", ["eur", "country", "fraud"])
def test_a_missing_sensitive_cell_is_not_told_from_a_present_one(name):
    """A missing cell is a value."""
    settings = config(sensitive=(name,))
    there = alerts_table(rows=1)
    gone = there.set_column(there.schema.get_field_index(name), name, pa.nulls(1, there.schema.field(name).type))
    assert for_spreadsheets(there, settings).equals(for_spreadsheets(gone, settings))
    present, missing = (alert_rows(table, settings, show_labels=True)[0] for table in (there, gone))
    assert (present.amount, present.keys, present.is_fraud) == (missing.amount, missing.keys, missing.is_fraud)


def test_alerts_of_one_sensitive_card_can_be_put_together_and_the_card_is_not_told(tmp_path):
    settings = config(sensitive=("card",)).model_copy(update={"work_dir": str(tmp_path)})
    table = alerts_table(rows=4)
    cards = pa.array([77123, None, 77123, 42])
    table = table.set_column(table.schema.get_field_index("card"), "card", cards)
    sheet = for_spreadsheets(table, settings)["card"].to_pylist()
    assert all(re.fullmatch("[0-9a-f]{8}", card) for card in sheet)
    assert sheet[0] == sheet[2]
    assert len(set(sheet)) == 3
    rows = {row.rank: dict(row.keys)["card"] for row in alert_rows(table, settings)}
    assert [rows[rank] for rank in table["rank"].to_pylist()] == sheet
    later = for_spreadsheets(alerts_table(rows=1), settings)["card"].to_pylist()
    assert later == [sheet[0]]  # in another batch, too


def test_a_sensitive_amount_is_found_in_the_spelling_of_money():
    reasons = [
        reason("merchant", "4,000.00", "x", 0.5, text="merchant paid 4,000.00"),
        reason("merchant", "a", "b", 0.5),
    ]
    table = alerts_table(rows=1, eur=4000.0, reasons=reasons)
    row = alert_rows(table, config(sensitive=("eur",)))[0]
    assert [item.actual for item in row.reasons] == [MASK, "a"]
    assert "4,000" not in row.reasons[0].text
    sheet = for_spreadsheets(table, config(sensitive=("eur",))).to_pylist()[0]
    assert "4,000" not in str(sheet)
    assert sheet["reason_1"] == row.reasons[0].text
    assert sheet["reason"].startswith(f"merchant {MASK}, not what was expected (50 % of the score); merchant a")
    assert "4,000.00" in for_spreadsheets(table, config()).to_pylist()[0]["reason_1"]


def test_alerts_say_how_many_known_frauds_they_are_like():
    table = alerts_table(rows=2).append_column("like_frauds", pa.array([14, 0]))
    sheet = for_spreadsheets(table, config()).to_pylist()
    assert sheet[0]["reason"].startswith("like 14 confirmed frauds: eur 1,240.50")
    assert sheet[1]["reason"].startswith("eur 1,240.50")
    assert sheet[0]["like_frauds"] == 14
    assert [row.like for row in alert_rows(table, config())] == ["", "like 14 confirmed frauds: "]
    assert alert_rows(alerts_table(rows=1), config())[0].like == ""


def test_a_column_of_the_table_named_like_one_of_scoring_is_the_masked_one():
    table = alerts_table(rows=1)
    table = table.append_column("reason (input)", pa.array(["hush"]))
    settings = config(ignored=("reason",), sensitive=("reason",))
    sheet = for_spreadsheets(table, settings).to_pylist()[0]
    assert sheet["reason (input)"] == MASK
    assert sheet["reason"].startswith("eur 1,240.50")


def test_a_sensitive_value_is_masked_in_another_columns_reason():
    reasons = [reason("merchant", "77123", "x", 0.5)]
    row = alert_rows(alerts_table(rows=1, reasons=reasons), config(sensitive=("card",)))[0]
    assert (row.reasons[0].actual, row.reasons[0].expected) == (MASK, MASK)
    assert "77123" not in row.reasons[0].text + dict(row.keys)["card"]
    behaviour = alert_rows(alerts_table(rows=1), config(sensitive=("card",)))[0]
    assert behaviour.reasons[2].actual == "14"  # how often it acts does not say which card it is


def test_averages_of_a_sensitive_amount_are_masked():
    reasons = [reason("card: mean eur", "88", "12", 0.5), reason("card: mean amount", "88", "12", 0.5)]
    row = alert_rows(alerts_table(rows=1, reasons=reasons), config(sensitive=("eur",)))[0]
    assert [part.actual for part in row.reasons] == [MASK, MASK]
    assert not any("88" in part.text for part in row.reasons)
    assert row.amount == MASK


def test_labels_are_shown_only_when_asked_for():
    assert alert_rows(alerts_table(), config())[0].is_fraud is None
    assert alert_rows(alerts_table(), config(), show_labels=True)[0].is_fraud is True
    assert alert_rows(alerts_table(fraud=0), config(), show_labels=True)[0].is_fraud is False
    assert alert_rows(alerts_table(), config(sensitive=("fraud",)), show_labels=True)[0].is_fraud is None
    unlabelled = alerts_table().drop_columns("fraud")
    assert alert_rows(unlabelled, config(label=None), show_labels=True)[0].is_fraud is None
    assert alert_rows(unlabelled, config(), show_labels=True)[0].is_fraud is None


def test_alerts_come_by_rank_and_no_more_than_the_limit():
    assert [row.rank for row in alert_rows(alerts_table(rows=9), config(), limit=4)] == [1, 2, 3, 4]
    assert alert_rows(alerts_table(rows=1).slice(0, 0), config()) == []


def test_a_column_named_like_one_of_scoring_is_read_under_its_other_name():
    table = alerts_table(rows=1)
    table = table.rename_columns([name if name != "country" else "rank (input)" for name in table.schema.names])
    row = alert_rows(table, config(categorical=("rank",)))[0]
    assert row.rank == 1
    assert row.keys == (("card", "77123"), ("rank", "US"))


def test_times_in_the_spreadsheet_are_those_of_the_table_s_zone_in_whole_seconds():
    sheet = for_spreadsheets(alerts_table(rows=1, at=datetime(2018, 3, 24, 23, 30)), config())
    assert sheet["at"].to_pylist() == [datetime(2018, 3, 25, 0, 30)]
    assert sheet.schema.field("at").type == pa.timestamp("s")
    finer = for_spreadsheets(alerts_table(rows=1, at=datetime(2018, 3, 24, 23, 30, 0, 5)), config())
    assert finer["at"].to_pylist() == [datetime(2018, 3, 25, 0, 30, 0, 5)]


def test_the_spreadsheet_is_flat_with_a_column_for_each_reason():
    table = alerts_table(rows=2)
    table = table.append_column("nested", pa.array([{"a": 1}] * 2)).append_column("reason_2", pa.array(["own"] * 2))
    table = table.append_column("kind", pa.array(["x", "y"]).dictionary_encode())
    sheet = for_spreadsheets(table, config())
    assert not {"reasons", "nested"} & set(sheet.column_names)
    assert sheet["kind"].to_pylist() == ["x", "y"]
    assert sheet["reason_2 (input)"].to_pylist() == ["own"] * 2
    texts = [item["text"] for item in table["reasons"][0].as_py()]
    assert [sheet[f"reason_{place}"][0].as_py() for place in (1, 2, 3)] == texts
    assert len(texts) == 3
    without = for_spreadsheets(table.drop_columns(["reasons", "reason"]), config())
    assert not {"reason", "reason_1"} & set(without.column_names)


def test_an_amount_is_told_without_what_arithmetic_left_behind():
    amounts = [789.1500000000001, 0.1 + 0.2, 12345678.9, -5.0]
    table = alerts_table(rows=4)
    table = table.set_column(table.schema.get_field_index("eur"), "eur", pa.array(amounts))
    assert for_spreadsheets(table, config())["eur"].to_pylist() == [789.15, 0.3, 12345678.9, -5.0]
    assert table["eur"].to_pylist() == amounts  # the tables for programs keep what was computed with


def test_a_row_is_shown_in_the_table_s_zone_with_its_amount_to_the_cent_and_its_reasons():
    row = alert_rows(alerts_table(rows=1, card=None), config())[0]
    reasons = (
        ReasonRow("eur", "1,240.50", "35.20", 0.625, "eur 1,240.50, expected about 35.20"),
        ReasonRow("country", "US", "DE", 0.24, "country US, expected about DE"),
        ReasonRow("card: transactions", "14", "1.3", 0.09, "card: transactions 14, expected about 1.3"),
    )
    assert row == AlertRow(
        rank=1,
        id="9001",
        time="Sat 1 Mar 2025, 03:14:09",
        amount="1,240.50",
        keys=(("card", "none"), ("country", "US")),
        score=412.25,
        p_value=0.00002,
        is_exploring=False,
        like="",
        reasons=reasons,
        is_fraud=None,
    )
    assert len(alert_rows(alerts_table(rows=30), config())) == 25
    assert alert_rows(alerts_table(rows=1).drop_columns(["reasons"]), config())[0].reasons == ()


def test_alerts_are_told_in_titles_and_masked_by_names():
    columns = {"eur": ColumnConfig(title="<i>Amount", unit="EUR"), "card": ColumnConfig(title="Card")}
    settings = config().model_copy(update={"columns": columns})
    row = alert_rows(alerts_table(rows=1), settings)[0]
    assert (row.amount, row.keys[0]) == ("1,240.50 EUR", ("Card", "77123"))
    assert row.reasons[0] == ReasonRow(
        "<i>Amount", "1,240.50 EUR", "35.20 EUR", 0.625, "<i>Amount 1,240.50 EUR, expected about 35.20 EUR"
    )
    assert row.reasons[2].text == "Card: transactions 14, expected about 1.3"
    sheet = for_spreadsheets(alerts_table(rows=1), settings)
    assert sheet["eur"].to_pylist() == [1240.5]
    assert sheet["reason_1"].to_pylist() == [row.reasons[0].text]
    assert sheet["reason"][0].as_py().startswith("<i>Amount 1,240.50 EUR, expected about 35.20 EUR (62 % of the score)")
    hidden = config(sensitive=("eur",)).model_copy(update={"columns": columns})
    row = alert_rows(alerts_table(rows=1), hidden)[0]
    assert row.amount == MASK
    assert row.reasons[0].text == f"<i>Amount {MASK}, not what was expected"
