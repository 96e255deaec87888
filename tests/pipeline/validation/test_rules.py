"""A table's own rules beside those of the contract, and what a wrong suite is told."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.errors import ConfigError
from pipeline.settings.config import Config
from pipeline.tables.reading import open_table
from pipeline.validation.validate import validate
from tests.pipeline.validation.batches import DAY, config, expect, quarantined, rows, run, with_suite


def test_own_rules_quarantine_and_milder_ones_only_count(tmp_path: Path) -> None:
    known = {"column": "channel", "value_set": ["web"]}
    settings = with_suite(
        tmp_path,
        expect("column_values_to_be_in_set", **known, meta={"rule": "channel: known"}),
        expect("column_values_to_be_in_set", "warning", **known),
        expect("column_values_to_match_regex", "info", column="card", regex="^c[01]$"),
        expect("column_values_to_be_null", "warning", column="channel", mostly=0.1),
    )
    found = run(tmp_path, rows(4, channel=["web", "fax", None, "web"]), settings)
    assert quarantined(found) == {1: ["channel: known"]}
    assert found.rules == {
        "channel: known": 1,
        "channel: be in set (warning)": 1,
        "card: match regex (info)": 1,
    }


def test_a_row_that_lacks_an_entity_is_quarantined_unless_the_entity_is_optional(tmp_path: Path) -> None:
    table = rows(4, card=["a", None, "b", "a"])
    assert quarantined(run(tmp_path, table, config())) == {1: ["card: not missing"]}
    contract = config().contract.model_copy(update={"optional": ("card",)})
    optional = config().model_copy(update={"contract": contract})
    assert quarantined(run(tmp_path, table, optional)) == {}
    nowhere = rows(4).set_column(rows(4).column_names.index("card"), "card", pa.nulls(4, pa.string()))
    assert quarantined(run(tmp_path, nowhere, optional)) == {}


def test_a_rule_with_a_condition_and_dates_as_text(tmp_path: Path) -> None:
    condition = {"type": "comparison", "column": {"name": "channel"}, "operator": "==", "parameter": "atm"}
    late = {"type": "comparison", "column": {"name": "at"}, "operator": ">", "parameter": "2025-03-10T13:01:00"}
    settings = with_suite(
        tmp_path,
        expect("column_values_to_be_between", column="eur", max_value=11, row_condition=condition),
        expect("column_values_to_be_between", column="at", max_value="2025-03-10T13:02:00"),
        expect("column_values_to_not_be_in_set", column="card", value_set=["c2"], row_condition=late),
    ).model_copy(update={"table": config(table={"time_zone": "Europe/Berlin"}).table})
    utc = pa.array([DAY + timedelta(minutes=i) for i in range(4)], pa.timestamp("us", "UTC"))
    found = run(tmp_path, rows(4, channel=["web", "atm", "atm", "web"], at=utc), settings)
    assert quarantined(found) == {
        2: ["eur: be between", "card: not be in set"],
        3: ["at: be between"],
    }


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        (expect("column_values_to_be_betwen", column="eur"), "did you mean 'expect_column_values_to_be_between'"),
        (expect("column_values_to_be_between", column="eur", max=3), "unknown key 'max'; did you mean 'max_value'"),
        (expect("column_values_to_be_between", column="euro", max_value=3), "no column 'euro'; did you mean 'eur'"),
        (expect("column_values_to_be_between", column="at", max_value="soon"), "'soon' is no date or time"),
        (expect("column_values_to_be_between", column="note", max_value=3), r"cannot be computed on this table"),
        (expect("query_results_to_match_comparison"), "asks a database"),
        (expect("column_values_to_be_of_type", column="eur", type_="int"), "is the contract's business"),
    ],
)
def test_errors_in_a_suite_name_their_place(tmp_path: Path, entry: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        run(tmp_path, rows(3), with_suite(tmp_path, entry))
    assert f"suite.json, expectation 1 ({entry['type']})" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_expectation_on_labels_waits_for_them(tmp_path: Path) -> None:
    settings = with_suite(tmp_path, expect("column_values_to_not_be_null", column="fraud"))
    assert run(tmp_path, rows(2).drop_columns(["fraud"]), settings).counts.accepted == 2
    assert run(tmp_path, rows(2, fraud=[0, None]), settings, "2").rules == {"fraud: not be null": 1}


def test_the_shipped_suite_runs_on_simulated_transactions(tmp_path: Path) -> None:
    from pipeline.simulation import simulate

    made = simulate(tmp_path / "tx.csv", rows=3000, days=10)
    settings = Config.model_validate(
        {
            "contract": {
                "id": "TRANSACTION_ID",
                "timestamp": "TX_DATETIME",
                "amount": "TX_AMOUNT",
                "entities": ["CUSTOMER_ID", "TERMINAL_ID"],
                "categorical": ["CHANNEL", "COUNTRY"],
                "label": "TX_FRAUD",
                "types": {"TRANSACTION_ID": "integer"},
            },
            "validation": {"suite": "expectations/demo.json"},
        }
    )
    outcomes = []
    found = validate(
        open_table(made.path, settings.table),
        settings,
        folder=tmp_path / "out",
        batch_id="b",
        docs=lambda told: outcomes.extend(told) or tmp_path / "docs",
    )
    # Every malformed row, and no other, is found.
    assert found.counts.quarantined == sum(made.malformed.values()) > 0
    assert found.docs == tmp_path / "docs"
    assert "TX_AMOUNT: usual median" in {outcome.name for outcome in outcomes}
