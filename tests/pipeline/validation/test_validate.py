"""Validation as a whole: the files, the counts, and that the size of a batch changes nothing."""

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipeline.errors import BatchRefused, InputError
from pipeline.tables.period import Period
from tests import processes
from tests.pipeline.validation.batches import (
    DAY,
    HEADER,
    adds_up,
    config,
    quarantined,
    rows,
    run,
)


@pytest.mark.parametrize("csv", [False, True])
def test_the_batch_size_changes_nothing(tmp_path: Path, *, csv: bool) -> None:
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


def test_a_refused_batch_leaves_an_existing_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(BatchRefused):
        run(tmp_path, rows(2, eur=[-1.0, 1.0]), config(validation={"max_rejected": 0.05}), folder=tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []


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


def test_a_table_without_a_suite_of_its_own_is_judged_without_great_expectations(tmp_path: Path) -> None:
    """Its import takes longer than judging ten thousand rows."""
    code = """if True:
        import sys
        from pathlib import Path
        from tests.pipeline.validation.batches import config, expect, rows, run, with_suite
        folder = Path(sys.argv[1])
        assert run(folder, rows(3, eur=[1.0, -1.0, None], score=[0.5, float("inf"), 1.0])).rules
        assert "great_expectations" not in sys.modules
        run(folder, rows(3), with_suite(folder, expect("column_values_to_be_unique", column="card")), "2")
        assert "great_expectations" in sys.modules
    """
    process = processes.run(sys.executable, "-c", code, str(tmp_path), cwd=Path(__file__).parents[3])
    assert process.status == 0, process
