"""What the names of columns say."""

import pytest

from pipeline.inference.column_names import join_words, name_score, personal_data


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("id", ["TRANSACTION_ID", "TransactionID", "tx_id", "id", "uuid", "Buchungsnummer", "trans_num", "ref"]),
        ("timestamp", ["TX_DATETIME", "timestamp", "date", "Zeitstempel", "created_at", "trans_date_trans_time"]),
        ("amount", ["TX_AMOUNT", "Amount", "amt", "Betrag", "TransactionAmt", "price", "transaction_value"]),
        ("entities", ["CUSTOMER_ID", "card1", "merchant", "TerminalId", "Kundennummer", "nameDest", "device"]),
        ("label", ["TX_FRAUD", "isFraud", "is_fraud", "Class", "label", "Betrug", "fraud_flag", "target"]),
        ("labelled_at", ["labelled_at", "fraud_reported_at", "chargeback_date", "label_time"]),
    ],
)
def test_names_that_speak_for_a_role(role, names):
    assert [name for name in names if name_score(role, name) <= 0] == []


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("id", ["colour", "CUSTOMER_ID", "kundennummer", "idle"]),
        ("timestamp", ["date_of_birth", "expiry_date", "card_valid_until", "amount", "updated_at"]),
        ("amount", ["oldbalanceOrg", "card_limit", "amount_30d_avg", "latitude", "colour"]),
        ("entities", ["card_type", "account_age", "amount", "carbon", "zipper"]),
        ("label", ["fraud_score", "fraud_amount_usual", "colour", "classic"]),
    ],
)
def test_names_that_do_not(role, names):
    assert [name for name in names if name_score(role, name) > {"label": 1}.get(role, 0)] == []


def test_personal_data_by_name():
    found = ["e_mail", "PhoneNumber", "IBAN", "card_number", "cc_num", "ip", "IPAddress", "Straße", "dob", "surname"]
    found += ["lat", "long", "home_lat", "home_lon", "Latitude", "customerLongitude", "LNG", "Längengrad"]
    assert all(personal_data(name) for name in found)
    for name in ("merchant_name", "CUSTOMER_ID", "pandas", "description", "shipping", "flatrate", "first_seen_days"):
        assert personal_data(name) is None, name
    assert (personal_data("merch_long"), personal_data("long_haul")) == (None, None)
    assert join_words("Größe-in.KB") == "groesse_in_kb"
