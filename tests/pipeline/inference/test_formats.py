"""How strange tables are written, found by `assay init`."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import InputError
from pipeline.inference.roles import infer
from pipeline.settings.config import TableConfig
from pipeline.tables.parsing import parse
from pipeline.tables.reading import open_table
from tests.pipeline.inference.transactions import infer_file, save, transactions


def test_a_table_without_a_header(tmp_path):
    frame = transactions(600)
    path = save(tmp_path, frame, header=False)
    config, _, warnings = infer_file(path)
    assert config.table.columns == tuple(f"column_{place}" for place in range(1, 10))
    assert config.contract.timestamp == "column_2"
    assert "the first line of" in warnings[0]
    assert "name them in order with --column" in warnings[0]
    config, _, warnings = infer(path, settings=TableConfig(columns=tuple(frame.columns)))
    assert (config.contract.entities, config.contract.label) == (("CUSTOMER_ID", "TERMINAL_ID"), "TX_FRAUD")
    assert not any("first line" in text for text in warnings)


def test_columns_of_one_name_are_said(tmp_path):
    frame = transactions(600)
    frame = frame.rename(columns={"TERMINAL_ID": "CUSTOMER_ID"})
    config, _, warnings = infer_file(save(tmp_path, frame))
    assert config.contract.entities == ("CUSTOMER_ID", "CUSTOMER_ID_2")
    assert "a second column 'CUSTOMER_ID' is called 'CUSTOMER_ID_2'" in warnings


DATES = [
    "%d/%m/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%Y/%m/%d %H:%M:%S", "%d.%m.%y", "%d-%b-%Y %H:%M", "%d-%b-%y %I.%M.%S %p",
    "%Y%m%d", "%Y%m%d%H%M%S", "%Y%m%dT%H%M%SZ", "%Y-%m-%d %H:%M:%S UTC", "%a, %d %b %Y %H:%M", "%B %d, %Y %I:%M %p",
    "%Y.%m.%d", "%m-%d-%y", "%d %B %Y",
]  # fmt: skip


@pytest.mark.parametrize("form", DATES)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_dates_of_many_programs_are_read_to_the_letter(tmp_path, form, zone):
    frame = transactions(400)
    written = frame["TX_DATETIME"].dt.strftime(form)
    path = save(tmp_path, frame.assign(TX_DATETIME=written))
    config = infer(path, settings=TableConfig(time_zone=zone))[0]
    assert config.contract.timestamp == "TX_DATETIME"
    typed, _ = parse(next(open_table(path, config.table).batches(1_000)), config)
    local = [datetime.strptime(text, form) for text in written]  # noqa: DTZ007
    named = ZoneInfo("UTC" if form.endswith(("Z", "UTC")) else zone)
    expected = [moment.replace(tzinfo=named).astimezone(UTC).replace(tzinfo=None) for moment in local]
    assert typed["TX_DATETIME"].to_pylist() == expected


MONTHS = {
    "de": "Jan Feb Mär Apr Mai Jun Jul Aug Sep Okt Nov Dez",
    "de full": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
    "es": "ene feb mar abr may jun jul ago sept oct nov dic",
    "it": "gen feb mar apr mag giu lug ago set ott nov dic",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "nl": "jan. feb. mrt. apr. mei jun. jul. aug. sep. okt. nov. dec.",
}
DAYS = {"de": "%d. {} %Y %H:%M", "es": "%d-{}-%y %H:%M", "pt": "%d de {} de %Y, %H:%M", "nl": "{} %d, %Y %I:%M %p"}


@pytest.mark.parametrize("language", MONTHS)
def test_names_of_months_are_read_in_many_languages(tmp_path, language):
    frame = transactions(600)
    moments = pd.Series(pd.date_range("2023-01-01", periods=600, freq="29h")).dt.floor("min")
    form = DAYS.get(language, "%d {} %Y %H:%M")
    names = MONTHS[language].split()
    written = [moment.strftime(form).format(names[moment.month - 1]) for moment in moments]
    path = save(tmp_path, frame.assign(TX_DATETIME=written))
    config, reasons, _ = infer_file(path)
    assert config.contract.timestamp == "TX_DATETIME"
    assert "as 'TX_DATETIME' has dates and times" in reasons["timestamp_formats"]
    typed, failed = parse(next(open_table(path, config.table).batches(1_000)), config)
    assert not failed
    assert typed["TX_DATETIME"].to_pylist() == moments.tolist()


def test_dates_of_several_formats_in_one_table(tmp_path):
    frame = transactions(600)
    one, other = (frame["TX_DATETIME"].dt.strftime(form) for form in ("%d/%m/%Y %H:%M:%S", "%d-%b-%y %H:%M:%S"))
    frame["TX_DATETIME"] = np.where(np.arange(600) % 7 == 0, other, one)
    config, reasons, _ = infer_file(save(tmp_path, frame))
    assert config.table.timestamp_formats == ("%d/%m/%Y %H:%M:%S", "%d-%b-%y %H:%M:%S")
    assert "as 'TX_DATETIME' has dates and times" in reasons["timestamp_formats"]


def test_the_order_of_day_and_month_is_found_or_asked_for(tmp_path):
    frame = transactions(600)
    first_days = frame["TX_DATETIME"].dt.strftime("%d/%m/%Y %H:%M").where(frame["TX_DATETIME"].dt.day <= 9)
    path = save(tmp_path, frame.assign(TX_DATETIME=first_days.fillna("03/03/2024 12:00")))
    config, _, warnings = infer_file(path)
    assert config.table.timestamp_formats == ("%d/%m/%Y %H:%M",)  # nine first numbers, two second ones
    assert any(
        "the day is taken to be first; if it is not, say --timestamp-format '%m/%d/%Y" in text for text in warnings
    )
    mixed = np.where(np.arange(600) % 2, "13/03/2024 12:00", "03/13/2024 12:00")
    path = save(tmp_path, frame.assign(TX_DATETIME=mixed))
    with pytest.raises(InputError, match=r"day first in 300 rows and the month first in 300; .*timestamp_formats in"):
        infer_file(path)


def test_whole_numbers_in_parquet_are_days(tmp_path):
    frame = transactions(600)
    frame["TX_DATETIME"] = frame["TX_DATETIME"].dt.strftime("%Y%m%d").astype(int)
    config = infer_file(save(tmp_path, frame, "tx.parquet"))[0]
    assert (config.contract.timestamp, config.table.timestamp_formats) == ("TX_DATETIME", ("%Y%m%d",))


AMOUNTS = {
    "1,234.50": (lambda a: f"{a:,.2f}", (".", ",", ())),
    "1'234.50": (lambda a: f"{a:,.2f}".replace(",", "’"), (".", "'", ())),
    "1 234,50": (lambda a: f"{a:,.2f}".replace(",", "\u202f").replace(".", ","), (",", " ", ())),
    "1.234,50": (lambda a: f"{a:,.2f}".translate(str.maketrans(",.", ".,")), (",", ".", ())),
    "12,5": (lambda a: f"{a:.2f}".replace(".", ","), (",", "", ())),
    "$1,234.50": (lambda a: f"${a:,.2f}", (".", ",", ("$",))),
    "12.50 EUR": (lambda a: f"{a:.2f} EUR", (".", "", ("EUR",))),
    "-$5": (lambda a: f"-${a:.0f}" if a < 20 else f"${a:.0f}", (".", "", ("$",))),
    "(5.00)": (lambda a: f"({a:.2f})" if a < 20 else f"{a:.2f}", (".", "", ())),
    "5.00-": (lambda a: f"{a:.2f}-" if a < 20 else f"{a:.2f}", (".", "", ())),
    "\u22125": (lambda a: f"\u2212{a:.2f}" if a < 20 else f"{a:.2f}", (".", "", ())),
}


@pytest.mark.parametrize("style", AMOUNTS)
def test_amounts_of_many_programs_are_read_to_the_cent(tmp_path, style):
    write, expected = AMOUNTS[style]
    frame = transactions(600)
    amounts = (frame["TX_AMOUNT"] * 40).round(0 if style == "-$5" else 2)
    path = save(tmp_path, frame.assign(TX_AMOUNT=amounts.map(write)))
    config, reasons, _ = infer_file(path)
    table = config.table
    assert (table.decimal, table.thousands, table.currency_signs) == expected
    assert {"decimal", "thousands", "currency_signs"} & reasons.keys() == {
        name for name, value in zip(("decimal", "thousands", "currency_signs"), expected, strict=True)
        if value != getattr(TableConfig(), name)
    }  # fmt: skip
    typed, failed = parse(next(open_table(path, table).batches(1_000)), config)
    assert not failed
    sign = np.where((amounts < 20) & (style in ("-$5", "(5.00)", "5.00-", "\u22125")), -1, 1)
    assert typed["TX_AMOUNT"].to_pylist() == (amounts * sign).tolist()


@pytest.mark.parametrize(
    ("more", "less", "words"),
    [
        ("{} CR", "{} DR", (("CR",), ("DR",))),
        ("Cr. {}", "Dr. {}", (("CR",), ("DR",))),
        ("{}C", "{}D", (("C",), ("D",))),
        ("{} EUR H", "{} EUR S", (("H",), ("S",))),
        ("{}", "{} CR", (("DR",), ("CR",))),
        ("{}", "{} (DR)", (("CR",), ("DR",))),
    ],
)
def test_words_beside_amounts_say_which_are_less_than_zero(tmp_path, more, less, words):
    frame = transactions(600)
    is_less = np.arange(600) % 4 == 0
    written = [(less if low else more).format(f"{a:.2f}") for a, low in zip(frame["TX_AMOUNT"], is_less, strict=True)]
    path = save(tmp_path, frame.assign(TX_AMOUNT=written))
    config, reasons, warnings = infer_file(path)
    assert config.contract.amount == "TX_AMOUNT"
    assert (config.table.plus_words, config.table.minus_words) == words
    assert "in 150 rows" in reasons["minus_words"]
    assert any(f"of '{words[1][0]}' are read as less than zero; if it is the other way" in text for text in warnings)
    assert config.validation.negative_amounts
    typed, failed = parse(next(open_table(path, config.table).batches(1_000)), config)
    assert not failed
    assert typed["TX_AMOUNT"].to_pylist() == (frame["TX_AMOUNT"].round(2) * np.where(is_less, -1, 1)).tolist()


def test_letters_before_keys_are_no_words_beside_amounts(tmp_path):
    frame = transactions(600)
    frame["CUSTOMER_ID"] = [f"{'CD'[key % 2]}{key}" for key in frame["CUSTOMER_ID"]]
    config = infer_file(save(tmp_path, frame))[0]
    assert "CUSTOMER_ID" in config.contract.entities
    assert not config.table.minus_words


def test_a_sign_that_may_be_either_is_said(tmp_path):
    frame = transactions(600)
    frame["TX_AMOUNT"] = [f"{row + 1},{row % 1000:03d}" for row in range(600)]
    config, _, warnings = infer_file(save(tmp_path, frame), amount="TX_AMOUNT")
    assert (config.table.decimal, config.table.thousands) == (".", ",")
    assert any("three digits behind it wherever it comes" in text for text in warnings)


def test_keys_are_no_amounts(tmp_path):
    frame = transactions(600)
    frame["CUSTOMER_ID"] = frame["CUSTOMER_ID"].map(lambda key: f"EU{key}")
    frame["TERMINAL_ID"] = frame["TERMINAL_ID"].map(lambda key: f"{key:03d} 111 222")
    frame["host"] = [f"10.0.{row % 9}.{row % 100}" for row in range(600)]
    table = infer_file(save(tmp_path, frame))[0].table
    assert table.model_copy(update={"path": ""}) == TableConfig()


def test_words_for_nothing(tmp_path):
    frame = transactions(600)
    country = np.where(np.arange(600) % 3 == 0, "NA", "DE")  # Namibia
    frame = frame.assign(country=country, device=np.where(np.arange(600) % 2 == 0, "N/A", "phone"))
    frame["TX_AMOUNT"] = frame["TX_AMOUNT"].astype(object).where(np.arange(600) % 100 > 0, "-")
    path = save(tmp_path, frame)
    config, reasons, _ = infer_file(path)
    assert config.table.null_words == ("-", "N/A")
    assert reasons["null_words"] == "'-' in 6 rows of 'TX_AMOUNT'; 'N/A' in 300 rows of 'device': read as empty cells"
    typed, failed = parse(next(open_table(path, config.table).batches(1_000)), config)
    assert not failed
    assert (typed["TX_AMOUNT"].null_count, typed["device"].null_count, typed["country"].null_count) == (6, 300, 0)
