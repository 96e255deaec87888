"""A standalone Spark cluster of two workers on this machine, one of which is killed in mid-job: `make cluster-test`.

Not collected with the other tests: it takes a minute, and 2 GB of memory.
"""

import json
import os
import signal
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import pyarrow.parquet as pq
import pyspark
import pytest

from pipeline.features import compute, spark
from pipeline.settings.engine import EngineConfig
from tests.pipeline.features.by_hand import START
from tests.pipeline.features.test_shards import every_family, written
from tests.processes import Process, free_port, running

SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"


@dataclass(frozen=True)
class Cluster:
    """The address of a master, and its workers."""

    master: str
    workers: list[Process]


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A master and two workers of one core each, which end with the block."""
    port, page = free_port(), free_port()
    at, environment = f"spark://127.0.0.1:{port}", os.environ | {"SPARK_LOCAL_IP": "127.0.0.1"}
    place = "org.apache.spark.deploy"
    with ExitStack() as stack:
        words = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page)]
        master = stack.enter_context(running(SPARK_CLASS, f"{place}.master.Master", *words, env=environment))
        master.wait_for_answer(f"http://127.0.0.1:{page}/json/")
        workers = []
        for number in range(2):
            words = [
                "--host",
                "127.0.0.1",
                "--cores",
                "1",
                "--memory",
                "1g",
                "--work-dir",
                str(folder / f"{number}"),
                at,
            ]
            workers.append(stack.enter_context(running(SPARK_CLASS, f"{place}.worker.Worker", *words, env=environment)))

        def are_there() -> bool:
            with urllib.request.urlopen(f"http://127.0.0.1:{page}/json/") as answer:
                return [worker["state"] for worker in json.load(answer)["workers"]] == ["ALIVE", "ALIVE"]

        master.wait_until(are_there)
        yield Cluster(at, workers)


def test_features_are_the_same_to_the_last_bit_although_a_worker_is_killed_in_mid_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv(
        "PYSPARK_SUBMIT_ARGS", "--conf spark.executor.memory=512m --conf spark.driver.host=127.0.0.1 pyspark-shell"
    )
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    verdicts = [(number, number % 2, START) for number in range(200, 300, 3)]
    rows, past, reviewed = written(tmp_path, 3, verdicts)
    settings = every_family(8)
    here = pq.read_table(compute(rows, [past], every_family(1), tmp_path / "here.parquet", reviewed=[reviewed]))
    begun, goes_on = tmp_path / "begun", tmp_path / "goes-on"
    begun.mkdir()
    compute_past, killed = spark._past, []

    def wait_for_the_other(task, values, pieces):
        """Compute the past of a bucket, but not before a worker is gone; in the processes of the cluster."""
        import os
        import time

        (begun / str(os.getpid())).touch()
        while not goes_on.exists():
            time.sleep(0.05)
        return compute_past(task, values, pieces)

    monkeypatch.setattr(spark, "_past", wait_for_the_other)
    with cluster(tmp_path) as machines:

        def kill_one() -> None:
            # Both are at work on a bucket then.
            machines.workers[0].wait_until(lambda: len(list(begun.iterdir())) == 2)
            machines.workers[0].send(signal.SIGKILL)
            killed.append(machines.workers[0].wait())
            goes_on.touch()

        engine = EngineConfig(name="spark", master=machines.master, shards=8)
        thread = Thread(target=kill_one)
        thread.start()
        out = compute(
            rows,
            [past],
            settings.model_copy(update={"engine": engine}),
            tmp_path / "there.parquet",
            reviewed=[reviewed],
        )
        thread.join()
        assert killed == [-signal.SIGKILL]
        assert len(list(begun.iterdir())) >= 2
        assert pq.read_table(out).equals(here)
