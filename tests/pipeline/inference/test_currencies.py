"""Amounts of several currencies in one column."""

import numpy as np
import pytest

from tests.pipeline.inference.transactions import infer_file, save, transactions


@pytest.mark.parametrize(
    ("name", "codes"), [("currency", ["EUR", "JPY"]), ("money", ["eur ", "USD"]), ("ccy", ["A", "B"])]
)
def test_several_currencies_are_warned_of(tmp_path, name, codes):
    frame = transactions(600)
    frame[name] = np.where(np.arange(600) % 3 == 0, *codes)
    warnings = infer_file(save(tmp_path, frame))[2]
    (warning,) = [text for text in warnings if "currenc" in text]
    assert (
        f"{name!r} names several currencies ({codes[1].strip().upper()} 66.7 %, {codes[0].strip().upper()} 33.3 %)"
        in warning
    )
    assert "currency_rates in [table]" in warning


@pytest.mark.parametrize("values", [["DEU", "FRA"], ["EUR", "EUR"]])
def test_other_codes_and_one_currency_are_not(tmp_path, values):
    frame = transactions(600)
    frame["country" if "DEU" in values else "currency"] = np.where(np.arange(600) % 3 == 0, *values)
    assert not any("currenc" in text for text in infer_file(save(tmp_path, frame))[2])
