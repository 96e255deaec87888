"""Spark that is not there, or fails, is one sentence with the remedy; and its tasks read every row once."""

import gc
import importlib.util
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PySparkException

from pipeline.errors import ResourceError
from pipeline.settings.engine import EngineConfig
from pipeline.tables import spark
from pipeline.tables.spark import (
    a_task_each,
    answers,
    at_once,
    join_on_spark,
    on_spark,
    reason_of,
    session,
    stretches,
)

HERE = EngineConfig(name="spark", master="local[2]")
WHY = pa.list_(pa.struct([("by", pa.string()), ("share", pa.float64())]))


def test_without_pyspark_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(spark, "find_spec", lambda name: importlib.util.find_spec("no_such_package"))
    with pytest.raises(
        ResourceError, match=r'^engine.name = "spark" needs PySpark, .* its extra, assay\[spark\], or set'
    ):
        session(HERE)


def test_without_java_its_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(
        ResourceError, match=r"needs Java 17 or newer, and there is no java; .* openjdk-17-jre-headless\)"
    ):
        session(HERE)


# PySpark forgets the process that it started, and its standard input.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_java_that_ends_at_its_start_says_why(monkeypatch, tmp_path):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'WARNING: old' >&2\necho 'this Java is too old' >&2\nexit 1\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    try:
        spark._start.__wrapped__("local[1]")
    except ResourceError as error:
        message = str(error)
    gc.collect()
    assert message.startswith("Java could not start Spark: this Java is too old; check that it is of version 17")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it gave no reason"),
        ("Job aborted.\n\tat org.apache.spark", "Job aborted"),
        ("An error occurred while calling z:org.X.collect.\n: org.Y: Job aborted: lost.\n", "Job aborted: lost"),
        ("An error occurred while calling o1.x.\n: lost\n\tat org", "lost"),
        ('x:\nTraceback (most recent call last):\n  File "a"\n    f()\nValueError: of\ntwo lines', "ValueError: of"),
        ('x:\nTraceback (most recent call last):\n  File "a"\npipeline.errors.InputError: a.csv is.', "a.csv is"),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
    ],
)
def test_what_a_failure_comes_down_to(text, reason):
    assert reason_of(text) == reason


def test_stretches_are_whole_row_groups_that_hold_every_row_once(tmp_path):
    file = tmp_path / "a {b} [c]* \\?.parquet"
    pq.write_table(pa.table({"n": range(25)}), file, row_group_size=4)
    found = stretches(file, rows=8)
    assert [(stretch.first, stretch.groups) for stretch in found] == [
        (0, (0, 1)),
        (8, (2, 3)),
        (16, (4, 5)),
        (24, (6,)),
    ]
    assert [row for stretch in found for batch in stretch.read() for row in batch["n"].to_pylist()] == list(range(25))
    with pq.ParquetWriter(file, pa.schema([("n", pa.int64()), ("m", pa.int64())])) as writer:
        for rows in (0, 2, 0):  # a row group each
            writer.write_table(pa.table({name: pa.array(range(rows), pa.int64()) for name in "nm"}))
    assert [batch.to_pydict() for stretch in stretches(file) for batch in stretch.read(["m"])] == [{"m": [0, 1]}]
    pq.write_table(pa.table({"n": pa.array([], pa.int64())}), file)
    assert stretches(file) == []


def test_every_item_is_worked_on_once(tmp_path):
    def work(item):
        yield pa.record_batch({"double": pa.array([2 * item], pa.int64())})

    with on_spark(HERE, "doubling") as started:
        found = a_task_each(started, work, range(5), "double long")
        assert sorted(found.toArrow()["double"].to_pylist()) == [0, 2, 4, 6, 8]
        assert at_once(started) == 2
        whole = answers(started, lambda item: (item, pa.array([item]), Decimal(item)), range(5))
        assert whole == [(item, pa.array([item]), Decimal(item)) for item in range(5)]


def test_a_task_that_fails_is_one_sentence():
    def work(item):
        raise ZeroDivisionError("nothing by nothing")
        yield

    message = (
        r"^dividing on Spark at local\[2\] failed, and nothing .*: ZeroDivisionError: nothing by nothing; look into"
    )
    with pytest.raises(ResourceError, match=message), on_spark(HERE, "dividing") as started:
        a_task_each(started, work, range(1), "n long").collect()


def test_where_spark_has_ended_its_memory_is_named():
    message = (
        r"^reading on Spark at local\[2\] failed, .*: Spark's process on this machine has ended; .* spark.driver.memory"
    )
    with pytest.raises(ResourceError, match=message), on_spark(HERE, "reading"):
        raise ConnectionRefusedError("[Errno 111] Connection refused")


def test_errors_of_our_own_pass_as_they_are():
    assert not issubclass(ResourceError, PySparkException)
    with pytest.raises(ResourceError, match=r"^mine$"), on_spark(HERE, "reading"):
        raise ResourceError("mine")


def test_files_joined_without_unpacking_are_read_as_the_rows_of_all_in_their_order(tmp_path):
    folder = tmp_path / "a {b} [c]* \\?"
    folder.mkdir()
    random = np.random.default_rng(0)
    tables, files = [], [folder / f"{number}.parquet" for number in range(4)]
    for rows, file in zip((500, 0, 3, 41), files, strict=True):
        table = pa.table(
            {
                "at": pa.array(random.integers(0, 10**15, rows), pa.timestamp("us")),
                "eur": pa.array(random.normal(size=rows), mask=random.random(rows) < 0.2),
                "name": pa.array([f"ü{n % 7}" for n in range(rows)], pa.string()),
                "why": pa.array([[{"by": "a", "share": n / 7}] * (n % 3) for n in range(rows)], WHY),
            }
        )
        pq.write_table(table, file, row_group_size=100, compression="zstd" if rows > 10 else "snappy")
        tables.append(table)
    joined = join_on_spark(session(HERE), files, folder / "joined.parquet")
    assert pq.read_table(joined).equals(pa.concat_tables(tables))
    assert pq.read_schema(joined).equals(pq.read_schema(files[0]), check_metadata=True)
    assert pq.read_metadata(joined).num_row_groups == 5 + 1 + 1
    assert {file.name for file in folder.iterdir()} == {"joined.parquet", *(file.name for file in files)}
    assert join_on_spark(session(HERE), files[2:3], joined) == joined
    assert pq.read_table(joined).equals(tables[2])
