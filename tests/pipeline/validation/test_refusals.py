"""When a batch is refused as a whole, and what it says."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import BatchRefused
from pipeline.settings.config import Config, TableConfig
from pipeline.tables.period import Period
from pipeline.tables.reading import open_table
from pipeline.validation.refusals import check_names
from tests.pipeline.validation.batches import (
    DAY,
    GOOD,
    HEADER,
    config,
    quarantined,
    refused,
    rows,
    run,
)


def test_all_rows_outside_the_period(tmp_path: Path) -> None:
    with pytest.raises(BatchRefused, match="no row of 3 lies in the period asked for, 2024-01-01 00:00 to 2024-02-01"):
        run(tmp_path, rows(3), period=Period(datetime(2024, 1, 1), datetime(2024, 2, 1)))


def test_rows_without_a_time_are_held_against_the_whole_table_when_a_period_is_asked_for(tmp_path: Path) -> None:
    times = [datetime(2025, 1, 1)] * 94 + [datetime(2025, 2, 1)] * 2 + [None] * 4
    february = Period(datetime(2025, 2, 1), datetime(2025, 3, 1))
    found = run(tmp_path, rows(100, at=times), config(validation={"max_rejected": 0.05}), period=february)
    assert (found.counts.accepted, found.counts.quarantined, found.counts.outside) == (2, 4, 94)
    with pytest.raises(BatchRefused, match=r"4 of 100 rows \(4 %\) break a rule"):
        run(tmp_path, rows(100, at=times), config(validation={"max_rejected": 0.03}), period=february)


def test_too_many_rejected_rows(tmp_path: Path) -> None:
    settings = config(validation={"max_rejected": 0.05})
    table = rows(100, eur=[-1.0] * 5 + [1.0] * 95)
    assert run(tmp_path, table, settings, "_just").counts.quarantined == 5
    with pytest.raises(BatchRefused) as caught:
        run(tmp_path, rows(100, eur=[1.0] * 90 + [-1.0] * 5 + [1e300] + [1.0] * 4), settings)
    assert caught.value.read == 100
    assert not (tmp_path / "out").exists()
    message = str(caught.value)
    assert "6 of 100 rows (6 %) break a rule, more than max_rejected = 5 %" in message
    assert "eur: not negative (5 rows, e.g. '-1' in in.parquet, source_row 90)" in message
    assert "eur: not beyond max_amount (1 rows, e.g. '1e+300' in in.parquet, source_row 95)" in message
    assert message.endswith(
        "mend the table, set [validation] negative_amounts = true where refunds are meant, "
        "or raise [validation] max_rejected"
    )
    with pytest.raises(BatchRefused, match=r"mend the table, or raise \[validation\] max_rejected$"):
        run(tmp_path, rows(10, eur=[1e300] * 2 + [1.0] * 8), settings, "_huge")


def test_a_batch_of_rows_scored_before_is_told_how_to_replace_them(tmp_path: Path) -> None:
    settings = config(validation={"max_rejected": 0.05})
    pq.write_table(pa.table({"tx": rows(10)["tx"]}), tmp_path / "scores.parquet")
    with pytest.raises(BatchRefused, match="under the name of the file scored before, whose rows it then replaces"):
        run(tmp_path, rows(10), settings, elsewhere=[tmp_path / "scores.parquet"])


def test_rows_outside_the_period_do_not_dilute_the_rejected_share(tmp_path: Path) -> None:
    at = [DAY - timedelta(days=300)] * 98 + [DAY, DAY]
    table = rows(100, at=at, eur=[1.0] * 99 + [-1.0])
    settings = config(validation={"max_rejected": 0.05})
    refused(tmp_path, table, r"1 of 2 rows \(50 %\)", settings, period=Period(DAY, None))


def test_broken_lines_alone_refuse_a_batch(tmp_path: Path) -> None:
    good = ",".join(GOOD.values())
    text = f"{HEADER}{good}\nonly,three,cells\n"
    match = r"csv line: has as many cells as the header \(1 rows, e.g. in in.csv, source_row 1\)"
    refused(tmp_path, text, match, config(validation={"max_rejected": 0.05}))


def test_a_missing_or_renamed_column(tmp_path: Path) -> None:
    refused(tmp_path, rows(2).rename_columns({"eur": "amount"}), r"missing: eur; not in the contract: amount")


def test_columns_of_the_wrong_type(tmp_path: Path) -> None:
    refused(tmp_path, rows(2, at=[True, False]), r"column 'at' is of type bool")
    message = refused(tmp_path, rows(3, eur=["ten", None, "five"]), "wrong type")
    assert "column 'eur' is of the wrong type: none of its 2 values is a number, e.g. 'ten' in in.parquet" in message
    words = "1, true, yes, y or fraud for fraud, 0, false, no, n or legit for none, or empty"
    message = (
        rf"none of its 2 values is {words}, e.g. 'red' .*; mend the cells, or name their words in \[table\] label_fraud"
    )
    refused(tmp_path, rows(2, fraud=["red", "blue"]), message)
    refused(tmp_path, rows(2, at=["x", "y"]), r"none of its 2 values is a timestamp .write it as")


def test_a_few_wrong_cells_of_a_mostly_empty_column_are_the_rows_fault(tmp_path: Path) -> None:
    found = run(tmp_path, rows(40, fraud=[None] * 39 + ["red"]), config(validation={"max_rejected": 0.05}))
    assert quarantined(found) == {39: ["fraud: says fraud or not"]}


@pytest.mark.parametrize("column", ["tx", "at", "eur", "card"])
def test_an_all_missing_column_that_is_needed(tmp_path: Path, column: str) -> None:
    refused(tmp_path, rows(3, **{column: [None] * 3}), f"column '{column}' is empty in all 3 rows")


def test_sensitive_values_stand_in_no_message(tmp_path: Path) -> None:
    settings = config(
        contract={"sensitive": ["tx", "eur", "note"], "ignored": ["note"]},
        validation={"max_rejected": 0.05, "suite": str(tmp_path / "suite.json")},
    )
    bad = {"type": "expect_column_values_to_not_match_regex", "kwargs": {"column": "note", "regex": "secret"}}
    mean = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "eur", "max_value": 2}}
    (tmp_path / "suite.json").write_text(json.dumps({"name": "s", "expectations": [bad, mean]}))
    table = rows(3, eur=["hush4711", "-4712.5", "1"], note=["n", "secret4713", "n"], tx=["id4714", "id4714", "x"])
    message = refused(tmp_path, table, "••• in in.parquet", settings)
    assert not any(part in message for part in ("4711", "4712", "4713", "4714"))
    observed = refused(tmp_path, rows(2, eur=[4715.0, 4715.0]), "observed •••", settings)
    assert "4715" not in observed


def test_the_outcomes_of_a_refused_batch_are_told_once_its_rows_were_judged(tmp_path: Path) -> None:
    told = []

    def docs(outcomes):
        told.append({outcome.name: outcome.broken for outcome in outcomes})
        return tmp_path / "page.html"

    settings = config(validation={"max_rejected": 0.5})
    refused(tmp_path, rows(3, eur=[-1.0, -1.0, 1.0]), "2 of 3 rows", settings, docs=docs)
    assert [outcomes["eur: not negative"] for outcomes in told] == [2]
    refused(tmp_path, rows(2, at=[True, False]), "is of type bool", docs=docs)
    assert len(told) == 1
    assert run(tmp_path, rows(3), docs=docs).docs == tmp_path / "page.html"
    assert told[1]["eur: not negative"] == 0


def test_a_second_column_of_a_name_that_the_contract_means_one_of(tmp_path):
    path = tmp_path / "tx.csv"
    path.write_text("tx,at,eur,eur\n1,2025-03-01,5,7\n")
    table = open_table(path, TableConfig())
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    with pytest.raises(BatchRefused, match=r"two columns named 'eur'; .* which is called 'eur_2', into \[contract\]"):
        check_names(table, Config.model_validate({"contract": contract}))
    check_names(table, Config.model_validate({"contract": {**contract, "ignored": ["eur_2"]}}))
