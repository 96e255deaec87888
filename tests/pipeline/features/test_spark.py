"""Features by Spark are those of one process, to the last bit; and a job that fails says why and leaves nothing."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ResourceError
from pipeline.features import compute, spark
from pipeline.features.events import Files
from pipeline.features.families import plan_of
from pipeline.settings.config import Config
from pipeline.settings.engine import EngineConfig
from pipeline.simulation import simulate
from pipeline.tables.spark import session as spark_session
from tests.pipeline.features.by_hand import START
from tests.pipeline.features.test_shards import every_family, with_verdicts, written
from tests.pipeline.tasks_here import in_this_process

ON_SPARK = EngineConfig(name="spark", master="local[2]", shards=3)
HERE = EngineConfig()


def by_both(rows, history, setup, folder, *, reviewed=(), shards=3):
    """The feature tables of this machine and of Spark."""
    on_spark = ON_SPARK.model_copy(update={"shards": shards})
    return [
        pq.read_table(
            compute(
                rows, history, setup.model_copy(update={"engine": engine}), folder / "out.parquet", reviewed=reviewed
            )
        )
        for engine in (HERE, on_spark)
    ]


def assert_same(tables):
    one, other = tables
    assert [name for name in one.column_names if not one[name].equals(other[name])] == []
    assert other.equals(one)  # schema and order of the columns, too


@pytest.mark.parametrize("labelled_at", [None, "known_at"])
def test_ties_gaps_heavy_keys_late_rows_and_reviews_give_the_same_bits(tmp_path, labelled_at):
    folder = tmp_path / "an [odd] name*"
    folder.mkdir()
    rows, past, reviewed, contract = with_verdicts(folder, labelled_at)
    # One row comes twice in the history, and a second file of it lacks a column.
    twice = pq.read_table(past).slice(0, 30)
    pq.write_table(twice.drop(["lat"]) if labelled_at else twice, folder / "twice.parquet")
    tables = by_both(rows, [past, folder / "twice.parquet"], every_family(1, contract), folder, reviewed=[reviewed])
    assert tables[0].num_rows == 100
    assert_same(tables)
    assert sorted(file.name for file in folder.iterdir()) == [
        *("out.parquet", "past.parquet", "reviewed.parquet", "rows.parquet", "twice.parquet")
    ]


def test_a_table_without_labels_gives_the_same_bits(tmp_path):
    rows, past, _ = written(tmp_path, 12, [])
    assert_same(by_both(rows, [past], every_family(1, {"label": None}), tmp_path))


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), verdicts=st.booleans(), shards=st.integers(1, 9))
def test_tasks_over_tables_drawn_by_chance_give_the_same_bits(tmp_path_factory, seed, verdicts, shards):
    folder = tmp_path_factory.mktemp("tasks")
    random = np.random.default_rng(seed)
    labels = [(int(random.integers(0, 300)), int(label), START) for label in random.integers(0, 2, 40)]
    rows, past, reviewed = written(folder, seed, labels)
    with pytest.MonkeyPatch.context() as patch:
        in_this_process(patch, spark)
        reviews = [reviewed] if verdicts else []
        assert_same(by_both(rows, [past], every_family(1), folder, reviewed=reviews, shards=shards))


def test_tasks_without_history_give_the_same_bits(tmp_path, monkeypatch):
    in_this_process(monkeypatch, spark)
    rows, _, _ = written(tmp_path, 9, [])
    assert_same(by_both(rows, [], every_family(1), tmp_path))


def test_days_of_the_simulator_give_the_same_bits(tmp_path):
    simulate(tmp_path / "all.parquet", rows=12_000, days=20, malformed=False)
    table = pq.read_table(tmp_path / "all.parquet").sort_by("TX_DATETIME")
    files = {"past": table.slice(0, 9_000), "rows": table.slice(9_000)}
    for name, part in files.items():
        pq.write_table(part, tmp_path / f"{name}.parquet", row_group_size=1_000)
    settings = Config.model_validate(
        {
            "contract": {
                "id": "TRANSACTION_ID",
                "timestamp": "TX_DATETIME",
                "amount": "TX_AMOUNT",
                "label": "TX_FRAUD",
                "entities": ("CUSTOMER_ID", "TERMINAL_ID"),
            },
            "table": {"time_zone": "Europe/Paris"},
            "features": {"windows_days": (1, 3), "history_days": 5, "label_delay_days": 2},
        }
    )
    tables = by_both(tmp_path / "rows.parquet", [tmp_path / "past.parquet"], settings, tmp_path)
    assert tables[0].num_rows == 3_000
    assert_same(tables)


def test_rows_without_history_and_no_rows_at_all(tmp_path):
    rows, _, _ = written(tmp_path, 5, [])
    assert_same(by_both(rows, [], every_family(1, families=("calendar", "amount")), tmp_path))
    pq.write_table(pq.read_table(rows).slice(0, 0), rows)
    assert_same(by_both(rows, [], every_family(1), tmp_path))


def test_a_task_that_fails_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    def fail(task, values, pieces):
        raise MemoryError(f"no room for {pieces.num_rows > 0}")

    monkeypatch.setattr(spark, "_past", fail)
    rows, past, _ = written(tmp_path, 6, [])
    settings = every_family(1).model_copy(update={"engine": ON_SPARK})
    message = (
        r"^computing features on Spark at local\[2\] failed, and nothing .* kept: MemoryError: no room for True; look"
    )
    with pytest.raises(ResourceError, match=message):
        compute(rows, [past], settings, tmp_path / "out.parquet")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["past.parquet", "reviewed.parquet", "rows.parquet"]


def test_a_bucket_that_needs_more_than_its_memory_names_the_setting(tmp_path):
    rows, past, _ = written(tmp_path, 7, [])
    settings = every_family(1, memory_limit="1MB").model_copy(update={"engine": ON_SPARK})
    with pytest.raises(ResourceError, match=r"kept: features.memory_limit = '500000B' is less than one step"):
        compute(rows, [past], settings, tmp_path / "out.parquet")


def test_tasks_learn_nothing_of_the_configuration_but_what_features_go_by():
    settings = every_family(1).model_copy(update={"tracking": every_family(1).tracking.model_copy(update={"uri": "x"})})
    told = Config.model_validate_json(settings.model_dump_json(include=spark.OF_THE_FEATURES))
    assert (told.contract, told.features, told.table) == (settings.contract, settings.features, settings.table)
    assert told.tracking.uri != "x"


def test_as_many_buckets_as_cores_or_memory_ask_for_and_stretches_of_time_of_one_size(tmp_path):
    rows, past, _ = written(tmp_path, 8, [])
    session = spark_session(ON_SPARK)
    tasks = []
    for shards, limit in ((5, "2GB"), ("auto", "2GB"), ("auto", "20KB")):
        settings = every_family(shards, memory_limit=limit)
        tasks.append(spark._task(session, Files(rows, (past,)), settings, plan_of(settings)))
    # 320 rows of 600 bytes, twice, over 10,000 bytes a core: 39.
    assert [(task.buckets, task.memory) for task in tasks] == [(5, "1000000000B"), (8, "1000000000B"), (39, "10000B")]
    moments = pq.read_table(rows)["at"]
    times = np.bincount(tasks[0].times(moments.cast("int64")))
    assert len(times) == 4
    assert times.min() > 15
