"""What a cell of the label says, in every spelling that people and programs have for it."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from pipeline.settings.config import TableConfig
from pipeline.tables.label_words import FRAUD_WORDS, NORMAL_WORDS, describe_words, read_labels, spell_labels


def labels(cells, **words):
    values, failures = read_labels(cells if isinstance(cells, pa.Array) else pa.array(cells), TableConfig(**words))
    return ["?" if failed else value for value, failed in zip(values.to_pylist(), failures, strict=True)]


@pytest.mark.parametrize(
    ("fraud", "normal"),
    [
        ("1", "0"),
        ("Yes", "No"),
        ("Y", "N"),
        ("TRUE", "FALSE"),
        ("fraud", "legit"),
        ("Fraud", "Not_Fraud"),
        ("ja", "nein"),
    ],
)
def test_words_of_one_meaning_need_no_setting(fraud, normal):
    cells = [fraud, normal, f" {fraud.upper()} ", f"\u00a0{normal.lower()}\t", "", None]
    assert labels(cells) == [1, 0, 1, 0, None, None]


def test_no_word_has_two_meanings():
    assert not set(FRAUD_WORDS) & set(NORMAL_WORDS)


@pytest.mark.parametrize("word", ["NULL", "null", "N/A", "#N/A", "\\N", "nan", "pending", "Unknown", "not-reviewed"])
def test_words_for_nothing_are_not_known(word):
    assert labels(["1", word, "0"]) == [1, None, 0]


@pytest.mark.parametrize("word", ["f", "t", "2", "-1", "0.5", "maybe", "x", "-", "none", "10", "01x", "yes no"])
def test_a_word_of_several_meanings_or_none_is_not_understood(word):
    assert labels([word]) == ["?"]


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([1, 0, None], pa.int8()),
        pa.array([1.0, -0.0, np.nan]),
        pa.array([True, False, None]),
        pa.array([Decimal("1.00"), Decimal("0.00"), None]),
        pa.array(["01", "+0", " "]),
        pa.array(["1,0", "0,00", "NaN"]),
    ],
)
def test_every_type_of_cell_is_read(cells):
    assert labels(cells) == [1, 0, None]


def test_the_words_of_the_table_hold_beside_the_usual_ones():
    words = {"label_fraud": ["stolen", "Phished"], "label_unknown": ["later"]}
    assert labels(["Stolen", "phished", "yes", "0", "later"], **words) == [1, 1, 1, 0, None]


def test_where_a_usual_word_is_turned_round_no_other_usual_one_holds():
    assert labels([2, 1, 0, None], label_fraud=[2], label_normal=[1]) == [1, 0, "?", None]
    assert labels(["yes", "no", "1", "fraud"], label_fraud=["no"], label_normal=["yes"]) == [0, 1, "?", "?"]


def test_empty_cells_are_no_fraud_where_the_table_says_so():
    assert labels(["X", "", None, " "], label_fraud=["x"], label_normal=[""]) == [1, 0, 0, 0]
    assert labels([1.0, np.nan], label_normal=[""]) == [1, 0]


@pytest.mark.parametrize(
    ("words", "spelling"),
    [
        ({}, [1, 0, None]),
        ({"label_normal": ["", "none"]}, [1, 0, None]),
        ({"label_fraud": ["2"], "label_normal": ["", "1"]}, ["2", "1", None]),
    ],
)
def test_labels_are_spelled_as_they_are_read_back(words, spelling):
    cells = spell_labels(pa.array([1, 0, None], pa.int8()), TableConfig(**words))
    assert cells.to_pylist() == spelling
    without_blank = {name: [word for word in own if word] for name, own in words.items()}
    assert labels(cells, **without_blank) == [1, 0, None]


def test_the_words_that_are_understood_are_named():
    own = describe_words(TableConfig(label_fraud=["stolen"], label_normal=["", "x"]))
    assert own == "stolen, 1, true, yes or y for fraud, x, 0, false, no or n for none, or empty for none, too"
