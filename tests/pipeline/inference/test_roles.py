"""Tables in the shapes of well-known ones, and what a person says about a table, end as roles."""

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import InputError
from pipeline.inference.roles import infer
from pipeline.settings.config import TableConfig
from pipeline.settings.contract import Contract
from pipeline.settings.file import read_config, write_config
from pipeline.tables.parsing import parse
from pipeline.tables.reading import open_table
from tests.pipeline.inference.transactions import START, infer_file, save, transactions


@pytest.mark.parametrize("name", ["tx.csv", "tx.parquet"])
def test_handbook_shape(tmp_path, name):
    path = save(tmp_path, transactions(), name)
    config, reasons, warnings = infer_file(path, label="TX_FRAUD", ignore=("TX_FRAUD_SCENARIO",))
    assert config.contract == Contract(
        id="TRANSACTION_ID",
        timestamp="TX_DATETIME",
        amount="TX_AMOUNT",
        entities=("CUSTOMER_ID", "TERMINAL_ID"),
        label="TX_FRAUD",
        ignored=("TX_TIME_SECONDS", "TX_TIME_DAYS", "TX_FRAUD_SCENARIO"),
        types={"TRANSACTION_ID": "integer", "CUSTOMER_ID": "integer", "TERMINAL_ID": "integer"},
    )
    assert warnings == []
    assert config.name == "tx"
    assert config.table.path == str(path)
    assert config.validation.suite == ""
    assert reasons["id"] == "'TRANSACTION_ID': its 6,000 values come once each, and its name says so"
    assert "'TX_TIME_SECONDS', 'TX_TIME_DAYS': grows with the timestamp" in reasons["ignored"]
    assert "'TX_FRAUD_SCENARIO': named by you" in reasons["ignored"]
    written = tmp_path / "assay.toml"
    written.write_text(write_config(config, reasons))
    assert read_config(written).contract == config.contract


def test_a_column_that_gives_the_label_away_is_told(tmp_path):
    config, _, warnings = infer_file(save(tmp_path, transactions()))
    assert config.contract.label == "TX_FRAUD"
    assert config.contract.categorical == ("TX_FRAUD_SCENARIO",)
    (warning,) = warnings
    assert warning.startswith("'TX_FRAUD_SCENARIO' alone tells 99.5 % of what there is to know about 'TX_FRAUD'")
    assert warning.endswith("leave it out with --ignore TX_FRAUD_SCENARIO")


def test_paysim_shape(tmp_path):
    rng = np.random.default_rng(0)
    rows = 5_000
    steps = np.sort(rng.integers(1, 744, rows))
    fraud = rng.random(rows) < 0.02
    frame = pd.DataFrame(
        {
            "step": steps,
            "type": rng.choice(["CASH_OUT", "PAYMENT", "TRANSFER"], rows),
            "amount": np.round(rng.lognormal(9, 1.5, rows), 2),
            "nameOrig": [f"C{number}" for number in rng.permutation(10**6)[:rows]],
            "oldbalanceOrg": np.round(rng.lognormal(9, 2, rows), 2),
            "newbalanceOrig": np.round(rng.lognormal(9, 2, rows), 2),
            "nameDest": [f"M{number}" for number in rng.integers(0, 400, rows)],
            "isFraud": fraud.astype(int),
            "isFlaggedFraud": (fraud & (rng.random(rows) < 0.1)).astype(int),
        }
    )
    path = save(tmp_path, frame)
    message = r"tx\.csv: no column can be the timestamp, .*looked at step \(integer\).*name one with --timestamp"
    with pytest.raises(InputError, match=message):
        infer_file(path)
    with pytest.raises(InputError, match="column 'step' holds integer values such as '1' and cannot be"):
        infer_file(path, timestamp="step")
    frame["when"] = (START + steps * 3600).astype(str)
    frame["txid"] = np.arange(rows) + 10
    config, reasons, _ = infer_file(save(tmp_path, frame))
    contract = config.contract
    assert (contract.id, contract.timestamp, contract.amount) == ("txid", "when", "amount")
    assert contract.entities == ("nameDest",)
    assert contract.categorical == ("type",)
    assert contract.numeric == ("oldbalanceOrg", "newbalanceOrig")
    assert contract.label == "isFraud"
    assert contract.ignored == ("step", "nameOrig", "isFlaggedFraud")
    assert "'nameOrig': nearly every value comes once" in reasons["ignored"]
    assert "'isFlaggedFraud': looks like a second label beside 'isFraud'" in reasons["ignored"]


def test_creditcard_shape(tmp_path):
    rng = np.random.default_rng(0)
    rows = 4_000
    seconds = np.sort(rng.integers(0, 172_800, rows)).astype(float)
    fraud = rng.random(rows) < 0.02
    columns = {"id": np.arange(rows), "Time": seconds}
    columns |= {f"V{i}": rng.normal(size=rows) - 3 * fraud * (i == 14) for i in range(1, 29)}
    columns |= {"Amount": np.round(rng.lognormal(3, 1, rows), 2), "Class": fraud.astype(int)}
    frame = pd.DataFrame({**columns, "datetime": pd.to_datetime(START + seconds.astype(int))})
    config, _, warnings = infer_file(save(tmp_path, frame, "creditcard.parquet"))
    contract = config.contract
    assert (contract.id, contract.timestamp, contract.amount) == ("id", "datetime", "Amount")
    assert contract.numeric == tuple(f"V{i}" for i in range(1, 29))
    assert contract.label == "Class"
    assert contract.ignored == ("Time",)
    assert warnings == []  # V14 is a strong feature and no giveaway


def test_many_columns(tmp_path):
    rng = np.random.default_rng(0)
    rows = 3_000
    columns: dict[str, object] = {
        "TransactionID": np.arange(2_987_000, 2_987_000 + rows),
        "isFraud": (rng.random(rows) < 0.03).astype(int),
        "TransactionDT": 86_400 + np.arange(rows) * 50,
        "TransactionAmt": np.round(rng.lognormal(4, 1, rows), 3),
        "ProductCD": rng.choice(list("WCHRS"), rows),
        "card1": rng.integers(1000, 1400, rows),
        "card4": rng.choice(["visa", "mastercard"], rows),
        "addr1": rng.integers(0, 1500, rows),
        "P_emaildomain": rng.choice(["gmail.com", "yahoo.com", None], rows),
        "DeviceInfo": np.where(rng.random(rows) < 0.8, None, rng.choice([f"SM-{i}" for i in range(90)], rows)),
        "ts": (START + 86_400 + np.arange(rows) * 50).astype(str),
    }
    columns |= {f"V{i}": np.where(rng.random(rows) < 0.3, np.nan, rng.poisson(i % 7, rows)) for i in range(1, 340)}
    columns |= {f"M{i}": rng.choice(["T", "F", None], rows) for i in range(1, 10)}
    columns |= {f"x_{i}": rng.normal(size=rows) for i in range(141)}
    assert len(columns) == 500
    config, reasons, warnings = infer_file(save(tmp_path, pd.DataFrame(columns), "wide.parquet"))
    contract = config.contract
    assert (contract.id, contract.timestamp, contract.amount) == ("TransactionID", "ts", "TransactionAmt")
    assert contract.label == "isFraud"
    assert contract.entities == ("card1",)
    assert set(contract.categorical) == {"ProductCD", "card4", "P_emaildomain", *(f"M{i}" for i in range(1, 10))}
    # V7, V14, ... are zero or missing: not the same in every row, but nothing to tell rows apart by either.
    assert len(contract.numeric) == 480
    assert contract.ignored == ("TransactionDT", "addr1", "DeviceInfo")
    assert "'addr1': codes of many values" in reasons["ignored"]
    assert "'DeviceInfo': like an entity, but empty in" in reasons["ignored"]
    assert contract.sensitive == ("addr1", "P_emaildomain")
    assert "and 327 more: a family of numbered columns" in reasons["numeric"]
    assert warnings == []


def test_german_csv(tmp_path):
    rng = np.random.default_rng(0)
    rows = 2_000
    when = pd.to_datetime(START + np.sort(rng.integers(0, 86_400 * 40, rows)))
    fraud = rng.random(rows) < 0.05
    frame = pd.DataFrame(
        {
            "Buchungsnummer": [f"{number:08d}" for number in rng.permutation(rows)],
            "Buchungszeit": when.strftime("%d.%m.%Y %H:%M:%S"),
            "Betrag (€)": [f"{value:.2f}".replace(".", ",") for value in rng.lognormal(3, 1, rows)],
            "Kundennummer": rng.integers(10_000, 10_200, rows),
            "Händler": [f"Laden {number}" for number in rng.integers(0, 80, rows)],
            "Kanal": rng.choice(["Online", "Kasse"], rows),
            "Wochentag": when.day_of_week,
            "Karteninhaber": [f"Anna {number}" for number in range(rows)],
            "Bemerkung": [f"frei; {number}" for number in rng.integers(0, 1500, rows)],
            "Währung": "EUR",
            "leer": "",
            "Fallnummer": np.where(fraud, "F1", ""),
            "Betrug": fraud.astype(int),
        }
    )
    config, reasons, warnings = infer_file(save(tmp_path, frame, "Umsätze März.csv", sep=";"))
    contract = config.contract
    assert (config.table.delimiter, config.table.decimal) == (";", ",")
    assert config.name == "Ums-tze-M-rz"
    assert (contract.id, contract.timestamp, contract.amount) == ("Buchungsnummer", "Buchungszeit", "Betrag (€)")
    assert contract.types["Buchungsnummer"] == "text"  # leading zeros
    assert contract.entities == ("Kundennummer", "Händler")
    assert contract.categorical == ("Kanal", "Fallnummer")
    assert contract.label == "Betrug"
    assert contract.sensitive == ("Karteninhaber",)
    assert reasons["sensitive"] == "'Karteninhaber': a person's name"
    for reason in (
        "'Wochentag': is the timestamp's weekday",
        "'Karteninhaber': nearly every value comes once",
        "'Bemerkung': text of many values",
        "'Währung': the same in every row",
        "'leer': always missing",
    ):
        assert reason in reasons["ignored"]
    assert [warning.split("'")[1] for warning in warnings] == ["Fallnummer"]


# What a person says
def test_named_columns_win(tmp_path):
    frame = transactions(2_000)
    frame["Reference"] = [f"r{i}" for i in range(len(frame))]
    frame["Fee"] = np.round(frame["TX_AMOUNT"] / 50, 2)
    config, reasons, _ = infer_file(
        save(tmp_path, frame),
        id="Reference",
        amount="Fee",
        entities=["TX_FRAUD_SCENARIO"],
        categorical=["TX_TIME_DAYS"],
        sensitive=["CUSTOMER_ID"],
        name="cards",
    )
    contract = config.contract
    assert (config.name, contract.id, contract.amount) == ("cards", "Reference", "Fee")
    assert contract.entities == ("CUSTOMER_ID", "TERMINAL_ID", "TX_FRAUD_SCENARIO")
    assert contract.categorical == ("TX_TIME_DAYS",)
    assert contract.sensitive == ("CUSTOMER_ID",)
    assert {reasons[role] for role in ("id", "amount")} == {"'Reference': named by you", "'Fee': named by you"}
    assert reasons["sensitive"] == "'CUSTOMER_ID': named by you"
    assert "TX_AMOUNT" in contract.numeric


def test_an_open_table_is_taken_as_it_is(tmp_path):
    path = save(tmp_path, transactions(500), sep=";")
    settings = TableConfig(delimiter=";", time_zone="Europe/Berlin")
    config, _, _ = infer(open_table(path, settings), settings=settings)
    assert config.table == settings.model_copy(update={"path": str(path)})
    assert infer(str(path), settings=TableConfig(time_zone="Europe/Berlin"))[0] == config


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"id": "TRANSACTON_ID"}, "no column 'TRANSACTON_ID'; did you mean 'TRANSACTION_ID'"),
        ({"ignore": ["zzz"]}, "no column 'zzz'; it has TRANSACTION_ID, TX_DATETIME"),
        ({"id": "CUSTOMER_ID", "entities": ["CUSTOMER_ID"]}, "named for two roles, entities and id; keep one"),
        ({"amount": "WORDS"}, "column 'WORDS' holds text values such as 'a b' and cannot be the amount"),
        (
            {"timestamp": "WORDS"},
            "tx.parquet: column 'WORDS' holds text values such as 'a b' and cannot be the",
        ),
        ({"label": "TX_FRAUD_SCENARIO"}, "tx.parquet: column 'TX_FRAUD_SCENARIO' cannot be the label: it holds [123]"),
        ({"name": "a b"}, "tx.parquet: name = 'a b'"),
        ({"id": "scored_at"}, "tx.parquet: contract.id = 'scored_at': the scores table has a column of this name"),
    ],
)
def test_named_columns_are_checked(tmp_path, named, message):
    frame = transactions(500).assign(WORDS="a b", scored_at=np.arange(500))
    frame["TX_FRAUD_SCENARIO"] = np.arange(500) % 4
    with pytest.raises(InputError, match=message):
        infer_file(save(tmp_path, frame, "tx.parquet"), **named)


def test_an_id_that_repeats(tmp_path):
    frame = transactions(1_000)
    frame.loc[500:504, "TRANSACTION_ID"] = 7  # malformed rows do not hide the id
    config, _, warnings = infer_file(save(tmp_path, frame), ignore=["TX_FRAUD_SCENARIO"])
    assert config.contract.id == "TRANSACTION_ID"
    (warning,) = warnings
    assert warning == (
        "'TRANSACTION_ID' repeats a value in 5 of 1,000 rows; these rows will be quarantined; "
        "if that is not meant, name another column with --id"
    )
    frame["TRANSACTION_ID"] = frame["TRANSACTION_ID"] // 2
    path = save(tmp_path, frame)
    with pytest.raises(InputError, match="no column can be the id, which has another value in every row"):
        infer_file(path)
    with pytest.raises(InputError, match="of 1,000 rows, 502 repeat a value of 'TRANSACTION_ID', so that most"):
        infer_file(path, id="TRANSACTION_ID", ignore=["TX_FRAUD_SCENARIO"])


def test_a_single_row_and_rows_all_alike(tmp_path):
    frame = transactions(1)
    config, _, warnings = infer_file(save(tmp_path, frame))
    assert (config.contract.id, config.contract.timestamp) == ("TRANSACTION_ID", "TX_DATETIME")
    assert warnings == []
    with pytest.raises(InputError, match="no column can be the id"):
        infer_file(save(tmp_path, pd.concat([frame] * 50)))


def test_no_amount(tmp_path):
    frame = transactions(500).drop(columns="TX_AMOUNT")
    with pytest.raises(InputError, match=r"no column can be the amount, .*TX_FRAUD_SCENARIO .*--amount"):
        infer_file(save(tmp_path, frame))
    frame["paying"] = np.linspace(0.5, 9.7, 500) % 3
    config, reasons, _ = infer_file(save(tmp_path, frame))
    assert config.contract.amount == "paying"
    assert reasons["amount"] == "'paying': the only number with decimals"


def test_timestamps_that_count_from_1970(tmp_path):
    frame = transactions(500)
    frame["TX_DATETIME"] = frame["TX_DATETIME"].astype("datetime64[ms]").astype("int64")
    for name in ("tx.csv", "tx.parquet"):
        config, reasons, _ = infer_file(save(tmp_path, frame, name))
        assert config.contract.timestamp == "TX_DATETIME"
        assert config.table.timestamp_unit == "ms"
        assert reasons["timestamp"] == "'TX_DATETIME': counts from 1970"
        assert {"TX_TIME_SECONDS", "TX_TIME_DAYS"} <= set(config.contract.ignored)


def test_a_date_of_birth_is_not_when_it_happened(tmp_path):
    frame = transactions(500).rename(columns={"TX_DATETIME": "dob"})
    with pytest.raises(InputError, match=r"no column can be the timestamp.*dob \(timestamp\)"):
        infer_file(save(tmp_path, frame))
    assert infer_file(save(tmp_path, frame), timestamp="dob")[0].contract.timestamp == "dob"


@pytest.mark.parametrize(
    ("fraud", "normal"),
    [
        ("Yes", "No"),
        ("fraud", "legit"),
        ("t", "f"),
        ("Y", "N"),
        (2, 1),
        (1, -1),
        ("X", ""),
        ("1", None),
        (True, False),
        ("F", "L"),
    ],
)
@pytest.mark.parametrize("name", ["tx.csv", "tx.parquet"])
def test_the_label_is_never_an_input_whatever_its_spelling(tmp_path, name, fraud, normal):
    frame = transactions(2_000).drop(columns="TX_FRAUD_SCENARIO")
    frauds = frame["TX_FRAUD"] == 1
    frame["TX_FRAUD"] = [fraud if is_fraud else normal for is_fraud in frauds]
    path = save(tmp_path, frame, name)
    for named in ({}, {"label": "TX_FRAUD"}):
        config, reasons, _ = infer_file(path, **named)
        assert config.contract.label == "TX_FRAUD"
        assert "TX_FRAUD" not in config.contract.required
        assert f"{frauds.sum()} rows for fraud" in reasons["label"]
        batch = next(open_table(path, config.table).batches(5_000))
        typed, failures = parse(batch, config)
        assert typed["TX_FRAUD"].to_pylist() == frauds.astype(int).tolist()
        assert failures == {}
        (tmp_path / "assay.toml").write_text(write_config(config, reasons))
        assert read_config(tmp_path / "assay.toml").table.label_fraud == config.table.label_fraud


def test_one_stray_cell_among_all_rows_leaves_the_label_what_it_is(tmp_path):
    frame = transactions(3_000).drop(columns="TX_FRAUD_SCENARIO").astype({"TX_FRAUD": str})
    frame.loc[700, "TX_FRAUD"] = "NULL"
    config, _, warnings = infer_file(save(tmp_path, frame))
    assert config.contract.label == "TX_FRAUD"
    assert warnings == ["the label 'TX_FRAUD' holds 'NULL' in 1 row, which is read as not known yet"]
    frame.loc[700, "TX_FRAUD"] = "#"
    config, _, warnings = infer_file(save(tmp_path, frame))
    assert config.contract.label == "TX_FRAUD"
    assert "holds '#' in 1 row, which nobody understands, so that these rows will be quarantined" in warnings[0]


def test_a_column_that_speaks_of_fraud_in_unknown_words_is_left_out_and_told(tmp_path):
    frame = transactions(2_000).drop(columns=["TX_FRAUD_SCENARIO"])
    frame["TX_FRAUD"] = np.where(frame["TX_FRAUD"] == 1, "skimmed", np.where(np.arange(2_000) % 2, "fine", "seen"))
    path = save(tmp_path, frame)
    config, _, (warning,) = infer_file(path)
    assert config.contract.label is None
    assert "TX_FRAUD" in config.contract.ignored
    assert "'TX_FRAUD' is named like a label" in warning
    assert "--fraud-word" in warning
    message = "cannot be the label: it holds '(fine|seen)', and a label is 1, true, yes, .*--fraud-word"
    with pytest.raises(InputError, match=message):
        infer_file(path, label="TX_FRAUD")
    settings = TableConfig(label_fraud=["skimmed"])
    config, _, _ = infer(path, settings=settings, label="TX_FRAUD")
    assert config.table.label_normal == ("fine", "seen")
    assert infer_file(path, categorical=["TX_FRAUD"])[0].contract.categorical == ("TX_FRAUD",)


def test_a_column_whose_words_say_fraud_is_the_label_whatever_its_name(tmp_path):
    frame = transactions(2_000).drop(columns="TX_FRAUD_SCENARIO")
    frame["verdict"] = np.where(frame.pop("TX_FRAUD") == 1, "fraud", "genuine")
    frame["colour"] = np.where(np.arange(2_000) % 7, "red", "blue")
    config, reasons, _ = infer_file(save(tmp_path, frame))
    assert (config.contract.label, config.contract.categorical) == ("verdict", ("colour",))
    assert reasons["label"].endswith("its words say so")


def test_when_the_label_became_known(tmp_path):
    frame = transactions(500)
    frame["fraud_reported_at"] = frame["TX_DATETIME"] + pd.Timedelta(days=3)
    config, _, _ = infer_file(save(tmp_path, frame))
    assert config.contract.labelled_at == "fraud_reported_at"
    frame = frame.drop(columns="TX_FRAUD")
    config, _, _ = infer_file(save(tmp_path, frame))
    assert config.contract.label is None
    assert "fraud_reported_at" in config.contract.ignored


def test_roles_by_content(tmp_path):
    rng = np.random.default_rng(0)
    frame = transactions(3_000)
    frame["colour"] = rng.choice(["red", "blue"], 3_000)
    frame["flags"] = rng.integers(0, 4, 3_000)
    frame["items_count"] = rng.integers(0, 4, 3_000)
    frame["points"] = rng.integers(0, 5_000, 3_000)
    frame["partner"] = [f"P-{i:04d}" for i in rng.integers(0, 250, 3_000)]
    frame["opened"] = pd.Timestamp("2020-01-01")
    frame["on"] = rng.random(3_000) < 0.3
    config, reasons, _ = infer_file(save(tmp_path, frame, "tx.parquet"), ignore=["TX_FRAUD_SCENARIO"])
    contract = config.contract
    assert contract.categorical == ("colour", "flags", "on")
    assert contract.numeric == ("items_count", "points")
    assert contract.entities == ("CUSTOMER_ID", "TERMINAL_ID", "partner")
    assert "opened" in contract.ignored
    assert "'flags': at most 10 different whole numbers, like codes" in reasons["categorical"]
    assert "'items_count': quantities by their names" in reasons["numeric"]
    assert contract.types["flags"] == "integer"
    assert contract.types["on"] == "text"


def test_a_column_of_days_does_not_beat_the_one_that_says_the_time_too(tmp_path):
    frame = transactions(600).drop(columns=["TX_TIME_SECONDS", "TX_TIME_DAYS", "TX_FRAUD_SCENARIO"])
    frame = frame.rename(columns={"TX_DATETIME": "posted"})
    frame["transaction_date"] = frame["posted"].dt.strftime("%Y-%m-%d")
    path = save(tmp_path, frame)
    config, reasons, warnings = infer_file(path)
    assert config.contract.timestamp == "posted"
    assert warnings[0].startswith(
        "'posted' is taken for the timestamp and not 'transaction_date', which holds the same"
    )
    config, reasons, _ = infer_file(path, timestamp="transaction_date")
    assert config.contract.timestamp == "transaction_date"
    frame["posted"] += pd.Timedelta(days=90)  # another event, such as the settlement
    config, reasons, _ = infer_file(save(tmp_path, frame))
    assert config.contract.timestamp == "transaction_date"
    assert reasons["timestamp"] == "'transaction_date': holds days without a time of day"


def test_seconds_since_1970_beat_a_column_of_days(tmp_path):
    frame = transactions(600).drop(columns=["TX_TIME_SECONDS", "TX_TIME_DAYS", "TX_FRAUD_SCENARIO"])
    frame["unix_time"] = frame["TX_DATETIME"].astype("datetime64[s]").astype("int64")
    frame["TX_DATETIME"] = frame["TX_DATETIME"].dt.strftime("%Y-%m-%d")
    config, _, _ = infer_file(save(tmp_path, frame))
    assert (config.contract.timestamp, config.table.timestamp_unit) == ("unix_time", "s")


def test_a_column_named_like_the_amount_is_not_passed_over(tmp_path):
    frame = transactions(600).rename(columns={"TX_AMOUNT": "amount"})
    frame["lat"] = frame["amount"] / 7
    frame["amount"] = [f"<{value}>" for value in frame["amount"]]
    with pytest.raises(InputError, match=r"column 'amount' is named like the amount and holds '<.*>', which is no num"):
        infer_file(save(tmp_path, frame))
    frame["paid"] = 2 * frame["lat"]
    config, _, _ = infer_file(save(tmp_path, frame))
    assert config.contract.amount == "paid"


def test_the_example_of_what_cannot_be_the_amount_is_a_wrong_one(tmp_path):
    frame = transactions(600)
    frame["TX_AMOUNT"] = [f"<{value}>" if row % 10 == 9 else str(value) for row, value in enumerate(frame["TX_AMOUNT"])]
    with pytest.raises(InputError, match=r"holds text values such as '<.*>' and cannot be the amount"):
        infer_file(save(tmp_path, frame), amount="TX_AMOUNT")


def test_long_numbers_that_a_spreadsheet_cut_short_are_left_out(tmp_path):
    frame = transactions(600)
    frame["card_number"] = [f"{4.0e15 + 1.1e13 * number:.5E}" for number in frame["CUSTOMER_ID"]]
    config, reasons, warnings = infer_file(save(tmp_path, frame))
    assert "card_number" in config.contract.ignored
    assert "'card_number': long numbers whose last digits are lost" in reasons["ignored"]
    assert any("'card_number' holds long numbers in a spreadsheet's short form" in warning for warning in warnings)


def test_an_amount_that_gives_the_label_away_is_not_to_be_left_out(tmp_path):
    frame = transactions(2_000).drop(columns="TX_FRAUD_SCENARIO")
    frame["TX_AMOUNT"] = np.where(frame["TX_FRAUD"], 1.0, frame["TX_AMOUNT"] + 5)
    _, _, (warning,) = infer_file(save(tmp_path, frame))
    assert warning.startswith("'TX_AMOUNT' alone tells")
    assert warning.endswith("unless it is known when the transaction happens, name another with --amount")


def test_facts_of_the_customer_are_left_out_but_for_a_home_that_a_distance_needs(tmp_path):
    random = np.random.default_rng(5)
    frame = transactions(3_000)
    customer = frame["CUSTOMER_ID"].astype("category").cat.codes.to_numpy()
    frame["state"], frame["town_size"] = [f"state {code % 5}" for code in customer], customer * 10 % 37
    frame["lat"], frame["long"] = 40 + customer / 7, 5 + customer / 9
    frame["channel"] = random.choice(["web", "shop"], 3_000)
    home = infer_file(save(tmp_path, frame, "home.parquet"), ignore=["TX_FRAUD_SCENARIO"])[0]
    assert (home.contract.categorical, home.contract.numeric) == (("channel",), ())
    frame["shop_lat"], frame["shop_long"] = random.normal(45, 3, 3_000), random.normal(9, 3, 3_000)
    config, reasons, _ = infer_file(save(tmp_path, frame, "way.parquet"), ignore=["TX_FRAUD_SCENARIO"])
    assert config.contract.numeric == ("lat", "long", "shop_lat", "shop_long")
    assert "distance" in config.features.families
    assert "'state', 'town_size': one value for each 'CUSTOMER_ID'" in reasons["ignored"]
    named = infer_file(tmp_path / "way.parquet", ignore=["TX_FRAUD_SCENARIO"], categorical=["state"])[0]
    assert named.contract.categorical == ("state", "channel")


def test_every_family_and_the_model_for_them_are_written_unless_few_are_asked_for(tmp_path):
    path = save(tmp_path, transactions(3_000).drop(columns="TX_FRAUD_SCENARIO"))
    few, _, _ = infer_file(path, few_features=True)
    wide, reasons, _ = infer_file(path)
    assert few.model.name == "denoising"
    assert few.features.core == ()
    assert wide.model.name == "committee"
    assert wide.features.core == (*few.features.families, "seen")
    assert {"velocity", "seen", "recency", "change"} < set(wide.features.families)
    assert reasons["families"].startswith("all that hold something; core: ")
    (tmp_path / "assay.toml").write_text(write_config(wide, reasons))
    assert read_config(tmp_path / "assay.toml").features == wide.features
