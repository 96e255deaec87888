"""Validation: what is accepted, what is quarantined and why, and when a whole batch is refused."""

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipeline.errors import BatchRefused, ConfigError, InputError
from pipeline.settings.config import Config
from pipeline.tables.period import Period
from pipeline.tables.reading import open_table
from pipeline.validation.validate import Validated, validate

NOW = datetime(2025, 6, 1)
DAY = datetime(2025, 3, 10, 12)


def config(**sections: Any) -> Config:
    contract = {
        "id": "tx",
        "timestamp": "at",
        "amount": "eur",
        "entities": ["card"],
        "categorical": ["channel"],
        "numeric": ["score"],
        "label": "fraud",
        **sections.pop("contract", {}),
    }
    sections.setdefault("validation", {}).setdefault("max_rejected", 1.0)
    return Config.model_validate({"contract": contract, **sections})


def rows(count: int, **columns: list[Any]) -> pa.Table:
    """Rows that pass every rule, but for the columns given."""
    good: dict[str, list[Any]] = {
        "tx": [f"t{i}" for i in range(count)],
        "at": [DAY + timedelta(minutes=i) for i in range(count)],
        "eur": [10.0 + i for i in range(count)],
        "card": [f"c{i % 3}" for i in range(count)],
        "channel": ["web"] * count,
        "score": [0.5] * count,
        "fraud": [0] * count,
        "note": ["n"] * count,
    }
    return pa.table({**good, **columns})


def run(
    tmp_path: Path, table: pa.Table | str, settings: Config | None = None, suffix: str = "", **kwargs: Any
) -> Validated:
    if isinstance(table, str):
        path = tmp_path / f"in{suffix}.csv"
        path.write_text(table, encoding="utf-8")
    else:
        path = tmp_path / f"in{suffix}.parquet"
        pq.write_table(table, path)
    settings = settings or config()
    kwargs.setdefault("now", NOW)
    folder = kwargs.pop("folder", tmp_path / f"out{suffix}")
    return validate(open_table(path, settings.table), settings, folder=folder, batch_id="b1", **kwargs)


def quarantined(found: Validated) -> dict[int, list[str]]:
    table = pq.read_table(found.quarantine)
    return dict(zip(table["source_row"].to_pylist(), table["rules"].to_pylist(), strict=True))


def adds_up(found: Validated) -> None:
    counts = found.counts
    assert counts.read == counts.accepted + counts.quarantined + counts.outside + counts.refused
    assert pq.read_metadata(found.accepted).num_rows == counts.accepted
    assert pq.read_metadata(found.quarantine).num_rows == counts.quarantined


# One row that passes and one that fails, for every rule about a row. CSV can hold everything.
HEADER = "tx,at,eur,card,channel,score,fraud\n"
GOOD = {"tx": "a", "at": "2025-03-10 12:00:00", "eur": "5", "card": "c", "channel": "web", "score": "1", "fraud": "0"}


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
        ("fraud", "2", ["fraud: is 0 or 1"]),
        ("fraud", "maybe", ["fraud: is 0 or 1"]),
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


def test_a_column_named_like_one_of_the_quarantine(tmp_path: Path) -> None:
    found = run(tmp_path, rows(2, eur=[1.0, -1.0]).append_column("rules", pa.array([["x"], ["y"]])))
    [row] = pq.read_table(found.quarantine).to_pylist()
    assert row["rules"] == ["eur: not negative"]
    assert row["rules (as delivered)"] == "['y']"
    assert pq.read_table(found.accepted)["rules"].to_pylist() == [["x"]]


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


@pytest.mark.parametrize("csv", [False, True])
def test_the_batch_size_changes_nothing(tmp_path: Path, csv: bool) -> None:
    random = np.random.default_rng(4)
    count = 40
    suite = [
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "channel", "value_set": ["web", "pos"]}},
        {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "card", "regex": "^[0-4]$"}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "eur", "max_value": 60, "mostly": 0.9}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "eur", "max_value": 95, "mostly": 0.9}},
        {"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["eur", "card"]}},
        {"type": "expect_column_value_z_scores_to_be_less_than", "kwargs": {"column": "score", "threshold": 2,
                                                                           "double_sided": True}},
    ]  # fmt: skip
    (tmp_path / "suite.json").write_text(json.dumps({"name": "s", "expectations": suite}))
    table = pa.table(
        {
            "tx": [str(i) for i in random.integers(0, 35, count)],
            "at": [str(DAY + timedelta(days=int(i))) for i in random.integers(-15, 35, count)],
            "eur": [random.choice(["x", "", "-1", "5", str(2 * i)], p=[0.05, 0.05, 0.1, 0.2, 0.6])
                    for i in range(count)],
            "card": [random.choice(["", "0", "3", "7"], p=[0.1, 0.5, 0.2, 0.2]) for _ in range(count)],
            "channel": [random.choice(["web", "pos", "?"], p=[0.5, 0.4, 0.1]) for _ in range(count)],
            "score": [str(value) for value in random.normal(size=count)],
            "fraud": [random.choice(["0", "1", "", "2"], p=[0.6, 0.2, 0.15, 0.05]) for _ in range(count)],
        }
    )  # fmt: skip
    source: pa.Table | str = table
    if csv:
        lines = [",".join(row.values()) for row in table.to_pylist()]
        lines[20] += ",1"
        lines[30] = "broken"
        source = HEADER + "\n".join(lines) + "\n"
    outcomes = []
    for batch_rows in (2, 1000) if csv else (1, 7, 1000):
        settings = config(
            contract={"types": {"card": "integer"}},
            validation={"batch_rows": batch_rows, "suite": str(tmp_path / "suite.json")},
        )
        found = run(tmp_path, source, settings, f"_{batch_rows}", period=Period(DAY, DAY + timedelta(days=30)))
        adds_up(found)
        tables = [pq.read_table(path) for path in (found.accepted, found.lookback, found.quarantine)]
        tables[2] = tables[2].drop_columns(["source_file"])
        outcomes.append((*tables, found.counts, found.rules))
    assert all(outcome == outcomes[0] for outcome in outcomes[1:])
    counts, rules = outcomes[0][3:]
    assert min(counts.accepted, counts.quarantined, counts.outside) > 0
    looked_for = {"tx: unique", "card: not missing", "card: match regex", "channel: be in set", "eur: be between"}
    assert looked_for <= set(rules)
    assert "eur: be between (2)" not in rules  # enough rows satisfy it


# --- refused as a whole ---------------------------------------------------------------------------------------


def refused(tmp_path: Path, table: pa.Table | str, match: str, settings: Config | None = None, **kwargs: Any) -> str:
    with pytest.raises(BatchRefused, match=match) as caught:
        run(tmp_path, table, settings, **kwargs)
    assert not (tmp_path / "out").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


def test_a_refused_batch_leaves_an_existing_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(BatchRefused):
        run(tmp_path, rows(2, eur=[-1.0, 1.0]), config(validation={"max_rejected": 0.05}), folder=tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_missing_or_renamed_column(tmp_path: Path) -> None:
    refused(tmp_path, rows(2).rename_columns({"eur": "amount"}), r"missing: eur; not in the contract: amount")


def test_columns_of_the_wrong_type(tmp_path: Path) -> None:
    refused(tmp_path, rows(2, at=[True, False]), r"column 'at' is of type bool")
    message = refused(tmp_path, rows(3, eur=["ten", None, "five"]), "wrong type")
    assert "column 'eur' is of the wrong type: none of its 2 values is a number, e.g. 'ten' in in.parquet" in message
    refused(tmp_path, rows(2, fraud=["yes", "no"]), r"none of its 2 values is 0 or 1, e.g. 'yes'")
    refused(tmp_path, rows(2, at=["x", "y"]), r"none of its 2 values is a timestamp .write it as")


def test_a_few_wrong_cells_of_a_mostly_empty_column_are_the_rows_fault(tmp_path: Path) -> None:
    found = run(tmp_path, rows(40, fraud=[None] * 39 + ["yes"]), config(validation={"max_rejected": 0.05}))
    assert quarantined(found) == {39: ["fraud: is 0 or 1"]}


@pytest.mark.parametrize("column", ["tx", "at", "eur", "card"])
def test_an_all_missing_column_that_is_needed(tmp_path: Path, column: str) -> None:
    refused(tmp_path, rows(3, **{column: [None] * 3}), f"column '{column}' is empty in all 3 rows")


@pytest.mark.parametrize("column", ["channel", "score", "fraud"])
def test_an_all_missing_column_that_is_not_needed(tmp_path: Path, column: str) -> None:
    assert run(tmp_path, rows(3, **{column: [None] * 3})).counts.accepted == 3


def test_tables_without_labels(tmp_path: Path) -> None:
    assert run(tmp_path, rows(3).drop_columns(["fraud"])).counts.accepted == 3


def test_unreadable_input_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is empty"):
        run(tmp_path, rows(3).slice(0, 0))
    with pytest.raises(InputError, match="single column"):
        run(tmp_path, HEADER.replace(",", ";") + "a;2025-01-01;1;c;web;1;0\n")
    assert not (tmp_path / "out").exists()


def test_a_single_row_all_rows_alike_and_constant_columns(tmp_path: Path) -> None:
    assert run(tmp_path, rows(1)).counts.accepted == 1
    same = run(tmp_path, rows(5, tx=["t"] * 5, at=[DAY] * 5, eur=[1.0] * 5, card=["c"] * 5), suffix="2")
    assert (same.counts.accepted, same.rules) == (1, {"tx: unique": 4})
    with pytest.raises(BatchRefused, match="1 of 1 rows"):
        run(tmp_path, rows(1, eur=[-1.0]), config(validation={"max_rejected": 0.05}), "3")


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


def test_sensitive_values_stand_in_no_message_and_not_in_data_docs(tmp_path: Path) -> None:
    settings = config(
        contract={"sensitive": ["tx", "eur", "note"], "ignored": ["note"]},
        validation={"max_rejected": 0.05, "suite": str(tmp_path / "suite.json")},
    )
    bad = {"type": "expect_column_values_to_not_match_regex", "kwargs": {"column": "note", "regex": "secret"}}
    mean = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "eur", "max_value": 2}}
    (tmp_path / "suite.json").write_text(json.dumps({"name": "s", "expectations": [bad, mean]}))
    table = rows(3, eur=["hush4711", "-4712.5", "1"], note=["n", "secret4713", "n"], tx=["id4714", "id4714", "x"])
    message = refused(tmp_path, table, "a masked value in in.parquet", settings, docs=tmp_path / "docs")
    page = (tmp_path / "docs" / "index.html").read_text()
    for text in (message, page):
        assert not any(part in text for part in ("4711", "4712", "4713", "4714"))
    assert "(masked)" in page
    observed = run_refusal(tmp_path, rows(2, eur=[4715.0, 4715.0]), settings)
    assert "observed a masked value" in observed
    assert "4715" not in observed + (tmp_path / "docs" / "index.html").read_text()


def run_refusal(tmp_path: Path, table: pa.Table, settings: Config) -> str:
    with pytest.raises(BatchRefused) as caught:
        run(tmp_path, table, settings, docs=tmp_path / "docs")
    return str(caught.value)


# --- a table's own suite --------------------------------------------------------------------------------------


def with_suite(tmp_path: Path, *entries: dict[str, Any], **validation: Any) -> Config:
    path = tmp_path / "suite.json"
    path.write_text(json.dumps({"name": "own", "meta": {}, "expectations": list(entries)}))
    return config(validation={"suite": str(path), **validation})


def expect(kind: str, severity: str | None = None, meta: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": f"expect_{kind}", "kwargs": kwargs}
    return entry | ({"severity": severity} if severity else {}) | ({"meta": meta} if meta else {})


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
    found = validate(
        open_table(made.path, settings.table), settings, folder=tmp_path / "out", batch_id="b", docs=tmp_path / "docs"
    )
    # Every malformed row, and no other, is found.
    assert found.counts.quarantined == sum(made.malformed.values()) > 0
    assert found.docs == tmp_path / "docs" / "index.html"
    assert "TX_AMOUNT: usual median" in found.docs.read_text()


# --- invariants -----------------------------------------------------------------------------------------------

CELLS = {
    "tx": st.sampled_from(["a", "b", "c", "d", "e", "f", "g", ""]),
    "at": st.sampled_from(["2025-03-10", "2025-03-12 10:00", "2025-01-01", "2025-03-01", "1900-01-01", "never", ""]),
    "eur": st.sampled_from(["1", "2.5", "-1", "inf", "nan", "1e300", "?", ""]),
    "card": st.sampled_from(["c", ""]),
    "channel": st.sampled_from(["web", ""]),
    "score": st.sampled_from(["1", "x", ""]),
    "fraud": st.sampled_from(["0", "1", "", "2"]),
}


@settings(
    max_examples=20,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    cells=st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=12),
    broken=st.lists(st.booleans(), min_size=12, max_size=12),
    batch_rows=st.sampled_from([1, 5, 100]),
)
def test_counts_always_add_up(tmp_path: Path, cells: list[dict[str, str]], broken: list[bool], batch_rows: int) -> None:
    lines = [
        ",".join(row[name] for name in HEADER.strip().split(",")) + (",more" if bad else "")
        for row, bad in zip(cells, broken, strict=False)
    ]
    good = [row for row, bad in zip(cells, broken, strict=False) if not bad]
    period = Period(datetime(2025, 3, 10), datetime(2025, 3, 12))
    text = HEADER + "\n".join(lines) + "\n"
    try:
        found = run(tmp_path, text, config(validation={"batch_rows": batch_rows}), period=period)
    except BatchRefused as error:
        assert error.read == len(cells)  # noqa: PT017 (what was read counts as refused)
        return
    adds_up(found)
    assert found.counts.read == len(cells)
    # Worked out by hand: whose time is plausible and outside is outside, of the rest the first good copies stay.
    plausible = {"2025-03-10", "2025-03-12 10:00", "2025-01-01", "2025-03-01"}
    inside = [row for row in good if row["at"] not in plausible or row["at"] == "2025-03-10"]
    assert found.counts.outside == len(good) - len(inside)
    fine, seen = [], set()
    for row in good:
        passes = (
            row["tx"]
            and row["at"] in ("2025-03-10", "2025-03-01")
            and row["eur"] in ("1", "2.5")
            and row["card"]
            and row["score"] != "x"
            and row["fraud"] != "2"
        )
        if passes and row["tx"] not in seen:
            seen.add(row["tx"])
            fine.append((row["tx"], row["at"]))
    assert pq.read_table(found.accepted)["tx"].to_pylist() == [tx for tx, at in fine if at == "2025-03-10"]
    assert pq.read_table(found.lookback)["tx"].to_pylist() == [tx for tx, at in fine if at == "2025-03-01"]
    assert all(rules for rules in quarantined(found).values())


def test_progress_and_a_late_failure_leave_no_scratch(tmp_path: Path) -> None:
    seen: list[int] = []
    found = run(tmp_path, rows(5, tx=list("aabcd")), config(validation={"batch_rows": 2}), on_rows=seen.append)
    assert seen == [2, 2, 1]
    assert sorted(path.name for path in found.accepted.parent.iterdir()) == [
        "accepted.parquet",
        "lookback.parquet",
        "quarantine.parquet",
    ]
