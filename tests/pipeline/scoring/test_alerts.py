"""pipeline/scoring/alerts.py: the alerts table as people see it."""

from datetime import datetime

import pyarrow as pa
import pytest

from pipeline.scoring.alerts import alert_rows, for_spreadsheets
from pipeline.scoring.reasons import REASONS_TYPE
from pipeline.settings.config import Config
from pipeline.settings.sensitive import MASK


def config(**contract):
    roles = {
        "id": "tx",
        "timestamp": "at",
        "amount": "eur",
        "entities": ("card",),
        "categorical": ("country",),
        "label": "fraud",
    }
    return Config.model_validate({"contract": roles | contract, "table": {"time_zone": "Europe/Berlin"}})


def reason(column, actual, expected, share, text=None):
    text = text or f"{column} {actual}, expected about {expected}"
    return {"column": column, "actual": actual, "expected": expected, "share": share, "text": text}


def alerts_table(rows=3, **cells):
    reasons = [
        reason("eur", "1,240.50", "35.20", 0.625),
        reason("country", "US", "DE", 0.24),
        reason("card: transactions", "14", "1.3", 0.09),
    ]
    row = {
        "tx": 9001,
        "at": datetime(2025, 3, 1, 2, 14, 9),
        "eur": 1240.5,
        "card": 77123,
        "country": "US",
        "fraud": 1,
        "anomaly_score": 412.25,
        "p_value": 0.00002,
        "tail_p_value": 1e-7,
        "reasons": reasons,
        "reason": "eur 1,240.50, expected about 35.20 (62 % of the score).",
    } | cells
    table = pa.Table.from_pylist([row | {"rank": rows - i, "tx": 9000 + rows - i} for i in range(rows)])
    place = table.schema.get_field_index("reasons")
    return table.set_column(place, "reasons", table.column("reasons").cast(REASONS_TYPE))


@pytest.mark.parametrize("name", ["card", "eur", "country", "fraud"])
def test_a_missing_sensitive_cell_is_not_told_from_a_present_one(name):
    """A missing cell is a value."""
    settings = config(sensitive=(name,))
    there = alerts_table(rows=1)
    gone = there.set_column(there.schema.get_field_index(name), name, pa.nulls(1, there.schema.field(name).type))
    assert for_spreadsheets(there, settings).equals(for_spreadsheets(gone, settings))
    present, missing = (alert_rows(table, settings, show_labels=True)[0] for table in (there, gone))
    assert (present.amount, present.keys, present.is_fraud) == (missing.amount, missing.keys, missing.is_fraud)


def test_a_sensitive_amount_is_found_in_the_spelling_of_money():
    reasons = [reason("merchant", "4,000.00", "x", 0.5, "merchant paid 4,000.00"), reason("merchant", "a", "b", 0.5)]
    table = alerts_table(rows=1, eur=4000.0, reasons=reasons)
    row = alert_rows(table, config(sensitive=("eur",)))[0]
    assert [item.actual for item in row.reasons] == [MASK, "a"]
    assert "4,000" not in row.reasons[0].text
    sheet = for_spreadsheets(table, config(sensitive=("eur",))).to_pylist()[0]
    assert "4,000" not in str(sheet)
    assert sheet["reason_1"] == row.reasons[0].text
    assert sheet["reason"].startswith(f"merchant {MASK}, not what was expected (50 % of the score); merchant a")
    assert "4,000.00" in for_spreadsheets(table, config()).to_pylist()[0]["reason_1"]


def test_a_column_of_the_table_named_like_one_of_scoring_is_the_masked_one():
    table = alerts_table(rows=1)
    table = table.append_column("reason (input)", pa.array(["hush"]))
    settings = config(ignored=("reason",), sensitive=("reason",))
    sheet = for_spreadsheets(table, settings).to_pylist()[0]
    assert sheet["reason (input)"] == MASK
    assert sheet["reason"].startswith("eur 1,240.50")
