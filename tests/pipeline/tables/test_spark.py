"""Spark that is not there, or fails, is one sentence with the remedy; and Parquet is read whatever its names are."""

import gc
import importlib.util

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PySparkException

from pipeline.errors import ResourceError
from pipeline.settings.engine import EngineConfig
from pipeline.tables import spark
from pipeline.tables.spark import at_once, on_spark, read_parquet, reason_of, session

HERE = EngineConfig(name="spark", master="local[2]")


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
    java.write_text("#!/bin/sh\necho 'this Java is too old' >&2\nexit 1\n")
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
        ('x:\nTraceback (most recent call last):\n  File "a"\n    f()\nValueError: of\ntwo lines', "ValueError: of"),
        ('x:\nTraceback (most recent call last):\n  File "a"\npipeline.errors.InputError: a.csv is.', "a.csv is"),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
    ],
)
def test_what_a_failure_comes_down_to(text, reason):
    assert reason_of(text) == reason


def test_parquet_is_read_whatever_its_files_and_columns_are_called(tmp_path):
    folder = tmp_path / "a {b} [c]* \\?"
    folder.mkdir()
    one = pa.table({"a.b`": [1, 2], "A.B`": [3, 4], "place": ["x", None], "_metadata": [True, False]})
    pq.write_table(one, folder / "some-0.parquet")
    pq.write_table(one.select(["a.b`"]), folder / "some-1.parquet")
    with on_spark(HERE, "reading") as started:
        rows, names = read_parquet(started, [folder / f"some-{number}.parquet" for number in range(2)], first=5)
        table = rows.toArrow().sort_by("place")
        assert at_once(started) == 2
    assert sorted(names) == sorted(one.column_names)
    found = table.rename_columns([*names, "number"]).select([*one.column_names, "number"]).to_pydict()
    assert found["number"] == [5 * 2**40, 5 * 2**40 + 1, 6 * 2**40, 6 * 2**40 + 1]
    assert found["a.b`"] == [1, 2, 1, 2]
    assert found["A.B`"] == [3, 4, None, None]
    assert found["place"] == ["x", None, None, None]
    assert found["_metadata"] == [True, False, None, None]


def test_what_spark_cannot_read_is_one_sentence(tmp_path):
    pq.write_table(pa.table({"t": pa.array([1], pa.time64("us"))}), tmp_path / "some-0.parquet")
    with (
        pytest.raises(ResourceError, match=r"^reading on Spark at local\[2\] failed, .* The data type TIME is not sup"),
        on_spark(HERE, "reading") as started,
    ):
        read_parquet(started, [tmp_path / "some-0.parquet"])


def test_errors_of_our_own_pass_as_they_are():
    assert not issubclass(ResourceError, PySparkException)
    with pytest.raises(ResourceError, match=r"^mine$"), on_spark(HERE, "reading"):
        raise ResourceError("mine")
