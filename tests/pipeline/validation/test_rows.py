"""The reading of rows: what each rule lets through and what it rejects, one row at a time."""

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.tables.period import Period
from tests.pipeline.validation.batches import DAY, GOOD, HEADER, NOW, adds_up, config, quarantined, rows, run


@pytest.mark.parametrize(
    ("column", "cell", "broken"),
    [
        ("tx", "", ["tx: not missing"]),
        ("tx", "a", ["tx: unique"]),
        ("at", "", ["at: not missing"]),
        ("at", "yesterday", ["at: is a timestamp"]),
        ("at", "1900-01-01", ["at: plausible"]),
        ("at", "2999-01-01", ["at: plausible"]),
        ("at", "2025-06-02 00:00:01", ["at: plausible"]),
        ("eur", "", ["eur: not missing"]),
        ("eur", "NaN", ["eur: not missing"]),
        ("eur", "ten", ["eur: is a number"]),
        ("eur", "inf", ["eur: finite", "eur: not beyond max_amount"]),
        ("eur", "-inf", ["eur: finite", "eur: not beyond max_amount", "eur: not negative"]),
        ("eur", "-0.01", ["eur: not negative"]),
        ("eur", "1e300", ["eur: not beyond max_amount"]),
        ("card", "", ["card: not missing"]),
        ("score", "high", ["score: is a number"]),
        ("score", "inf", ["score: finite"]),
        ("fraud", "2", ["fraud: says fraud or not"]),
        ("fraud", "maybe", ["fraud: says fraud or not"]),
    ],
)
def test_a_broken_row_is_quarantined_with_its_rules(tmp_path: Path, column: str, cell: str, broken: list[str]) -> None:
    bad = {**GOOD, "tx": "b", column: cell}
    third = {**GOOD, "tx": "c"}
    lines = "".join(",".join(row.values()) + "\n" for row in (GOOD, bad, third))
    found = run(tmp_path, HEADER + lines)
    assert {row: sorted(rules) for row, rules in quarantined(found).items()} == {1: sorted(broken)}
    assert found.rules == dict.fromkeys(found.rules, 1)
    assert sorted(found.rules) == sorted(broken)
    assert pq.read_table(found.accepted)["tx"].to_pylist() == ["a", "c"]
    [row] = pq.read_table(found.quarantine).to_pylist()
    assert row[column] == (cell or None)
    assert (row["source_file"], row["batch_id"], row["line"]) == ("in.csv", "b1", None)
    adds_up(found)


@pytest.mark.parametrize(
    ("column", "cell"),
    [("fraud", ""), ("channel", ""), ("channel", "never seen"), ("score", ""), ("eur", "0"), ("at", "2000-01-01")],
)
def test_what_is_allowed(tmp_path: Path, column: str, cell: str) -> None:
    lines = ",".join(GOOD.values()) + "\n" + ",".join({**GOOD, "tx": "b", column: cell}.values()) + "\n"
    assert run(tmp_path, HEADER + lines).counts.accepted == 2


def test_settings_move_the_bounds(tmp_path: Path) -> None:
    table = rows(3, eur=[-5.0, 5.0, 50.0], at=[datetime(1990, 1, 1), DAY, NOW + timedelta(days=6)])
    allowed = {"negative_amounts": True, "earliest": date(1980, 1, 1), "latest_days_ahead": 7, "max_amount": 49}
    assert quarantined(run(tmp_path, table, config(validation=allowed))) == {2: ["eur: not beyond max_amount"]}


def test_a_csv_line_with_another_number_of_cells(tmp_path: Path) -> None:
    good = ",".join(GOOD.values())
    found = run(tmp_path, f"{HEADER}{good}\nb,2025-03-10\n{good.replace('a,', 'c,', 1)}\n{good},7,8\n")
    table = pq.read_table(found.quarantine)
    assert table["line"].to_pylist() == ["b,2025-03-10", f"{good},7,8"]
    assert table["source_row"].to_pylist() == [1, 3]
    assert found.rules == {"csv line: has as many cells as the header": 2}
    assert table["tx"].to_pylist() == [None, None]
    adds_up(found)


def test_accepted_rows_are_typed_and_carry_all_columns(tmp_path: Path) -> None:
    settings = config(contract={"types": {"card": "integer"}})
    lines = ",".join({**GOOD, "card": "12345678901234567"}.values()) + ",kept\n"
    found = run(tmp_path, HEADER.replace("\n", ",extra\n") + lines, settings)
    table = pq.read_table(found.accepted)
    assert table.schema.field("at").type == pa.timestamp("us")
    assert table["card"].to_pylist() == [12345678901234567]
    assert table["extra"].to_pylist() == ["kept"]
    assert table.column_names == [*HEADER.strip().split(","), "extra"]


def test_mixed_types_in_a_column(tmp_path: Path) -> None:
    found = run(tmp_path, rows(4, eur=["1.5", "abc", "", "1e2"]))
    assert quarantined(found) == {1: ["eur: is a number"], 2: ["eur: not missing"]}
    assert pq.read_table(found.accepted)["eur"].to_pylist() == [1.5, 100.0]


def test_timestamps_in_a_time_zone(tmp_path: Path) -> None:
    settings = config(table={"time_zone": "America/New_York"}, validation={"latest_days_ahead": 0})
    header, rest = "tx,at,eur,card,channel,score,fraud\n", "5,c,web,1,0\n"
    cells = ["2025-05-31 19:59:59", "2025-05-31 20:00:01", "2025-06-01T01:00:00+02:00", "2025-06-01T00:00:01Z"]
    found = run(tmp_path, header + "".join(f"t{i},{cell},{rest}" for i, cell in enumerate(cells)), settings)
    assert quarantined(found) == {1: ["at: plausible"], 3: ["at: plausible"]}
    moments = pq.read_table(found.accepted)["at"].to_pylist()
    assert moments == [datetime(2025, 5, 31, 23, 59, 59), datetime(2025, 5, 31, 23)]
    # The first plausible day begins in that zone too.
    early = run(tmp_path, header + f"a,2000-01-01 00:00,{rest}b,1999-12-31 23:59,{rest}", settings, suffix="2")
    assert quarantined(early) == {1: ["at: plausible"]}


def test_period_and_lookback(tmp_path: Path) -> None:
    window = config().features.max_window_days
    days = [-window - 1, -window, -window + 1, -1, 0, 6, 7, 8, None]
    start = datetime(2025, 3, 1)
    at = [None if day is None else start + timedelta(days=day) for day in days]
    table = rows(9, at=at, eur=[1.0, 1.0, 1.0, -1.0, 1.0, -1.0, -1.0, 1.0, 1.0])
    period = Period(start, start + timedelta(days=7))
    found = run(tmp_path, table, period=period)
    assert pq.read_table(found.accepted)["tx"].to_pylist() == ["t4"]
    # Row 3 is inside the lookback and broken: left out, and counted as outside.
    assert pq.read_table(found.lookback)["tx"].to_pylist() == ["t1", "t2"]
    assert quarantined(found) == {5: ["eur: not negative"], 8: ["at: not missing"]}
    assert (found.counts.read, found.counts.outside) == (9, 6)
    assert found.rules == {"eur: not negative": 1, "at: not missing": 1}
    adds_up(found)
    # An implausible timestamp is quarantined whatever the period.
    far = run(tmp_path, rows(2, at=[datetime(1900, 1, 1), start]), period=period, suffix="2")
    assert quarantined(far) == {0: ["at: plausible"]}


@pytest.mark.parametrize("column", ["channel", "score", "fraud"])
def test_an_all_missing_column_that_is_not_needed(tmp_path: Path, column: str) -> None:
    assert run(tmp_path, rows(3, **{column: [None] * 3})).counts.accepted == 3


def test_tables_without_labels(tmp_path: Path) -> None:
    assert run(tmp_path, rows(3).drop_columns(["fraud"])).counts.accepted == 3


def test_500_columns(tmp_path: Path) -> None:
    table = rows(3)
    for i in range(500):
        table = table.append_column(f"x{i}", pa.array([1.0, 2.0, None]))
    settings = config(contract={"numeric": ["score", *(f"x{i}" for i in range(250))]})
    found = run(
        tmp_path, table.set_column(table.schema.get_field_index("x9"), "x9", pa.array([1.0, np.inf, 1.0])), settings
    )
    assert quarantined(found) == {1: ["x9: finite"]}
    assert pq.read_schema(found.accepted).names == table.column_names
