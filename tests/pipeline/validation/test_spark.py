"""Validation by Spark is that of one process, to the last bit; and a job that fails says why and leaves nothing."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import AssayError
from pipeline.settings.config import Config
from pipeline.settings.engine import EngineConfig
from pipeline.tables.period import Period
from pipeline.tables.reading import open_table
from pipeline.validation import spark
from pipeline.validation.validate import validate
from tests.pipeline.tasks_here import in_this_process
from tests.pipeline.validation.batches import DAY, NOW, config, expect, rows
from tests.pipeline.validation.test_validate import CELLS

ON_SPARK = EngineConfig(name="spark", master="local[2]")
SUITE = [
    expect("column_values_to_be_between", column="eur", max_value=60, mostly=0.7),
    expect("column_values_to_be_between", column="eur", max_value=2, mostly=0.9),
    expect("column_values_to_be_in_set", column="channel", value_set=["web"], severity="warning"),
    expect("column_pair_values_a_to_be_greater_than_b", column_A="eur", column_B="score", severity="info"),
    expect("compound_columns_to_be_unique", column_list=["at", "eur"]),
    expect("column_mean_to_be_between", column="eur", min_value=0, severity="warning"),
]


def became(folder: Path, path: Path, setup: Config, **asked: Any) -> list[Any]:
    """What becomes of a table, in all that is to be seen of it: the tables, the counts, the pages' outcomes."""
    outcomes: list[Any] = []

    def docs(found: Any) -> Path:
        outcomes.extend(repr(outcome) for outcome in found)
        return folder

    try:
        found = validate(
            open_table(path, setup.table), setup, folder=folder, batch_id="b1", now=NOW, docs=docs, **asked
        )
    except AssayError as error:
        assert not folder.exists()
        return [type(error), str(error), getattr(error, "read", None), outcomes]
    assert {file.name for file in folder.iterdir()} == {"accepted.parquet", "lookback.parquet", "quarantine.parquet"}
    tables = [pq.read_table(file) for file in (found.accepted, found.lookback, found.quarantine)]
    return [*tables, [table.schema for table in tables], found.counts, list(found.rules.items()), outcomes]


def by_both(folder: Path, path: Path, setup: Config, **asked: Any) -> list[Any]:
    """What becomes of a table here, which is that by Spark."""
    here = became(folder / "here", path, setup, **asked)
    assert became(folder / "there", path, setup.model_copy(update={"engine": ON_SPARK}), **asked) == here
    return here


def delivered(folder: Path, table: pa.Table, groups: int, files: int) -> Path:
    """Write a table as several files, with so many rows in a row group."""
    path = folder / "in [x]"
    path.mkdir(parents=True)
    size = -(-table.num_rows // files)
    for number in range(files):
        pq.write_table(table.slice(number * size, size), path / f"{number}.parquet", row_group_size=groups)
    return path


@settings(max_examples=15, deadline=None)
@given(
    cells=st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=30),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 7), st.integers(1, 12)),
    kind=st.tuples(
        st.sampled_from(["drawn", "rising", "other types"]),
        st.booleans(),
        st.sampled_from([1.0, 0.4]),
        st.sampled_from([Period(None, None), Period(DAY, DAY + timedelta(days=2))]),
    ),
)
def test_tables_drawn_by_chance_become_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    cells: list[dict[str, str]],
    sizes: tuple[int, int, int, int],
    kind: tuple[str, bool, float, Period],
) -> None:
    folder = tmp_path_factory.mktemp("drawn")
    (ids, own, most, period), (groups, files, batch_rows, task_rows) = kind, sizes
    table = pa.Table.from_pylist(cells, pa.schema([(name, pa.string()) for name in CELLS]))
    if ids == "rising":
        table = table.set_column(0, "tx", pa.array([f"{number:03d}" for number in range(len(cells))]))
    path = delivered(folder, table, groups, files)
    (folder / "suite.json").write_text(json.dumps({"name": "own", "expectations": SUITE}))
    before = {"tx": pa.array(range(3)) if ids == "other types" else pa.array(["a", "f", "002"])}
    pq.write_table(pa.table(before), folder / "scores.parquet")
    suite = str(folder / "suite.json") if own else ""
    setup = config(validation={"batch_rows": batch_rows, "suite": suite, "max_rejected": most})
    with pytest.MonkeyPatch.context() as patch:
        in_this_process(patch, spark)
        patch.setattr(spark, "ROWS_A_TASK", task_rows)
        by_both(folder, path, setup, period=period, elsewhere=[folder / "scores.parquet"])


def mixed(count: int = 600) -> pa.Table:
    """Rows of every fate, ids that come twice among them."""
    random = np.random.default_rng(1)
    words = {"tx": [f"t{number}" for number in random.integers(0, count, count)]}
    words["at"] = [str(DAY + timedelta(hours=int(hour))) for hour in random.integers(-400, 400, count)]
    words["eur"] = [random.choice(["x", "", "-1", "99", "0.5", "1.5", "2.5"]) for _ in range(count)]
    words["score"] = [str(value) for value in random.normal(size=count)]
    words["fraud"] = [random.choice(["0", "1", "", "2"]) for _ in range(count)]
    return rows(count, **words)


def test_a_cluster_validates_as_one_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "ROWS_A_TASK", 150)
    monkeypatch.chdir(tmp_path)  # from where paths that are relative count, here and there
    delivered(tmp_path, mixed(), 70, 3)
    (tmp_path / "suite.json").write_text(json.dumps({"name": "own", "expectations": SUITE[:4]}))
    pq.write_table(pa.table({"tx": [f"t{number}" for number in range(0, 600, 7)]}), tmp_path / "scores.parquet")
    setup = config(validation={"batch_rows": 40, "suite": "suite.json"})
    asked = {"period": Period(DAY, DAY + timedelta(days=9)), "elsewhere": [tmp_path / "scores.parquet"]}
    accepted, lookback, _, _, counts, rules, _ = by_both(tmp_path, Path("in [x]"), setup, **asked)
    assert min(accepted.num_rows, lookback.num_rows, counts.quarantined, counts.outside) > 0
    assert {"tx: unique", "tx: not scored in an earlier batch"} <= {name for name, _ in rules}


def test_where_nothing_is_wrong_not_a_byte_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_this_process(monkeypatch, spark)
    monkeypatch.setattr(spark, "ROWS_A_TASK", 100)
    path = delivered(tmp_path, rows(500), 90, 2)
    setup = config(validation={"batch_rows": 60})
    by_both(tmp_path, path, setup)
    for name in ("accepted", "lookback", "quarantine"):
        here, there = (tmp_path / place / f"{name}.parquet" for place in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()
