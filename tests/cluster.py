"""A Spark cluster of four workers on this machine, three of which are killed in mid-job: `make cluster-test`.

Not collected with the other tests: it takes two minutes, and 4 GB of memory.
"""

import json
import os
import signal
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow.parquet as pq
import pyspark
import pytest

from pipeline.detector.artefact import Detector
from pipeline.features import compute, spark
from pipeline.scoring import score, why
from pipeline.scoring import spark as scoring
from pipeline.settings.engine import EngineConfig
from pipeline.validation import spark as validation
from tests.pipeline import fitted
from tests.pipeline.features.by_hand import START
from tests.pipeline.features.test_shards import every_family, written
from tests.pipeline.scoring import test_spark as scores
from tests.pipeline.validation.batches import config
from tests.pipeline.validation.test_spark import became, delivered, mixed
from tests.processes import Process, free_port, running

WORKERS = 4
SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"


@dataclass(frozen=True)
class Cluster:
    """The address of a master, and its workers."""

    master: str
    workers: list[Process]


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A master and four workers of one core each, which end with the block."""
    port, page = free_port(), free_port()
    at, environment = f"spark://127.0.0.1:{port}", os.environ | {"SPARK_LOCAL_IP": "127.0.0.1"}
    place = "org.apache.spark.deploy"
    with ExitStack() as stack:
        words = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page)]
        master = stack.enter_context(running(SPARK_CLASS, f"{place}.master.Master", *words, env=environment))
        master.wait_for_answer(f"http://127.0.0.1:{page}/json/")
        workers = []
        for number in range(WORKERS):
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
                return [worker["state"] for worker in json.load(answer)["workers"]] == ["ALIVE"] * WORKERS

        master.wait_until(are_there)
        yield Cluster(at, workers)


class Kill:
    """A worker that is killed while as many processes of the cluster as there are workers are at work on a job.

    Parameters
    ----------
    folder : Path
        Where the processes say that they are at work, and learn that the worker is gone.
    work : callable
        What a task does: a function of its module, as Spark carries it.
    """

    def __init__(self, folder: Path, work: Callable[..., Any]) -> None:
        self.begun, self.goes_on, self.work = folder / "begun", folder / "goes-on", work
        self.begun.mkdir(parents=True)

    def waiting(self) -> Callable[..., Any]:
        """Return the work of a task, which is not begun before a worker is gone; in the processes of the cluster."""
        begun, goes_on, work = self.begun, self.goes_on, self.work

        def wait_for_the_other(*told: Any, **more: Any) -> Any:
            import os
            import time

            (begun / str(os.getpid())).touch()
            while not goes_on.exists():
                time.sleep(0.05)
            return work(*told, **more)

        return wait_for_the_other

    @contextmanager
    def of(self, worker: Process, workers: int) -> Iterator[None]:
        """Kill a worker once all of so many are at work."""
        ended = []

        def kill() -> None:
            worker.wait_until(lambda: len(list(self.begun.iterdir())) == workers)
            worker.send(signal.SIGKILL)
            ended.append(worker.wait())
            self.goes_on.touch()

        thread = Thread(target=kill)
        thread.start()
        yield
        thread.join()
        assert ended == [-signal.SIGKILL]


def scored_table(folder: Path) -> tuple[Path, Detector]:
    """A feature table of seven stretches, and a Detector whose alerts are explained by several tasks."""
    settings = fitted.config(threshold={"false_alert_rate": 0.03}, feedback={"enabled": False})
    training, folder = folder / "training", folder / "batch"
    training.mkdir()
    folder.mkdir()
    detector = fitted.detector_of(fitted.feature_table(training, fitted.transactions(), settings), settings)
    features = fitted.feature_table(folder, fitted.transactions(700, seed=1, first_id=90_000), settings)
    pq.write_table(pq.read_table(features), features, row_group_size=100)
    return features, detector


def test_every_job_makes_the_same_to_the_last_bit_although_workers_are_killed_in_mid_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv(
        "PYSPARK_SUBMIT_ARGS", "--conf spark.executor.memory=512m --conf spark.driver.host=127.0.0.1 pyspark-shell"
    )
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setattr(validation, "ROWS_A_TASK", 100)
    verdicts = [(number, number % 2, START) for number in range(200, 300, 3)]
    rows, past, reviewed = written(tmp_path, 3, verdicts)
    settings = every_family(8)
    here = pq.read_table(compute(rows, [past], every_family(1), tmp_path / "here.parquet", reviewed=[reviewed]))
    setup = config(validation={"batch_rows": 40})
    table = delivered(tmp_path, mixed(), 70, 3)
    judged = became(tmp_path / "judged", table, setup)
    assert judged[4].accepted
    features, detector = scored_table(tmp_path)
    monkeypatch.setattr(scoring, "ROWS_READ", 100)
    for module in (why, score):
        monkeypatch.setattr(module, "EXPLAINED_AT_A_TIME", 4)
    flagged = scores.became(features, detector, tmp_path / "scored")
    assert flagged[1] > 4
    in_reading, in_features = Kill(tmp_path / "reading", validation._findings_of), Kill(tmp_path / "past", spark._past)
    monkeypatch.setattr(validation, "_findings_of", in_reading.waiting())
    monkeypatch.setattr(spark, "_past", in_features.waiting())
    in_scoring = Kill(tmp_path / "scoring", scoring._write_scores)
    monkeypatch.setattr(scoring, "_write_scores", in_scoring.waiting())
    with cluster(tmp_path) as machines:
        engine = EngineConfig(name="spark", master=machines.master, shards=8)
        with in_reading.of(machines.workers[0], WORKERS):
            there = became(tmp_path / "judged there", table, setup.model_copy(update={"engine": engine}))
        assert there == judged
        with in_features.of(machines.workers[1], WORKERS - 1):
            out = compute(
                rows,
                [past],
                settings.model_copy(update={"engine": engine}),
                tmp_path / "there.parquet",
                reviewed=[reviewed],
            )
        assert pq.read_table(out).equals(here)
        settled = replace(detector, config=detector.config.model_copy(update={"engine": engine}))
        with in_scoring.of(machines.workers[2], WORKERS - 2):
            assert scores.became(features, settled, tmp_path / "scored there") == flagged
