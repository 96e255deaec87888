"""Numbers as text, cell by cell."""

import pyarrow as pa
import pytest

from pipeline.settings.config import TableConfig
from pipeline.tables.digits import read_integers, read_numbers

EURO = TableConfig(decimal=",", thousands=".", currency_signs=("EUR", "€"))
MARKED = TableConfig(decimal=",", currency_signs=("EUR",), plus_words=("H", "Cr."), minus_words=("S", "debit"))
RUPEES = TableConfig(thousands=",", currency_signs=("Rs.", "Rs"), plus_words=("CR",), minus_words=("DR",))
DOLLAR = TableConfig(thousands=",", currency_signs=("US$", "$"))


@pytest.mark.parametrize(
    ("settings", "cell", "number"),
    [
        (TableConfig(), "(0.50)", -0.5),
        (TableConfig(), ".5-", -0.5),
        (TableConfig(), "\u22127", -7),
        (TableConfig(), "-(7)", None),
        (TableConfig(), "--7", None),
        (TableConfig(), "7-8", None),
        (TableConfig(), "1,234", None),
        (TableConfig(), "$5", None),
        (TableConfig(), "5 %", None),
        (TableConfig(), "(", None),
        (EURO, "1.234.567,89 €", 1_234_567.89),
        (EURO, "EUR 12", 12),
        (EURO, "12.50", None),
        (EURO, "1.2345", None),
        (EURO, "1.23.456", None),
        (EURO, "EUR EUR 12", None),
        (EURO, "USD 12", None),
        (DOLLAR, "($1,234.50)", -1234.5),
        (DOLLAR, "-US$ 1,234", -1234),
        (DOLLAR, "$-5", -5),
        (DOLLAR, "12,34,567.5", 1_234_567.5),
        (DOLLAR, "1,234,5", None),
        (DOLLAR, ",234", None),
        (DOLLAR, "1e3", 1000),
        (RUPEES, "Rs.500", 500),
        (RUPEES, "Rs.1,500.50 Dr", -1500.5),
        (RUPEES, "500 (dr.)", -500),
        (RUPEES, "CR 5.00", 5),
        (RUPEES, "-5 DR", None),
        (RUPEES, "5 DR DR", None),
        (RUPEES, "5 XDR", None),
        (RUPEES, "EUR.50", None),
        (MARKED, "7,5 EUR H", 7.5),
        (MARKED, "7,5 cr", 7.5),
        (MARKED, "Debit 7", -7),
        (MARKED, "7 C", None),
        (TableConfig(decimal=",", thousands=" "), "12\u00a0345\u202f678,9", 12_345_678.9),
        (TableConfig(thousands="'"), "1’234'567", 1_234_567),
    ],
)
def test_numbers(settings, cell, number):
    # Beside a plain number, and alone.
    assert read_numbers(pa.array([cell, "7", None]), settings).to_pylist() == [number, 7, None]
    assert read_numbers(pa.array([cell]), settings).to_pylist() == [number]


def test_whole_numbers():
    cells = ["007", "-0", "9223372036854775807", "9223372036854775808", "12,00", "1,5"]
    assert read_integers(pa.array(cells), ",").to_pylist() == [7, 0, 2**63 - 1, None, 12, None]
    assert read_integers(pa.array([2.0, 2.5, 1e19, None]), ".").to_pylist() == [2, None, None, None]
