"""Apache Spark: a session for the rest of the process, Parquet read by it, and its failures in a sentence."""

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.errors import ResourceError
from pipeline.settings.engine import EngineConfig
from pipeline.tables.parquet import ROWS_READ

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructField

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "spark.log.level": "OFF",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.caseSensitive": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(ROWS_READ),
}
"""What has to hold of a session; the rest is spark-defaults.conf's."""
ITS_OWN = "local"
"""Masters that begin so are this machine, where nothing listens beyond it."""


@contextmanager
def on_spark(engine: EngineConfig, work: str) -> Iterator["SparkSession"]:
    """Give the session of a cluster for some work; what goes wrong with it is one sentence.

    Parameters
    ----------
    engine : EngineConfig
    work : str
        What is done, such as "computing features".

    Raises
    ------
    ResourceError
        When Spark isn't there, the cluster can't be reached, or a job fails: nothing of it is left then.
    """
    spark = session(engine)
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield spark
    except (PySparkException, Py4JError, ConnectionError, EOFError) as error:
        raise ResourceError(
            f"{work} on Spark at {engine.master} failed, and nothing of it was kept: {reason_of(str(error))}; look "
            "into the cluster's logs where that is not enough, mend it and run again"
        ) from None


def reason_of(text: str) -> str:
    r"""Return what a failure of Spark comes down to: the last error of a task's Python, or the first line.

    Examples
    --------
    >>> reason_of('Job aborted:\nTraceback (most recent call last):\n  File "a.py"\npipeline.errors.InputError: no.')
    'no'
    >>> reason_of("[UNSUPPORTED] TIME is not supported.\nat org.apache.spark")
    '[UNSUPPORTED] TIME is not supported'
    """
    lines = text.strip().splitlines() or ["it gave no reason"]
    ends = [line for before, line in pairwise(lines) if before.startswith("  ") and line[:1].strip()]
    is_python = "Traceback (most recent call last):" in text and ends
    line = ends[-1] if is_python else lines[0]
    return re.sub(r"^pipeline\.errors\.\w+: ", "", line).strip().rstrip(".")


def session(engine: EngineConfig) -> "SparkSession":
    """Return the session of a cluster, which is started once and lasts as long as the process.

    Raises
    ------
    ResourceError
        When PySpark or Java isn't there, or the cluster can't be reached.
    """
    if find_spec("pyspark") is None:
        raise ResourceError(
            'engine.name = "spark" needs PySpark, which is not installed; install Assay with its extra, assay[spark], '
            'or set engine.name = "local"'
        )
    if shutil.which("java", path=_java_path()) is None:
        raise ResourceError(
            'engine.name = "spark" needs Java 17 or newer, and there is no java; install one (on Debian or Ubuntu: '
            "apt-get install openjdk-17-jre-headless), or set JAVA_HOME to where it is"
        )
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if engine.master.startswith(ITS_OWN):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    return _start(engine.master)


@cache
def _start(master: str) -> "SparkSession":
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {**SETTINGS, "spark.executorEnv.PYTHONPATH": os.pathsep.join(paths)}
    if master.startswith(ITS_OWN):
        settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    conf = SparkConf().setMaster(master).setAppName("assay").setAll(list(settings.items()))
    # What Java says of itself on the way is no matter of people's, unless it ends there.
    with TemporaryFile("w+", encoding="utf-8", errors="replace") as words:
        try:
            gateway = launch_gateway(conf, {"stdout": words, "stderr": words})
        except Exception as error:  # noqa: BLE001 - nor does PySpark say which error it is
            words.seek(0)
            reason = reason_of(words.read() or str(error))
            raise ResourceError(
                f"Java could not start Spark: {reason}; check that it is of version 17 or newer, and that the machine "
                "has memory left"
            ) from None
    try:
        return SparkSession(SparkContext(conf=conf, gateway=gateway))
    except Exception as error:  # noqa: BLE001 - Java's errors have no class of their own
        raise ResourceError(
            f"Spark at {master} could not be started: {reason_of(str(error))}; check engine.master, and whether the "
            "cluster runs"
        ) from None


def _java_path() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin") if home else None


def at_once(spark: "SparkSession") -> int:
    """Return how many tasks share the memory of an executor."""
    context = spark.sparkContext
    if context.master.startswith(ITS_OWN):
        return context.defaultParallelism
    return int(spark.conf.get("spark.executor.cores", "1") or 1)


def types_of(spark: "SparkSession", schema: pa.Schema) -> list["StructField"]:
    """Return what Spark calls the types of a schema's columns, by which a task says what it gives."""
    return spark.createDataFrame(schema.empty_table()).schema.fields


@contextmanager
def on_disk(rows: "DataFrame") -> Iterator["DataFrame"]:
    """Keep rows on the cluster's disks for the length of a block, so that they are made once."""
    from pyspark import StorageLevel

    rows.persist(StorageLevel.DISK_ONLY)
    try:
        yield rows
    finally:
        rows.unpersist()


def read_parquet(spark: "SparkSession", files: Sequence[Path], *, first: int = 0) -> tuple["DataFrame", list[str]]:
    """Read Parquet files, whose columns are called p0, p1, ..., and where a row stands, `place`.

    Parameters
    ----------
    spark : SparkSession
    files : sequence of Path
        In folders that every machine of the cluster sees at the same path; their names end in a number of their own,
        such as past-0.parquet. A column that some lack is missing there.
    first : int
        What is added to these numbers.

    Returns
    -------
    DataFrame
        `place` is the row's number in its file, plus 2^40 times the number of the file.
    list of str
        What p0, p1, ... are called in the files: names may hold what Spark takes for its own.
    """
    from pyspark.sql import functions as sf

    rows = spark.read.option("mergeSchema", value=len(files) > 1).parquet(*map(address, files))
    names = rows.columns
    meta = rows.metadataColumn("_metadata")
    file = sf.regexp_extract(meta.getField("file_name"), r"(\d+)\.parquet$", 1).cast("long")
    place = (file + first) * sf.lit(2**40) + meta.getField("row_index")
    own = [rows[f"`{name.replace('`', '``')}`"].alias(f"p{number}") for number, name in enumerate(names)]
    return rows.select(*own, place.alias("place")), names


def address(path: Path) -> str:
    r"""Return how Spark is told a path: signs by which it would match other names have a backslash.

    Examples
    --------
    >>> print(address(Path("/data/a[1]")))
    file:///data/a\[1\]
    """
    return "file://" + re.sub(r"([\[\]{}*?\\])", r"\\\1", str(path.absolute()))
