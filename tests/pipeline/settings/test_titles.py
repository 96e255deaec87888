"""pipeline/settings/titles.py: titles and units in the place of columns' names."""

import pytest

from pipeline.settings.config import Config
from pipeline.settings.sensitive import MASK, hidden_reason, in_combination
from pipeline.settings.titles import descriptions, heading, in_titles, second_header, titled_reason

ROLES = {"id": "tx", "timestamp": "at", "amount": "eur", "entities": ["card", "card.no"], "categorical": ["shop"]}
COLUMNS = {
    "eur": {"title": "Amount", "unit": "EUR", "description": "What was paid."},
    "card": {"title": "Card"},
    "card.no": {"title": "Card number"},
    "km": {"unit": "km"},
    "field 7": {"title": "Balance", "unit": "EUR"},
}


def config(**columns):
    contract = {**ROLES, "numeric": ["km", "field 7"]}
    return Config.model_validate({"contract": contract, "columns": columns or COLUMNS})


@pytest.mark.parametrize(
    "words",
    [
        ("eur", "40.00", "5.00", "eur 40.00, expected about 5.00", "Amount 40.00 EUR, expected about 5.00 EUR"),
        (
            "card: mean eur",
            "7.00",
            "1.50",
            "card: mean eur in 7 days 7.00, expected about 1.50",
            "Card: mean Amount in 7 days 7.00 EUR, expected about 1.50 EUR",
        ),
        ("field 7", "7", "3", "field 7 7, expected about 3", "Balance 7 EUR, expected about 3 EUR"),
        ("km", "12", "missing", "km 12, expected missing", "km 12 km, expected missing"),
        # What is no number of the column has no unit, and a value is no name.
        ("card.no: hours", "5 hours", "1 hours", "hours from the usual of card.no 5 hours", None),
        ("shop", "'card'", "'eur, eur'", "shop 'card', expected 'eur, eur'", "shop 'card', expected 'eur, eur'"),
        ("card: recent eur", "9.1 times the usual spread", "0", "card: 9.1", None),
    ],
)
def test_a_reason_is_told_in_titles_and_units(words):
    column, actual, expected, text, shown = words
    reason = {"column": column, "actual": actual, "expected": expected, "text": text, "share": 0.5}
    told = titled_reason(reason, config())
    if shown is None:
        assert told["actual"] == actual
        assert "EUR" not in told["text"]
    else:
        assert told["text"] == shown
    assert told["column"] == in_titles(column, config())
    assert titled_reason(reason, config().model_copy(update={"columns": {}})) == reason


def test_a_combination_and_a_masked_reason_are_told_in_titles():
    parts = ["eur 88.74", "shop 'eur'"]
    reason = {"column": "eur, shop", "actual": ", ".join(parts), "expected": "", "text": in_combination(parts)}
    told = titled_reason({**reason, "share": 1.0}, config())
    assert told["text"] == "the combination of Amount 88.74 and shop 'eur'"
    assert (told["column"], told["actual"]) == ("Amount, shop", "Amount 88.74, shop 'eur'")
    masked = titled_reason({"column": "eur", "share": 1.0, **hidden_reason("eur")}, config())
    assert masked["text"] == f"Amount {MASK}, not what was expected"


def test_the_longest_name_is_meant_and_part_of_a_word_is_none():
    assert (
        in_titles("card.no: transactions by card, eurozone", config()) == "Card number: transactions by Card, eurozone"
    )


def test_the_second_header_has_a_cell_a_column_and_is_off_without_titles():
    names = ["tx", "eur", "rank (input)", "rank"]
    assert second_header(names, config()) == ["tx", "Amount (EUR)", "rank (input)", "rank"]
    assert second_header(names, config(eur={"description": "What was paid."})) == []
    contract = {**ROLES, "ignored": ["rank"]}
    ranked = Config.model_validate({"contract": contract, "columns": {"rank": {"title": "Standing"}}})
    assert second_header(names, ranked) == ["tx", "eur", "Standing", "rank"]


def test_descriptions_stand_behind_titles():
    assert descriptions(config()) == [("Amount (EUR)", "What was paid.")]
    assert heading("km", config()) == "km (km)"
