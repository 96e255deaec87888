"""Apache Spark: a session for the rest of the process, what its tasks read and write, its failures in a sentence."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ResourceError
from pipeline.settings.engine import EngineConfig
from pipeline.tables.files import parquet_file
from pipeline.tables.parquet import ROWS_READ

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Work = TypeVar("Work")
Answer = TypeVar("Answer")

ROWS_A_TASK = 200_000
"""Rows that a task reads, about."""
GROUP_BYTES = 128 * 1024 * 1024
"""What Parquet's writer takes for the size of a row group, by which it does not go where it copies whole ones."""
ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "spark.log.level": "OFF",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # What goes from task to task are pieces of tables, of some megabytes each.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "64",
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
    from py4j.protocol import Py4JError, Py4JNetworkError
    from pyspark.errors import PySparkException

    try:
        yield spark
    except (Py4JNetworkError, ConnectionError, EOFError):
        raise ResourceError(
            f"{work} on Spark at {engine.master} failed, and nothing of it was kept: Spark's process on this machine "
            "has ended; where it had too little memory, raise spark.driver.memory in spark-defaults.conf, and run again"
        ) from None
    except (PySparkException, Py4JError) as error:
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
    # Before what happened, Py4J says what it called.
    text = re.sub(r"\AAn error occurred while calling \S+\n: (?:[\w.$]+: )?", "", text.strip())
    lines = text.splitlines() or ["it gave no reason"]
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
            lines = [line for line in words if not line.startswith("WARNING")]
            reason = reason_of("".join(lines) or str(error))
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


@dataclass(frozen=True)
class Stretch:
    """Row groups of a Parquet file that lie side by side: what a task reads.

    Parameters
    ----------
    file : str
        Path that every machine of the cluster sees the file at.
    groups : tuple of int
    first : int
        Number of its first row in the file.
    """

    file: str
    groups: tuple[int, ...]
    first: int

    def read(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield its rows, `ROWS_READ` at a time at most."""
        with parquet_file(Path(self.file)) as reader:
            yield from reader.iter_batches(ROWS_READ, row_groups=list(self.groups), columns=columns)


def stretches(file: Path, rows: int = ROWS_A_TASK) -> list[Stretch]:
    """Return the stretches of a Parquet file, in order: of a row at least, of so many where its groups are smaller."""
    with parquet_file(file) as reader:
        sizes = [reader.metadata.row_group(number).num_rows for number in range(reader.num_row_groups)]
    found: list[Stretch] = []
    groups: list[int] = []
    first = held = 0
    for number, size in enumerate(sizes):
        groups.append(number)
        held += size
        if held >= rows or (held and number == len(sizes) - 1):
            found.append(Stretch(str(file.absolute()), tuple(groups), first))
            groups, first, held = [], first + held, 0
    return found


def a_task_each(
    spark: "SparkSession", work: Callable[[Work], Iterator[pa.RecordBatch]], items: Sequence[Work], kinds: str
) -> "DataFrame":
    """Return what some work makes of items, a task each.

    Parameters
    ----------
    spark : SparkSession
    work : callable
        Yields record batches.
    items : sequence
    kinds : str
        Names and types of their columns, as Spark says them.
    """
    return spark.range(0, len(items), 1, len(items)).mapInArrow(partial(_work, work, tuple(items)), kinds)


def answers(spark: "SparkSession", work: Callable[[Work], Answer], items: Sequence[Work]) -> list[Answer]:
    """Return what some work makes of items, a task each, in their order: small objects, as Python has them."""
    return spark.sparkContext.parallelize(items, len(items)).map(work).collect()


def join_on_spark(spark: "SparkSession", files: Sequence[Path], out: Path) -> Path:
    """Make one Parquet file of those that tasks wrote, in their order: Spark copies row groups without unpacking them.

    Parameters
    ----------
    spark : SparkSession
    files : sequence of Path
        One at least, of one schema. They are not needed afterwards.
    out : Path
        A file that is not there yet. It is not whole before the call ends.

    Returns
    -------
    Path
        `out`.
    """
    # Parquet's writer copies no row group without a row.
    files = [file for file in files if pq.read_metadata(file).num_rows] or files[:1]
    if len(files) == 1:
        return files[0].replace(out)
    context: Any = spark.sparkContext
    # PySpark has no other way to Parquet's own writer than that to all of Java.
    java, settings = context._jvm, context._jsc.hadoopConfiguration()  # noqa: SLF001
    parquet = java.org.apache.parquet

    def place(file: Path) -> Any:
        return java.java.io.File(str(file.absolute()))

    def to_read(file: Path) -> Any:
        # Not Parquet's own LocalInputFile, which asks the system for one byte at a time.
        return parquet.hadoop.util.HadoopInputFile.fromPath(
            java.org.apache.hadoop.fs.Path(place(file).toURI()), settings
        )

    with closing(parquet.hadoop.ParquetFileReader.open(to_read(files[0]))) as first:
        about = first.getFooter().getFileMetaData()
    mode, target = parquet.hadoop.ParquetFileWriter.Mode.CREATE, parquet.io.LocalOutputFile(place(out).toPath())
    writer = parquet.hadoop.ParquetFileWriter(target, about.getSchema(), mode, GROUP_BYTES, 0)
    writer.start()
    for file in files:
        writer.appendFile(to_read(file))
    writer.end(about.getKeyValueMetaData())
    return out


def _work(
    work: Callable[[Work], Iterator[pa.RecordBatch]], items: tuple[Work, ...], batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for number in batch.column(0).to_pylist():
            yield from work(items[number])
