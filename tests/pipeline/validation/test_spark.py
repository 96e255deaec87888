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

from pipeline.errors import AssayError, ConfigError, InputError, ResourceError
from pipeline.settings.config import Config
from pipeline.settings.engine import EngineConfig
from pipeline.tables import lines
from pipeline.tables.batch import WHOLE
from pipeline.tables.period import Period
from pipeline.tables.reading import open_table
from pipeline.tables.stretches import TableStretch
from pipeline.validation import spark
from pipeline.validation.duplicates import later_copies, seen_elsewhere
from pipeline.validation.rows import Findings, Reading
from pipeline.validation.spark import later_copies_on_spark, seen_on_spark
from pipeline.validation.validate import validate
from tests.pipeline.tasks_here import in_this_process
from tests.pipeline.validation.batches import DAY, HEADER, NOW, config, expect, rows, run, with_suite
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


def delivered(folder: Path, table: pa.Table, groups: int, files: int, *, line: str | None = None) -> Path:
    """Write a table as several files, with so many rows in a row group; or as CSV, with one line more."""
    path = folder / "in [x]"
    path.mkdir(parents=True)
    size = -(-table.num_rows // files)
    for number in range(files):
        rows = table.slice(number * size, size)
        if line is None:
            pq.write_table(rows, path / f"{number}.parquet", row_group_size=groups)
        else:
            texts = [table.column_names, *(row.values() for row in rows.to_pylist())]
            lines = "".join(",".join(cell or "" for cell in cells) + "\n" for cells in texts)
            (path / f"{number}.csv").write_text(lines + line * (number == files // 2))
    return path


@settings(max_examples=15, deadline=None)
@given(
    cells=st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=30),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 7), st.integers(1, 12)),
    line=st.sampled_from(
        [None, "", "t,2025-03-10\n", '"t",2025-03-10,1,c,"web",1,0\n', '"t""u",2025-03-10,1,c,web,1,0\n']
    ),
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
    *,
    line: str | None,
    kind: tuple[str, bool, float, Period],
) -> None:
    folder = tmp_path_factory.mktemp("drawn")
    (ids, own, most, period), (groups, files, batch_rows, task_rows) = kind, sizes
    table = pa.Table.from_pylist(cells, pa.schema([(name, pa.string()) for name in CELLS]))
    if ids == "rising":
        table = table.set_column(0, "tx", pa.array([f"{number:03d}" for number in range(len(cells))]))
    path = delivered(folder, table, groups, files, line=line)
    (folder / "suite.json").write_text(json.dumps({"name": "own", "expectations": SUITE}))
    before = {"tx": pa.array(range(3)) if ids == "other types" else pa.array(["a", "f", "002"])}
    pq.write_table(pa.table(before), folder / "scores.parquet")
    suite = str(folder / "suite.json") if own else ""
    setup = config(validation={"batch_rows": batch_rows, "suite": suite, "max_rejected": most})
    with pytest.MonkeyPatch.context() as patch:
        in_this_process(patch, spark)
        patch.setattr(spark, "ROWS_A_TASK", task_rows)
        patch.setattr(lines, "BLOCK_BYTES", 70 * groups)
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
    setup = config(validation={"batch_rows": 100, "suite": "suite.json"})
    asked = {"period": Period(DAY, DAY + timedelta(days=9)), "elsewhere": [tmp_path / "scores.parquet"]}
    accepted, lookback, _, _, counts, rules, _ = by_both(tmp_path, Path("in [x]"), setup, **asked)
    assert min(accepted.num_rows, lookback.num_rows, counts.quarantined, counts.outside) > 0
    assert {"tx: unique", "tx: not scored in an earlier batch"} <= {name for name, _ in rules}


def test_where_nothing_is_wrong_row_groups_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_this_process(monkeypatch, spark)
    monkeypatch.setattr(spark, "ROWS_A_TASK", 100)
    path = delivered(tmp_path, rows(500), 90, 2)
    setup = config(validation={"batch_rows": 60})
    by_both(tmp_path, path, setup)
    for name in ("accepted", "lookback", "quarantine"):
        here, there = (pq.read_metadata(tmp_path / place / f"{name}.parquet") for place in ("here", "there"))
        sizes, others = ([each.row_group(n).num_rows for n in range(each.num_row_groups)] for each in (here, there))
        assert sizes == others
        assert len(sizes) == (9 if name == "accepted" else 0)


def test_what_tasks_cannot_read_by_themselves_is_read_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_this_process(monkeypatch, spark)
    monkeypatch.setattr(spark, "ROWS_A_TASK", 100)
    monkeypatch.setattr(lines, "BLOCK_BYTES", 1000)
    tasks: list[int] = []
    own = spark.answers
    monkeypatch.setattr(spark, "answers", lambda *told: tasks.append(len(told[2])) or own(*told))
    setup = config(validation={"batch_rows": 40})
    for name, line, by_tasks in (
        ("whole", '"t",2025-03-10,1,c,web,1,0,n\n', True),
        ("quoted", '"t""u",2025-03-10,1,c,web,1,0,n\n', False),
    ):
        path = delivered(tmp_path / name, mixed(), 0, 2, line=line)
        assert by_both(tmp_path / name, path, setup)[4].accepted
        assert (sum(tasks) > 6) is by_tasks
        assert (tasks == []) is not by_tasks
        tasks.clear()
    path = delivered(tmp_path / "broken", mixed(), 0, 2, line="t,2025-03-10\n")
    assert "csv line: has as many cells as the header" in dict(by_both(tmp_path / "broken", path, setup)[5])
    path = delivered(tmp_path, mixed(), 70, 2)
    monkeypatch.setattr(TableStretch, "is_there", lambda stretch: stretch.first == 0)
    assert by_both(tmp_path / "unseen", path, setup)[4].accepted
    assert spark._tried(lambda *told: told, str(tmp_path / "elsewhere"), (table_stretch(path),)) is None


def test_tasks_read_the_rows_of_a_delta_table_that_its_log_has_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(monkeypatch, spark)
    monkeypatch.setattr(spark, "ROWS_A_TASK", 100)
    path, setup = delivered(tmp_path, mixed(), 70, 3), config(validation={"batch_rows": 40})
    (path / "_delta_log").mkdir()
    added = [{"protocol": {"minReaderVersion": 1}}, *({"add": {"path": f"{number}.parquet"}} for number in range(3))]
    for version, actions in enumerate((added, [{"remove": {"path": "1.parquet"}}])):
        (path / "_delta_log" / f"{version:020d}.json").write_text("\n".join(map(json.dumps, actions)))
    tasks: list[TableStretch] = []
    own = spark.answers
    monkeypatch.setattr(spark, "answers", lambda *told: tasks.extend(item[0] for item in told[2]) or own(*told))
    counts = by_both(tmp_path, path, setup)[4]
    assert counts.read == 400
    assert sum(stretch.rows for stretch in dict.fromkeys(tasks)) == 400


def table_stretch(path: Path) -> TableStretch:
    """The first stretch of a table."""
    return open_table(path, config().table).stretches(10, 10)[0]


def test_a_table_that_shrinks_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_this_process(monkeypatch, spark)
    monkeypatch.setattr(spark, "ROWS_A_TASK", 10)
    pq.write_table(rows(40, eur=[-1.0] * 39 + [1.0]), tmp_path / "in.parquet", row_group_size=10)
    own = Findings.add

    def shrink(findings: Findings, other: Findings) -> None:
        own(findings, other)
        pq.write_table(rows(10, eur=[-1.0] * 10), tmp_path / "in.parquet")

    monkeypatch.setattr(Findings, "add", shrink)
    setup = config(validation={"batch_rows": 5}).model_copy(update={"engine": ON_SPARK})
    kind, message, *_ = became(tmp_path / "out", tmp_path / "in.parquet", setup)
    assert (kind, message) == (
        InputError,
        f"{tmp_path}/in.parquet changed while it was read; run again when it is complete",
    )


def test_what_is_the_tables_fault_or_the_suites_is_said_as_one_process_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(monkeypatch, spark)
    monkeypatch.setattr(spark, "ROWS_A_TASK", 10)
    text = pa.array([b"\xff"] * 40).view(pa.string())
    for number, name in enumerate(("good", "bad", "worse")):
        table = rows(40, tx=[f"{name}{place}" for place in range(40)], **({"note": text} if number else {}))
        (tmp_path / "in").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "in" / f"{number}.parquet", row_group_size=15)
    setup = config(validation={"batch_rows": 7})
    kind, message, *_ = by_both(tmp_path, tmp_path / "in", setup)
    assert (kind, message) == (
        InputError,
        f"{tmp_path}/in/1.parquet: column 'note' can't be read in row 1: the text is not UTF-8; write it again",
    )
    rule = expect("column_values_to_match_strftime_format", column="eur", strftime_format="%Y")
    path = delivered(tmp_path, rows(40), 15, 1)
    kind, message, *_ = by_both(tmp_path, path, with_suite(tmp_path, rule, batch_rows=7))
    assert kind is ConfigError
    assert "suite.json, expectation 1 (expect_column_values_to_match_strftime_format): cannot be computed on" in message


def test_a_task_that_fails_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, stretch: Any, *, reading: Any) -> None:
        raise MemoryError(f"no room for {stretch.rows} rows")

    monkeypatch.setattr(spark, "_findings_of", fail)
    setup = config().model_copy(update={"engine": ON_SPARK})
    message = (
        r"^validation on Spark at local\[2\] failed, and nothing of it was kept: MemoryError: no room for 9 rows; look"
    )
    with pytest.raises(ResourceError, match=message):
        run(tmp_path, rows(9), setup)
    assert [file.name for file in tmp_path.iterdir()] == ["in.parquet"]


@pytest.mark.parametrize("table", [rows(3), HEADER + "a,2025-03-10,5,c,web,1,0\n"], ids=["Parquet", "CSV"])
def test_a_cluster_that_is_not_there_is_told_before_a_row_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: pa.Table | str
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    setup, read = config().model_copy(update={"engine": ON_SPARK}), list[int]()
    with pytest.raises(ResourceError, match=r"needs Java 17 or newer, and there is no java"):
        run(tmp_path, table, setup, on_rows=read.append)
    assert not read


def test_tasks_learn_nothing_of_the_configuration_but_what_rows_are_judged_by(tmp_path: Path) -> None:
    pq.write_table(rows(3), tmp_path / "in.parquet")
    setup = with_suite(
        tmp_path,
        expect("column_mean_to_be_between", column="eur", min_value=0),
        expect("column_values_to_be_in_set", column="channel", value_set=["web"]),
    )
    setup = setup.model_copy(update={"tracking": setup.tracking.model_copy(update={"uri": "sqlite:///secret"})})
    reading = Reading(open_table(tmp_path / "in.parquet", setup.table), setup, WHOLE, now=NOW, scratch=tmp_path)
    told = reading.of_tasks()
    assert told.config.tracking.uri != "sqlite:///secret"
    assert (told.config.contract, told.config.validation) == (setup.contract, setup.validation)
    assert {*reading.rules} - {*told.rules} == {"tx: unique", "eur: mean to be between"}


@pytest.mark.parametrize("kind", [pa.int64(), pa.string()])
def test_ids_by_their_hash_against_one_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: pa.DataType
) -> None:
    in_this_process(monkeypatch, spark)
    monkeypatch.setattr(spark, "ROWS_A_BUCKET", 50)
    random = np.random.default_rng(2)
    files, first = [], 0
    for number, count in enumerate((200, 0, 150)):
        ids = pa.array([None if value == 7 else int(value) for value in random.integers(0, 250, count)], pa.int64())
        files.append(tmp_path / f"keys{number}.parquet")
        keys = pa.table({"id": ids.cast(kind), "row": pa.array(range(first, first + count), pa.int64())})
        pq.write_table(keys, files[-1], row_group_size=40)
        first += count
    pq.write_table(pa.table({"tx": pa.array(range(0, 250, 3))}), tmp_path / "scores.parquet")
    pq.write_table(pa.table({"other": [1]}), tmp_path / "without-ids.parquet")
    elsewhere = [tmp_path / name for name in ("scores.parquet", "without-ids.parquet", "gone.parquet")]
    without = np.sort(random.choice(first, 90, replace=False))
    limits = {"memory_limit": "100MB", "scratch": tmp_path}
    copies = later_copies(files, without, **limits)
    assert later_copies_on_spark(files, without, engine=ON_SPARK, **limits).tolist() == copies.tolist()
    again = seen_elsewhere(files, elsewhere, "tx", **limits)
    assert seen_on_spark(files, elsewhere, "tx", engine=ON_SPARK, **limits).tolist() == again.tolist()
    assert min(len(copies), len(again)) > 10
    nothing = np.array([], dtype=np.int64)
    assert later_copies_on_spark(files[1:2], nothing, engine=ON_SPARK, **limits).tolist() == []
    assert seen_on_spark(files, elsewhere[1:], "tx", engine=ON_SPARK, **limits).tolist() == []
