"""benchmarks/streams.py on a small simulated stream."""

import json
import math
import sys
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score

from benchmarks import streams
from pipeline.features import Feature
from pipeline.settings.config import Config
from pipeline.simulation import simulate
from tests import processes

ROOT = Path(__file__).parents[2]
SAID = {
    "id": "TRANSACTION_ID",
    "label": "TX_FRAUD",
    "scenario": "TX_FRAUD_SCENARIO",
    "ignored": ["TX_FRAUD_SCENARIO"],
    "cards": "CUSTOMER_ID",
    "role": "reporting",
    "train": ["2025-01-08", "2025-01-21"],
    "test": ["2025-01-29", "2025-02-09"],
}


def run(*words):
    return processes.run(sys.executable, "benchmarks/streams.py", *map(str, words), cwd=ROOT)


def write(folder, **changes):
    (folder / "small.json").write_text(json.dumps(SAID | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("streams")
    scenarios = ("amount_above_habit", "night_spending", "new_payee", "collusion")
    simulate(path / "small.parquet", rows=12_000, days=40, scenarios=scenarios, scenario_column=True)
    write(path)
    return path


def test_prints_every_model_with_intervals_beside_ours(folder, tmp_path):
    words = ("--data", folder, "--stream", "small", "--seeds", 1, "--draws", 40, "--json", tmp_path / "out.json")
    process = run(*words)
    assert process.status == 0, process
    records = json.loads((tmp_path / "out.json").read_text())
    models = {record["model"]: record for record in records if "auroc" in record}
    kinds = {"same features", "all features", "columns and hour"}
    expected = {f"{rival}, {kind}" for rival in ("isolation forest", "boosted trees (labels)") for kind in kinds}
    assert set(models) == expected | {
        "assay",
        "assay, no labels but in risks",
        "assay, ten known frauds",
        *(f"sort by {what}" for what in ("amount", "rarest category", "velocity")),
    }
    for name, record in models.items():
        assert record["average_precision_low"] <= record["average_precision"] <= record["average_precision_high"]
        ahead = models["assay"]["average_precision"] - record["average_precision"]
        assert record["assay_ahead"] == pytest.approx(ahead, abs=1e-12)
        alone = models["assay, no labels but in risks"]["average_precision"] - record["average_precision"]
        assert record["alone_ahead"] == pytest.approx(alone, abs=1e-12)
        assert f"{name} " in process.output
        assert 0.2 < record["auroc"] <= 1
    assert models["assay, ten known frauds"]["seeds"] == 10
    # The same by hand, for what needs no model.
    rows = pq.read_table(folder / "small.parquet").to_pandas().drop_duplicates("TRANSACTION_ID")
    rows = rows[rows["TX_DATETIME"].between("2025-01-29", "2025-02-09 23:59:59") & rows["CUSTOMER_ID"].notna()]
    rows = rows[np.isfinite(rows["TX_AMOUNT"]) & (rows["TX_AMOUNT"].abs() < 1e12)]
    by_amount = models["sort by amount"]
    assert (by_amount["test_rows"], by_amount["test_frauds"]) == (len(rows), rows["TX_FRAUD"].sum())
    hand = average_precision_score(rows["TX_FRAUD"], rows["TX_AMOUNT"].abs())
    assert by_amount["average_precision"] == pytest.approx(hand, abs=1e-9)
    alerts = next(record for record in records if "false_alert_rate" in record)
    assert alerts["promised"] == 0.01
    assert alerts["normal_rows"] == (rows["TX_FRAUD"] == 0).sum()
    flagged = {record["scenario"]: record["rows"] for record in records if "scenario" in record}
    assert flagged == rows["TX_FRAUD_SCENARIO"].value_counts().to_dict()
    assert "families: " in process.output
    assert "small, for reporting: train 2025-01-08 to 2025-01-21" in process.output
    means = [record for record in records if record["stream"] == "geometric mean"]
    assert means[0]["average_precision"] == pytest.approx(models["assay"]["average_precision"])


def test_names_the_stream_that_is_not_there(folder, tmp_path):
    assert f"{folder} has no stream 'large'; it has small" in run("--data", folder, "--stream", "large").errors
    assert "no NAME.parquet with a NAME.json beside it; it has none" in run("--data", tmp_path).errors


def test_says_what_a_description_lacks(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "small.parquet")
    write(tmp_path, test=["2025-02-30", "2025-03-01"])
    assert "small.json is no description of a stream" in run("--data", tmp_path).errors


def test_all_features_are_those_of_every_family_that_has_some():
    contract = {"id": "tx", "timestamp": "at", "amount": "eur", "entities": ["card"], "label": "fraud"}
    config = streams.all_families(Config.model_validate({"contract": contract}))
    families = set(config.features.families)
    assert {"amount", "calendar", "change", "velocity", "risk"} <= families
    assert families.isdisjoint({"columns", "peers", *streams.SLOW})


def test_numbers_are_scaled_as_the_encoder_does_and_categories_coded_by_how_frequent_they_are():
    features = [
        Feature("eur", "number", "log", "eur", ""),
        Feature("hour", "number", "cycle", "hour", "", period=24.0),
        Feature("shop", "category", "linear", "shop", ""),
    ]
    train = pa.table({"eur": [math.e - 1, -(math.e - 1)], "hour": [6.0, None], "shop": ["a", "a"]})
    test = pa.table({"eur": [0.0], "hour": [12.0], "shop": ["b"]})
    of_train, of_test, codes = streams.matrices(streams.Part(train, test, features))
    np.testing.assert_allclose(of_train, [[1, 1, 0, 0], [-1, np.nan, np.nan, 0]], atol=1e-12)
    np.testing.assert_allclose(of_test, [[0, 0, -1, 1]], atol=1e-12)
    assert codes == [3]


def test_columns_as_they_are_hold_nothing_that_looks_back_and_nothing_that_gives_the_label_away():
    contract = {"id": "tx", "timestamp": "at", "amount": "eur", "entities": ["card"], "label": "fraud"}
    config = Config.model_validate({"contract": contract})
    days = (date(2026, 1, 1), date(2026, 1, 2))
    stream = streams.Stream("a", Path("a"), id="tx", label="fraud", train=days, test=days, ignored=("how",))
    columns = {"tx": [1], "at": [datetime(2026, 1, 1, 13, 30)], "eur": [5.0], "card": ["c"], "fraud": [0], "how": ["x"]}
    columns |= {"shop": ["s"], "note": [7]}
    table = pa.table({**columns, "card: usual eur": [4.0], "card: transactions in 7 days": [2.0]})
    part = streams.raw_columns(streams.Part(table, table, []), stream, config, list(columns))
    assert [(feature.name, feature.kind) for feature in part.features] == [
        ("hour of day", "number"),
        ("eur", "number"),
        ("shop", "category"),
        ("note", "number"),
    ]
    assert part.test.to_pydict() == {"eur": [5.0], "shop": ["s"], "note": [7], "hour of day": [13.5]}


def test_the_rarest_category_is_a_value_that_the_training_days_lack():
    features = [Feature(name, "category", "linear", name, "") for name in ("shop", "kind")]
    train = pa.table({"shop": ["a", "a", "a", "b"], "kind": ["x", "x", "x", "x"]})
    test = pa.table({"shop": ["a", "b", "c"], "kind": ["x", "x", "x"]})
    rarity = streams.rarest_category(streams.Part(train, test, features))
    np.testing.assert_allclose(rarity, -np.log([0.75, 0.25, 0.125]))
    assert streams.rarest_category(streams.Part(train, test, [])) is None


def test_geometric_means_are_over_the_streams_that_a_model_scored():
    records = [
        {"stream": "a", "model": "one", "average_precision": 0.4},
        {"stream": "b", "model": "one", "average_precision": 0.9},
        {"stream": "b", "model": "two", "average_precision": 0.3},
    ]
    means = pd.DataFrame(streams.geometric_means(records)).set_index("model")
    assert means["average_precision"].to_dict() == pytest.approx({"one": 0.6, "two": 0.3})
    assert means["streams"].to_dict() == {"one": 2, "two": 1}
