"""How a label is written: which words of a column mean fraud, and when nobody can say."""

import pandas as pd
import pytest

from pipeline.inference.label_values import count_words, read_words
from pipeline.settings.config import TableConfig
from pipeline.tables.reading import open_table


def words_of(counts, **words):
    reading = read_words(counts, TableConfig(**words))
    return None if reading is None else (reading.settings.label_fraud, reading.settings.label_normal)


@pytest.mark.parametrize(
    "counts",
    [
        {"0": 970, "1": 30},
        {"Yes": 30, "No": 970, "": 12},
        {"legit": 970, "Fraud": 28, "fraud ": 2},
        {"N": 900, "Y": 50, "NULL": 1, "pending": 40},
        {"0": 500, "": 500},
    ],
)
def test_usual_words_need_no_setting(counts):
    assert words_of(counts) == ((), ())


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"2": 30, "1": 970}, ("2", "1")),
        ({"1": 30, "2": 970}, ("1", "2")),
        ({"1": 30, "-1": 970}, ("1", "-1")),
        ({"-1": 30, "1": 970}, ("-1", "1")),
        ({"t": 30, "f": 970}, ("t", "f")),
        ({"T": 500, "F": 500}, ("T", "F")),
        ({"F": 30, "L": 970}, ("F", "L")),
        ({"fraud": 30, "none": 970, "": 4}, ("fraud", "none")),
        ({"skimmed": 30, "legit": 970}, ("skimmed", "legit")),
    ],
)
def test_of_two_words_without_a_meaning_the_rarer_one_is_fraud_and_that_is_said(counts, words):
    reading = read_words(counts, TableConfig())
    assert (reading.settings.label_fraud, reading.settings.label_normal) == ((words[0],), (words[1],))
    assert f"{words[0]!r} is taken for fraud; if it is the other way round" in reading.warnings[0]


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"1": 30, "": 970}, ((), ("",))),
        ({"Y": 30, "": 900, "n/a": 70}, ((), ("", "n/a"))),
        ({"X": 30, "": 970}, (("X",), ("",))),
    ],
)
def test_beside_a_mark_empty_cells_are_no_fraud_and_that_is_said(counts, words):
    reading = read_words(counts, TableConfig())
    assert (reading.settings.label_fraud, reading.settings.label_normal) == words
    assert "and empty cells only, which are read as no fraud" in reading.warnings[0]


@pytest.mark.parametrize(
    "counts",
    [
        {"red": 500, "blue": 500},
        {"legit": 30, "x": 970},
        {"0": 900, "1": 30, "2": 70},
        {"X": 600, "": 400},
        {str(number): 1 for number in range(40)},
        {"": 100},
        {},
    ],
)
def test_where_nobody_can_say_nothing_is_read(counts):
    assert words_of(counts) is None


def test_what_a_person_names_holds_first():
    counts = {"skimming": 20, "phishing": 10, "none": 970}
    assert words_of(counts) is None
    assert words_of(counts, label_fraud=["skimming", "phishing"]) == (("skimming", "phishing"), ("none",))
    assert words_of(counts, label_normal=["none"]) == (("phishing", "skimming"), ("none",))
    assert words_of({"1": 30, "0": 970}, label_fraud=["0"]) == (("0",), ("1",))


def test_strays_are_told_and_so_is_a_label_that_says_fraud_of_most():
    reading = read_words({"0": 1469, "1": 30, "x": 1, "NULL": 2}, TableConfig())
    assert reading.warnings == (
        "holds 'x' in 1 row, which nobody understands, so that these rows will be quarantined",
        "holds 'NULL' in 2 rows, which is read as not known yet",
    )
    (warning,) = read_words({"0": 30, "1": 970}, TableConfig()).warnings
    assert warning.startswith("says fraud in 97 % of the rows that have one; if it is the other way round")


def test_every_row_of_the_table_is_counted(tmp_path):
    cells = ["0"] * 200_000 + ["NULL"] + [" 1"] * 2
    pd.DataFrame({"fraud": cells, "key": range(len(cells))}).to_csv(tmp_path / "t.csv", index=False)
    table = open_table(tmp_path / "t.csv", TableConfig())
    assert count_words(table, ["fraud", "key"]) == {"fraud": {"0": 200_000, "NULL": 1, "1": 2}}
