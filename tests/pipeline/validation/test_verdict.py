"""What follows for the batch as a whole: copies of ids, rules across rows, rules about the table."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import BatchRefused
from pipeline.tables.period import Period
from pipeline.tables.reading import open_table
from pipeline.validation.validate import validate
from tests.pipeline.validation.batches import (
    DAY,
    NOW,
    adds_up,
    config,
    expect,
    quarantined,
    refused,
    rows,
    run,
    with_suite,
)


@pytest.mark.parametrize("ids", [["a", "b", "a", "c", "a", "b"], [1, 2, 1, 3, 1, 2]])
@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_the_first_copy_of_an_id_is_kept(tmp_path: Path, ids: list[Any], batch_rows: int) -> None:
    kind = "integer" if isinstance(ids[0], int) else "text"
    settings = config(contract={"types": {"tx": kind}}, validation={"batch_rows": batch_rows})
    found = run(tmp_path, rows(6, tx=ids), settings)
    assert quarantined(found) == {2: ["tx: unique"], 4: ["tx: unique"], 5: ["tx: unique"]}
    assert found.rules == {"tx: unique": 3}
    assert pq.read_table(found.accepted)["eur"].to_pylist() == [10.0, 11.0, 13.0]


def test_a_corrected_copy_replaces_a_broken_one(tmp_path: Path) -> None:
    found = run(tmp_path, rows(3, tx=["a", "a", "a"], eur=[-1.0, 2.0, 3.0]))
    assert quarantined(found) == {0: ["eur: not negative"], 2: ["tx: unique"]}


def test_duplicates_across_files_and_the_lookback(tmp_path: Path) -> None:
    folder = tmp_path / "in[*]"  # a name that a database would take for a pattern
    folder.mkdir()
    start = datetime(2025, 3, 1)
    old = [start - timedelta(days=1)] * 2
    pq.write_table(rows(2, at=old, tx=["a", "b"]), folder / "1.parquet")
    pq.write_table(rows(2, at=[start] * 2, tx=["a", "c"]), folder / "2.parquet")
    pq.write_table(rows(2, at=[start, old[0]], tx=["c", "c"]), folder / "3.parquet")
    settings = config()
    found = validate(
        open_table(folder, settings.table),
        settings,
        folder=folder / "out[1]",
        batch_id="b",
        period=Period(start, None),
        now=NOW,
    )
    table = pq.read_table(found.quarantine)
    assert list(zip(table["source_file"].to_pylist(), table["source_row"].to_pylist(), strict=True)) == [
        ("2.parquet", 0),
        ("3.parquet", 0),
    ]
    assert pq.read_table(found.accepted)["tx"].to_pylist() == ["c"]
    assert pq.read_table(found.lookback)["tx"].to_pylist() == ["a", "b"]
    adds_up(found)


def test_ids_of_earlier_batches(tmp_path: Path) -> None:
    start = datetime(2025, 3, 1)
    at = [start - timedelta(days=1), start, start, start]
    earlier = [tmp_path / "one.parquet", tmp_path / "two.parquet", tmp_path / "other.parquet"]
    pq.write_table(pa.table({"tx": ["7", "8"], "anomaly_score": [1.0, 2.0]}), earlier[0])
    pq.write_table(pa.table({"tx": [9]}), earlier[1])  # of a time when ids were numbers
    pq.write_table(pa.table({"id": ["10"]}), earlier[2])  # of another contract
    table = rows(4, at=at, tx=["7", "8", "9", "10"])
    found = run(tmp_path, table, elsewhere=earlier, period=Period(start, None))
    rule = "tx: not scored in an earlier batch"
    assert quarantined(found) == {1: [rule], 2: [rule]}
    assert pq.read_table(found.lookback)["tx"].to_pylist() == ["7"]  # scored before, and good to look back to
    found = run(
        tmp_path,
        rows(4, at=at, tx=[7, 8, 9, 10]),
        config(contract={"types": {"tx": "integer"}}),
        elsewhere=earlier[1:],
        suffix="2",
    )
    assert quarantined(found) == {2: [rule]}


def test_mostly_is_judged_over_the_whole_table(tmp_path: Path) -> None:
    entry = expect("column_values_to_be_between", column="eur", max_value=5, mostly=0.8)
    # Two of ten break it; with batches of five, one batch has none of them and the other too many.
    held = rows(10, eur=[1.0] * 8 + [9.0] * 2)
    broken = rows(10, eur=[1.0] * 7 + [9.0] * 3)
    for batch_rows in (5, 10):
        settings = with_suite(tmp_path, entry, batch_rows=batch_rows)
        assert run(tmp_path, held, settings, f"_held{batch_rows}").counts.quarantined == 0
        rule = ["eur: be between"]
        assert quarantined(run(tmp_path, broken, settings, f"{batch_rows}")) == {7: rule, 8: rule, 9: rule}


def test_rules_that_look_across_rows_see_all_rows(tmp_path: Path) -> None:
    settings = with_suite(
        tmp_path,
        expect("column_values_to_be_unique", column="note"),
        expect("compound_columns_to_be_unique", column_list=["card", "channel"], severity="warning"),
        batch_rows=2,
    )
    table = rows(6, note=["a", "b", "a", "c", "d", "d"], eur=[1.0, 1.0, 1.0, 1.0, 1.0, -1.0])
    found = run(tmp_path, table, settings)
    # Row 5 was rejected before, so its copy, row 4, is the only one left.
    assert quarantined(found) == {0: ["note: be unique"], 2: ["note: be unique"], 5: ["eur: not negative"]}
    assert found.rules["card, channel: columns to be unique (warning)"] == 4


def test_a_broken_rule_about_the_whole_table_refuses_the_batch(tmp_path: Path) -> None:
    table = rows(4, eur=[10.0, 20.0, 30.0, -1.0])
    mean = {"kind": "column_mean_to_be_between", "column": "eur", "min_value": 19.9, "max_value": 20.1}
    count = {"kind": "table_row_count_to_be_between", "min_value": 3, "max_value": 3}
    names = {"kind": "table_columns_to_match_set", "column_set": table.column_names}
    there = {"kind": "column_to_exist", "column": "note"}
    columns = {"kind": "table_column_count_to_equal", "value": 8}
    quantile = {
        "kind": "column_quantile_values_to_be_between",
        "column": "eur",
        "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[20, 20]]},
    }
    # All hold on the accepted rows, whatever the batch size; a mean of the two batches' means would be 22.5.
    entries = [expect(**entry) for entry in (mean, count, names, there, columns, quantile)]
    assert run(tmp_path, table, with_suite(tmp_path, *entries, batch_rows=2), "1").counts.accepted == 3
    settings = with_suite(tmp_path, expect(**{**mean, "max_value": 19.95}), batch_rows=2)
    match = r"'eur: mean to be between' does not hold for the 3 accepted rows, wanted min_value 19.9, max_value 19.95"
    message = refused(tmp_path, table, match, settings)
    assert "observed 20.0" in message
    assert "suite.json, expectation 1" in message
    mild = with_suite(tmp_path, expect(**{**count, "max_value": 2, "min_value": 1}, severity="warning"))
    assert run(tmp_path, table, mild, "3").rules["table: row count to be between (warning)"] == 1


def again(tmp_path, table, **options):
    """Validate a table whose first 20 rows were scored before, and stored as `rows` makes them."""
    before = rows(20)
    pq.write_table(before.select(["tx"]), tmp_path / "scores.parquet")
    pq.write_table(before.select(["tx", "at", "eur", "card"]), tmp_path / "stored.parquet")
    spans = []

    def stored(start, end):
        spans.append((start, end))
        return [tmp_path / "stored.parquet"]

    settings = config(validation={"max_rejected": 0.05})
    return run(tmp_path, table, settings, elsewhere=[tmp_path / "scores.parquet"], stored=stored, **options), spans


def test_rows_that_were_delivered_before_are_counted_as_that_and_not_as_broken(tmp_path):
    validated, spans = again(tmp_path, rows(30))
    assert (validated.counts.accepted, validated.counts.quarantined) == (10, 20)
    assert validated.rules == {"tx: not delivered before": 20}
    assert spans == [(DAY, DAY + timedelta(minutes=19, microseconds=1))]


@pytest.mark.parametrize(("column", "change"), [("eur", 0.5), ("at", timedelta(seconds=1))])
def test_an_id_that_comes_again_with_other_values_is_broken(tmp_path, column, change):
    values = [value + change if row < 20 else value for row, value in enumerate(rows(30)[column].to_pylist())]
    with pytest.raises(
        BatchRefused, match=r"20 of 30 rows \(66.7 %\) break a rule.*tx: not scored in an earlier batch"
    ):
        again(tmp_path, rows(30, **{column: values}))


def test_rows_delivered_before_do_not_hide_how_many_of_the_others_are_broken(tmp_path):
    amounts = [-1.0 if row == 29 else 10.0 + row for row in range(30)]
    with pytest.raises(BatchRefused, match=r"1 of 10 rows \(10 %\) break a rule.*eur: not negative"):
        again(tmp_path, rows(30, eur=amounts))


def test_a_table_of_which_all_was_delivered_before_says_so(tmp_path):
    with pytest.raises(BatchRefused, match="all 20 rows in the period were delivered before, as they are"):
        again(tmp_path, rows(20))
