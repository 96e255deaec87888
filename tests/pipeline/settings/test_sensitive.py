"""pipeline/settings/sensitive.py: which names and words would show a sensitive value."""

import pytest

from pipeline.settings.contract import Contract
from pipeline.settings.sensitive import MASK, STAND_INS, is_telling, mask_reason, spellings, without_password


def contract(*sensitive):
    roles = {"entities": ("card", "shop"), "categorical": ("iso",), "numeric": ("km",), "label": "fraud"}
    return Contract(id="tx", timestamp="at", amount="eur", **roles, sensitive=sensitive)


@pytest.mark.parametrize(
    ("sensitive", "telling", "not_telling"),
    [
        ("eur", ["eur", "card: mean eur", "card: usual eur", "card: mean amount"], ["card: transactions", "europe"]),
        ("card", ["card", "shop: different card"], ["card: transactions", "card: mean eur", "card + shop: risk"]),
        ("at", ["at", "hour of day", "weekday"], ["rate", "card: hours", "card: last seen"]),
        ("km", ["km", "km of trip", "card: highest km"], ["kmh", "eur"]),
        ("iso", ["iso"], ["isolation", "eur"]),
    ],
)
def test_a_feature_is_telling_where_its_figures_are_the_columns(sensitive, telling, not_telling):
    assert all(is_telling(source, contract(sensitive)) for source in telling)
    assert not any(is_telling(source, contract(sensitive)) for source in not_telling)
    assert not any(is_telling(source, contract()) for source in telling)


@pytest.mark.parametrize("text", ["4,000.00", "4000.00", "4,000", "4000.0", "4000", "paid 4,000.00, in all"])
def test_a_whole_amount_is_found_however_it_is_spelled(text):
    assert spellings([4000.0]).search(text)


SPELLINGS = [(1240.4, "1,240"), (1240.4, "1,240.40"), (0.00059, "0.0006"), (3e12, "3e+12"), (4711, "id 4,711,")]


@pytest.mark.parametrize(("value", "text"), [*SPELLINGS, ("a|b", "x a|b"), ("4711", "4711,5")])
def test_other_values_are_found_as_pages_write_them(value, text):
    assert spellings([value]).search(text)


PARTS = ["14,000", "4,000,000", "x4000", "4000x", ".4000", "40000", "4000.5", "4,000.001", "400"]


@pytest.mark.parametrize("text", PARTS)
def test_a_part_of_another_word_is_not_the_value(text):
    assert not spellings([4000.0]).search(text)


def test_missing_and_empty_values_are_spelled_nowhere():
    pattern = spellings([None, "", " ", float("nan")])
    assert not pattern.search("missing, none of 12 values")


def test_a_reason_is_masked_once():
    reason = {"column": "card: mean eur", "actual": "88", "expected": "12", "share": 0.5, "text": "mean eur 88"}
    once = mask_reason(reason, contract("eur"), spellings([]))
    assert once == {**reason, "actual": MASK, "expected": MASK, "text": f"card: mean eur {MASK}, not what was expected"}
    named = {**once, "text": f"card: mean eur in 7 days {MASK}, not what was expected"}
    assert mask_reason(named, contract("eur"), spellings(["mean"])) == named


def test_every_type_that_a_model_takes_has_a_constant():
    assert set(STAND_INS) == {contract().type_of(name) for name in contract().required} | {"integer"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://assay:secret@db/assay", "postgresql://assay:***@db/assay"),
        ("postgresql://assay:sec@ret:x/?&@db/assay", "postgresql://assay:***@db/assay"),
        ("postgresql://assay:secret@db/assay?sslpassword=secret", "postgresql://assay:***@db/assay?sslpassword=***"),
        (
            "postgresql+psycopg://db/a?user=u&password=a=b@c/d?e&x=1",
            "postgresql+psycopg://db/a?user=***&password=***&x=***",
        ),
        ("mssql+pyodbc:///?odbc_connect=UID%3Du%3BPWD%3Dsecret", "mssql+pyodbc:///?odbc_connect=***"),
        ("https://ann:secret@mlflow.bank.example:5000", "https://ann:***@mlflow.bank.example:5000"),
        ("https://mlflow.bank.example/?token=secret", "https://mlflow.bank.example/?token=***"),
        ("postgresql://assay@db/assay", "postgresql://assay@db/assay"),
        ("postgresql://db:5432/assay", "postgresql://db:5432/assay"),
        ("sqlite:////var/assay/mlflow.db", "sqlite:////var/assay/mlflow.db"),
        ("", ""),
        ("no url: at all", "no url: at all"),
    ],
)
def test_what_is_secret_in_a_url_is_masked_and_the_rest_stays(url, expected):
    assert without_password(url) == expected
