"""Scoring by Spark is that of one process, to the last bit; and a job that fails says why and leaves nothing."""

from dataclasses import replace
from datetime import datetime
from functools import partial

import pyarrow.parquet as pq
import pytest

from pipeline.detector.artefact import Detector
from pipeline.errors import ResourceError
from pipeline.scoring import score, spark, why
from pipeline.scoring.score import score_table
from pipeline.settings.config import ThresholdConfig
from pipeline.settings.engine import EngineConfig
from pipeline.tables.spark import Stretch, stretches
from tests.pipeline.fitted import config, contents, detector_of, feature_table, quiet_frauds, transactions
from tests.pipeline.tasks_here import in_this_process

MARKS = {"batch_id": "b-1", "model_version": "7", "scored_at": datetime(2025, 5, 1)}
CHUNK = 12
RESULTS = {"scores.parquet", "alerts.parquet", "alerts.csv"}


def on_spark(detector):
    """The detector, settled for a cluster."""
    engine = EngineConfig(name="spark", master="local[2]")
    return replace(detector, config=detector.config.model_copy(update={"engine": engine}))


def became(features, detector, folder, **more):
    """What becomes of a feature table, in all that is to be seen of it, and the number of alerts."""
    seen = []
    scored = score_table(features, detector, folder, **MARKS, on_part=lambda *part: seen.append(part), **more)
    assert {path.name for path in folder.iterdir()} == RESULTS
    tables = [pq.read_table(path) for path in (scored.scores, scored.alerts)]
    parts = [(rows, p_values.tolist(), flags.tolist()) for rows, p_values, flags in seen]
    kept = [scored.alert_places.tolist(), scored.first_alerts, replace(scored, scores="", alerts="", alerts_csv="")]
    return [*tables, [table.schema for table in tables], scored.alerts_csv.read_bytes(), parts, kept], len(tables[1])


@pytest.fixture(autouse=True)
def _little(monkeypatch):
    """Tables of a few hundred rows have several tasks, too, and so have their alerts."""
    monkeypatch.setattr(spark, "ROWS_READ", 100)
    for module in (why, score):
        monkeypatch.setattr(module, "EXPLAINED_AT_A_TIME", CHUNK)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    settings = config(threshold={"false_alert_rate": 0.03}, feedback={"enabled": False})
    path = feature_table(tmp_path_factory.mktemp("training"), transactions(), settings)
    return detector_of(path, settings)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A detector to whose scores known frauds add, and whose queue has rows that explore."""
    settings = config(threshold={"false_alert_rate": 0.03}, feedback={"min_frauds": 20, "explore": 0.2})
    detector = detector_of(feature_table(tmp_path_factory.mktemp("training"), quiet_frauds(), settings), settings)
    assert detector.feedback is not None
    assert detector.cut.explore is not None
    return detector


@pytest.fixture(scope="module")
def detectors(alone, taught):
    return {"alone": alone, "taught": taught}


@pytest.fixture(scope="module")
def features(tmp_path_factory, taught):
    """A feature table of several row groups, and tasks that begin where no batch of 65,536 rows does."""
    path = feature_table(
        tmp_path_factory.mktemp("a [table]"), quiet_frauds(700, seed=1, first_id=90_000, days=4), taught.config
    )
    pq.write_table(pq.read_table(path), path, row_group_size=60)
    return path


@pytest.mark.parametrize(
    "threshold",
    [
        {"false_alert_rate": 0.03},
        {"false_alert_rate": 0.03, "segment": "channel"},
        {"strategy": "capacity", "alerts_per_day": 9},
        {"strategy": "capacity", "alerts_per_day": 9, "segment": "channel", "min_segment_rows": 30},
        {"strategy": "fdr", "false_discovery_rate": 0.5},
    ],
    ids=lambda threshold: " ".join(map(str, threshold.values())),
)
def test_tasks_make_what_one_process_does(detectors, features, threshold, *, tmp_path, monkeypatch):
    in_this_process(monkeypatch, spark)
    for name, detector in detectors.items():
        settled = detector.with_threshold(ThresholdConfig(**threshold))
        here, alerts = became(features, settled, tmp_path / name / "here")
        assert alerts > CHUNK
        assert became(features, on_spark(settled), tmp_path / name / "there") == (here, alerts)


def test_tasks_of_a_cluster_make_what_one_process_does(taught, features, tmp_path):
    settled = taught.with_threshold(ThresholdConfig(false_alert_rate=0.03, segment="channel"))
    here, alerts = became(features, settled, tmp_path / "here")
    assert alerts > CHUNK
    assert (here[0]["one_class_p_value"].to_numpy() != here[0]["p_value"].to_numpy()).any()
    assert became(features, on_spark(settled), tmp_path / "there") == (here, alerts)


def test_scores_that_are_known_are_not_found_again(alone, features, tmp_path, monkeypatch):
    in_this_process(monkeypatch, spark)
    monkeypatch.setattr(spark, "_score", None)
    known = alone.both_scores(pq.read_table(features))
    here, _ = became(features, alone, tmp_path / "here")
    assert became(features, on_spark(alone), tmp_path / "there", known_scores=known)[0] == here


def test_a_table_without_rows_has_no_tasks(alone, features, tmp_path, monkeypatch):
    in_this_process(monkeypatch, spark)
    pq.write_table(pq.read_table(features)[:0], tmp_path / "none.parquet")
    here = became(tmp_path / "none.parquet", alone, tmp_path / "here")
    assert became(tmp_path / "none.parquet", on_spark(alone), tmp_path / "there") == here


def test_tasks_that_are_tried_twice_leave_the_same(taught, features, tmp_path, monkeypatch):
    in_this_process(monkeypatch, spark)
    answers, kept = spark.answers, []

    def twice(session, work, items):
        for _ in range(2):
            found = answers(session, work, items)
            kept.append({name: file for name, file in contents(tmp_path / "there").items() if "detector" not in name})
        return found

    monkeypatch.setattr(spark, "answers", twice)
    assert became(features, on_spark(taught), tmp_path / "there") == became(features, taught, tmp_path / "here")
    assert [first == second for first, second in zip(kept[::2], kept[1::2], strict=True)] == [True] * 3


def test_a_task_that_fails_half_way_leaves_nothing(alone, features, tmp_path, monkeypatch):
    stretch, scores = stretches(features, rows=100)[1], tmp_path / "scores"
    works = [
        partial(spark._score, alone, stretch, scores, is_alone=True),
        partial(spark._write_scores, alone, stretch, scores, is_alone=True, cut=alone.cut, marks=MARKS),
    ]

    def read(stretch, columns):
        yield from pq.read_table(stretch.file, columns=columns)[:50].to_batches(20)
        raise OSError("the disk of this worker is full")

    for work in works:
        before = contents(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(Stretch, "read", read)
            with pytest.raises(OSError, match="the disk of this worker is full"):
                work()
        assert contents(tmp_path) == before
        work()
        assert len(contents(tmp_path)) == len(before) + 1


def test_a_task_that_fails_is_one_sentence_and_leaves_nothing(alone, tmp_path, monkeypatch):
    save = Detector.save

    def cut(detector, folder):
        save(detector, folder)
        (folder / "encoder.json").write_text("{}")

    monkeypatch.setattr(Detector, "save", cut)
    features = feature_table(tmp_path, transactions(50, seed=1), alone.config)
    message = r"^scoring on Spark at local\[2\] failed, and nothing of it was kept: .*encoder.json.*; look into"
    with pytest.raises(ResourceError, match=message):
        score_table(features, on_spark(alone), tmp_path / "scored", **MARKS)
    assert list((tmp_path / "scored").iterdir()) == []
